//go:build go1.25

package replay

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The states last as long as the clock says, and together as long as the replayer is there.
func TestStateTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		l := newFakeLog(0)
		r, _ := newTest(t, l, Options{BackoffMin: 10 * time.Second, BackoffMax: 10 * time.Second})
		time.Sleep(time.Minute)
		require.Equal(t, [Halted + 1]time.Duration{Idle: time.Minute}, r.Stats().StateTime)

		l.set(func() { l.bytes, l.memory, l.oldest = 10*mib, 85, time.Now() })
		r.Wake()
		time.Sleep(3*time.Second + 500*time.Millisecond)
		st := r.Stats()
		require.Equal(t, Paused, st.State)
		require.Equal(t, time.Minute, st.StateTime[Idle])
		require.InDelta(t, time.Second, st.StateTime[Waiting], float64(2*tick), "the quiet window")
		require.InDelta(t, 2500*time.Millisecond, st.StateTime[Paused], float64(2*tick))

		l.set(func() { l.memory, l.fail = 0, func(operation) error { return errDisk } })
		time.Sleep(5 * time.Second)
		st = r.Stats()
		require.Equal(t, Backoff, st.State)
		require.InDelta(t, 5*time.Second, st.StateTime[Backoff], float64(2*tick))

		l.set(func() { l.fail = nil })
		time.Sleep(time.Hour)
		r.Stop()
		time.Sleep(7 * time.Second)
		st = r.Stats()
		require.Equal(t, 7*time.Second, st.StateTime[Stopped])
		require.InDelta(t, 10*time.Second, st.StateTime[Backoff], float64(2*tick))
		require.Positive(t, st.StateTime[Replaying])
		var sum time.Duration
		for _, d := range st.StateTime {
			sum += d
		}
		require.Equal(t, time.Since(begun), sum)
	})
}
