package openloop

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The store is down in the second second and then twice as fast as the load. The latencies are
// those of the second in which a write was due. The rate is that of the second in which it was
// acknowledged.
func TestSecondsOfAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(5 * ms)
		store.downFrom, store.downTo = time.Second, 2*time.Second
		run := newTestRun(1, time.Hour, Phase{"load", 100, 4 * time.Second})
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))

		s := run.Seconds(0)
		require.Len(t, s, 4)
		for i := range s {
			require.Equal(t, time.Duration(i)*time.Second, s[i].At)
			require.Equal(t, time.Second, s[i].Length)
			require.Equal(t, "load", s[i].Phase)
			require.EqualValues(t, 100, s[i].Due)
			require.EqualValues(t, 100, s[i].OfferedRate)
			require.Zero(t, s[i].Failed+s[i].Unsent)
		}
		require.Equal(t, [3]time.Duration{5 * ms, 5 * ms, 5 * ms}, [3]time.Duration{s[0].P50, s[0].P99, s[0].Max})
		// The write due at 1000+10k ms is acknowledged at 2005+5k ms.
		require.Equal(t, 1005*ms, s[1].Max)
		require.Equal(t, 1000*ms, s[1].P99, "one of a hundred is above it")
		require.Equal(t, (1005-5*50)*ms, s[1].P50)
		require.Equal(t, 505*ms, s[2].Max)
		require.Equal(t, 5*ms, s[3].Max)
		require.EqualValues(t, 100, s[0].AckedRate)
		require.EqualValues(t, 0, s[1].AckedRate)
		// The last of the queue is acknowledged at 3000 ms, which is where the fourth second
		// begins.
		require.EqualValues(t, 199, s[2].AckedRate)
		require.EqualValues(t, 101, s[3].AckedRate)
		require.Equal(t, 3995*ms, run.LastAnswer())
	})
}

func TestSecondsBeginAnewWithEachPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(ms)
		run := newTestRun(4, time.Hour, Phase{"calm", 100, 300 * ms}, Phase{"burst", 1000, 1500 * ms})
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))

		var at, length []time.Duration
		var phases []string
		var offered []float64
		for _, s := range run.Seconds(2100 * ms) {
			at, length, phases, offered = append(at, s.At), append(length, s.Length), append(phases, s.Phase), append(offered, s.OfferedRate)
		}
		require.Equal(t, []time.Duration{0, 300 * ms, 1300 * ms, 1800 * ms}, at)
		require.Equal(t, []time.Duration{300 * ms, time.Second, 500 * ms, time.Second}, length)
		require.Equal(t, []string{"calm", "burst", "burst", "backlog"}, phases)
		require.Equal(t, []float64{100, 1000, 1000, 0}, offered)
		require.Len(t, run.Seconds(3*time.Second), 5, "1.2 seconds after the end")
	})
}

// Nobody can tell how long a write took that failed or was never sent.
func TestSecondsCountWhatHasNoLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(ms)
		store.fail = func(at time.Duration) error {
			if at < 500*ms {
				return errors.New("disk full")
			}
			return nil
		}
		store.downFrom, store.downTo = time.Second, 5*time.Second
		run := newTestRun(1, time.Second, Phase{"load", 10, 2 * time.Second})
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))

		s := run.Seconds(0)
		require.Len(t, s, 6, "the write that hung is acknowledged 3.001 s after the end")
		require.EqualValues(t, 5, s[0].Failed)
		require.EqualValues(t, 0, s[0].Unsent)
		require.EqualValues(t, 5, s[0].AckedRate)
		require.EqualValues(t, 9, s[1].Unsent)
		require.Equal(t, 4001*ms, s[1].P50)
		require.EqualValues(t, 1, s[5].AckedRate)
		require.Zero(t, s[5].P99)
		require.Zero(t, s[5].Due)
	})
}
