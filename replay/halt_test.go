//go:build go1.25

package replay

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var errDamage = errors.New("a block is damaged")

// chunkLog replays chunks of four batches, of which the last fails.
type chunkLog struct {
	*fakeLog
	at     int
	broken bool
	given  int64
}

func (l *chunkLog) Replay(context.Context, int64) (Progress, error) {
	time.Sleep(l.batchTime)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at++; l.at < 4 {
		l.given += mib
		return Progress{Bytes: mib, Entries: 1, Midway: true}, nil
	}
	l.at = 0
	if l.broken {
		return Progress{}, errDisk
	}
	l.given += mib
	l.bytes -= 4 * mib
	return Progress{Bytes: mib, Entries: 1, Drained: l.bytes == 0}, nil
}

// The batches of a chunk, and the checkpoint of what came before it, do not make the delay short
// again: only a whole chunk does.
func TestChunkThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &chunkLog{fakeLog: newFakeLog(40 * mib), broken: true}
		rec := &recorder{}
		recovered := 0
		o := rec.options(Options{Log: l, Rate: NewRateDetector(RateOptions{QuietRate: 1000})})
		o.OnRecovered = func() { recovered++ }
		r := New(o)
		r.Start()
		defer r.Stop()
		time.Sleep(10 * time.Minute)
		delays := rec.allDelays()
		for i, d := range delays {
			require.Equal(t, min(DefaultBackoffMax, DefaultBackoffMin<<min(i, 20)), d)
		}
		require.Equal(t, 30*time.Second, delays[len(delays)-1])
		require.Less(t, len(delays), 10+20)
		require.Zero(t, recovered)
		l.set(func() { l.broken = false })
		time.Sleep(time.Minute)
		require.Zero(t, l.pending())
		require.Equal(t, 1, recovered)
		l.set(func() { l.bytes, l.broken = 40*mib, true })
		r.Wake()
		time.Sleep(5 * time.Second)
		require.Equal(t, DefaultBackoffMin, rec.allDelays()[len(delays)], "after a success the delays begin anew")
	})
}

func TestHalt(t *testing.T) {
	for _, op := range []operation{opReplay, opCheckpoint, opHandOver} {
		synctest.Test(t, func(t *testing.T) {
			l := newFakeLog(10 * mib)
			l.fail = func(o operation) error {
				if o == op {
					return errDamage
				}
				return nil
			}
			r, rec := newTest(t, l, Options{Lasting: func(err error) bool { return errors.Is(err, errDamage) }})
			d := startDrain(context.Background(), r)
			<-d.done
			require.ErrorIs(t, d.err, errDamage, "who drains is told at once")
			require.Less(t, d.took, time.Minute)
			synctest.Wait()
			require.Equal(t, Halted, r.State())
			require.ErrorIs(t, r.Stats().Halted, errDamage)
			tries := l.count("replay") + l.count("checkpoint") + l.count("handover")

			time.Sleep(24 * time.Hour)
			r.Wake()
			require.ErrorIs(t, r.Drain(context.Background()), errDamage)
			synctest.Wait()
			require.Equal(t, tries, l.count("replay")+l.count("checkpoint")+l.count("handover"), "nothing is tried again")
			require.Equal(t, []time.Duration{0}, rec.allDelays())
			require.Equal(t, Halted, r.State())

			l.set(func() { l.fail = nil })
			r.Resume()
			require.NoError(t, r.Drain(context.Background()))
			require.True(t, l.isDirect())
			require.Zero(t, l.notSynced())
			require.NoError(t, r.Stats().Halted)
			require.ErrorIs(t, r.Stats().LastError, errDamage)
		})
	}
}

// A replayer that has halted is stopped like any other, and Resume where nothing is halted does
// nothing.
func TestHaltAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(mib)
		l.fail = failing(opReplay)
		r, _ := newTest(t, l, Options{Lasting: func(error) bool { return true }})
		r.Resume()
		time.Sleep(time.Hour)
		require.Equal(t, Halted, r.State())
		r.Resume()
		time.Sleep(time.Minute)
		require.Equal(t, Halted, r.State(), "it was tried, and is the same")
		r.Stop()
	})
}
