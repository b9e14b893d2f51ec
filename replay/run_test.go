//go:build go1.25

package replay

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPauseAndResume(t *testing.T) {
	for _, row := range []struct {
		name   string
		memory int
		full   bool
		paused bool
	}{
		{"below the soft limit", 79, false, false},
		{"at the soft limit", 80, false, true},
		{"at the soft limit, spill full", 80, true, false},
		{"one below the limit, spill full", 99, true, false},
		{"at the limit, spill full", 100, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLog(100 * mib)
				r, _ := newTest(t, l, Options{})
				time.Sleep(1110 * time.Millisecond)
				require.Equal(t, Replaying, r.State())
				l.set(func() { l.full = row.full })
				time.Sleep(time.Millisecond) // else between the two looks at them
				l.set(func() { l.memory = row.memory })
				time.Sleep(10 * time.Millisecond)
				if !row.paused {
					time.Sleep(time.Second)
					require.Zero(t, l.pending())
					require.Zero(t, r.Stats().Pauses)
					return
				}
				require.Equal(t, Paused, r.State())
				left := l.pending()
				require.Positive(t, left)
				time.Sleep(time.Hour)
				require.Equal(t, left, l.pending())
				require.InDelta(t, time.Hour/tick, l.count("may"), 200, "no busy loop")
				l.set(func() { l.memory = 50 })
				time.Sleep(tick + time.Millisecond)
				require.Equal(t, Replaying, r.State())
				time.Sleep(time.Second)
				require.Zero(t, l.pending())
				st := r.Stats()
				require.EqualValues(t, []int64{1, 1, 100 * mib}, []int64{st.Runs, st.Pauses, st.Bytes})
			})
		})
	}
}

func TestPausedRunResumesWhenTheSpillBecomesFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(100 * mib)
		l.memory = 85
		r, _ := newTest(t, l, Options{})
		time.Sleep(5 * time.Second)
		require.Equal(t, Paused, r.State())
		l.set(func() { l.full = true })
		r.Wake()
		time.Sleep(50 * time.Millisecond)
		require.Less(t, l.pending(), int64(60*mib), "without waiting for the tick")
	})
}

func TestBurstEndsPausedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(100 * mib)
		l.memory = 85
		l.oldest = time.Time{}
		rate := NewRateDetector(RateOptions{QuietRate: 1000})
		r, rec := newTest(t, l, Options{Rate: rate})
		time.Sleep(2 * time.Second)
		require.Equal(t, Paused, r.State())
		stop := burst(rate)
		time.Sleep(time.Second)
		require.Equal(t, Waiting, r.State())
		require.False(t, rec.last().Drained)
		stop()
		r.Stop()
	})
}

// What was replayed and not dropped yet may be the memory that the pause waits for.
func TestLongPauseTakesCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(1000 * mib)
		r, _ := newTest(t, l, Options{})
		time.Sleep(1110 * time.Millisecond)
		l.set(func() { l.memory = 85 })
		time.Sleep(500 * time.Millisecond)
		require.Equal(t, Paused, r.State())
		require.Zero(t, l.count("checkpoint"))
		time.Sleep(time.Hour)
		require.Equal(t, 1, l.count("checkpoint"))
		require.Zero(t, l.notSynced())

		l.set(func() { l.memory = 0 })
		time.Sleep(tick + 10*time.Millisecond)
		l.set(func() { l.memory = 85; l.fail = failing(opCheckpoint) })
		time.Sleep(10 * time.Second)
		require.Equal(t, Backoff, r.State())
		l.set(func() { l.memory = 0; l.fail = nil })
		time.Sleep(time.Minute)
		require.Equal(t, Idle, r.State())
		require.Zero(t, l.notSynced())
	})
}

func failing(ops ...operation) func(operation) error {
	return func(op operation) error {
		for _, o := range ops {
			if o == op {
				return errDisk
			}
		}
		return nil
	}
}

func TestBackoff(t *testing.T) {
	for _, row := range []struct {
		name string
		op   operation
	}{
		{"replay fails", opReplay},
		{"checkpoint fails after batches that succeed", opCheckpoint},
		{"hand-over fails after batches that succeed", opHandOver},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLog(1000 * mib)
				l.fail = failing(row.op)
				r, rec := newTest(t, l, Options{BatchBytes: 100 * mib, CheckpointBytes: 100 * mib})
				time.Sleep(10 * time.Minute)
				require.Equal(t, Backoff, r.State())
				require.ErrorIs(t, r.Stats().LastError, errDisk)
				require.Greater(t, len(rec.allDelays()), 20)
				require.Less(t, len(rec.allDelays()), 80, "no busy loop")
				want := 100 * time.Millisecond
				for _, d := range rec.allDelays() {
					require.Equal(t, want, d)
					want = min(2*want, DefaultBackoffMax)
				}
				require.ErrorIs(t, rec.last().Err, errDisk)

				l.set(func() { l.fail = nil })
				time.Sleep(time.Minute)
				require.Equal(t, Idle, r.State())
				require.True(t, l.isDirect())
				require.Zero(t, l.notSynced())
				require.EqualValues(t, 1000*mib, r.Stats().Bytes, "nothing lost, nothing twice")

				// The next failure begins with the short delay again.
				l.set(func() { l.bytes, l.direct = mib, false; l.fail = failing(row.op) })
				n := len(rec.allDelays())
				r.Wake()
				time.Sleep(1500 * time.Millisecond)
				require.Greater(t, len(rec.allDelays()), n)
				require.Equal(t, 100*time.Millisecond, rec.allDelays()[n])
				l.set(func() { l.fail = nil })
			})
		})
	}
}

func TestErrorOfLastCheckpointIsCountedBesideTheRunsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(10 * mib)
		n := 0
		l.fail = func(op operation) error {
			if op == opCheckpoint {
				return errors.New("sync failed")
			}
			if n++; n > 3 {
				return errDisk
			}
			return nil
		}
		r, rec := newTest(t, l, Options{})
		time.Sleep(1150 * time.Millisecond)
		require.ErrorIs(t, rec.last().Err, errDisk)
		require.EqualValues(t, 2, r.Stats().Errors)
		require.EqualValues(t, 3*mib, l.notSynced())
	})
}

func TestHandOver(t *testing.T) {
	for _, row := range []struct {
		name   string
		late   []int64
		refuse int
		tries  int
		took   time.Duration
	}{
		{"at the first try", nil, 0, 1, time.Millisecond},
		{"more was appended, three times", []int64{5, 6, 2 * mib}, 0, 4, 5 * time.Millisecond},
		{"not ready though nothing was appended", nil, 3, 4, time.Millisecond + 3*tick},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLog(mib)
				l.late, l.refuse = row.late, row.refuse
				r, rec := newTest(t, l, Options{})
				time.Sleep(time.Minute)
				require.Equal(t, Idle, r.State())
				require.Equal(t, row.tries, l.count("handover"))
				require.True(t, rec.last().Drained)
				require.Len(t, rec.reasons(), 1)
				require.Equal(t, row.took, rec.last().Duration)
			})
		})
	}
}

func TestHandOverThatNeverComesIsNoBusyLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(mib)
		l.refuse = 1 << 30
		newTest(t, l, Options{})
		time.Sleep(time.Hour)
		require.InDelta(t, time.Hour/tick, l.count("handover"), 20)
	})
}

// A burst ends the run between the last batch and the hand-over. The spill is empty then,
// and yet nobody else will hand over.
func TestUnfinishedHandOverIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(mib)
		l.oldest = time.Time{}
		l.fail = failing(opHandOver)
		rate := NewRateDetector(RateOptions{QuietRate: 1000})
		r, rec := newTest(t, l, Options{Rate: rate})
		time.Sleep(1500 * time.Millisecond)
		stop := burst(rate)
		time.Sleep(time.Minute)
		require.Zero(t, l.pending())
		require.False(t, l.isDirect())
		l.set(func() { l.fail = nil })
		time.Sleep(time.Minute)
		require.True(t, l.isDirect())
		require.Equal(t, Idle, r.State())
		require.Equal(t, ReasonUnfinished, rec.last().Reason)
		stop()
		r.Stop()
	})
}

func TestBatchesThatMoveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(mib)
		l.batchTime = 0
		l.empty = 10
		_, rec := newTest(t, l, Options{})
		time.Sleep(2 * time.Second)
		require.Zero(t, rec.last().Duration, "a few in a row are coalesced data")
		require.True(t, rec.last().Drained)
	})
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(mib)
		l.batchTime = 0
		l.empty = 1 << 30
		newTest(t, l, Options{})
		time.Sleep(time.Hour)
		require.InDelta(t, time.Hour/tick, l.count("replay"), 100, "no busy loop")
	})
}

func TestStop(t *testing.T) {
	for _, row := range []struct {
		name    string
		prepare func(l *fakeLog)
		after   time.Duration
		state   State
		took    time.Duration
	}{
		{"idle", func(l *fakeLog) { l.bytes = 0 }, time.Minute, Idle, 0},
		{"waiting", func(*fakeLog) {}, 500 * time.Millisecond, Waiting, 0},
		{"replaying, in the middle of a batch", func(l *fakeLog) { l.batchTime = 10 * time.Second }, 6100 * time.Millisecond, Replaying, 5 * time.Second},
		{"replaying, waiting for a hand-over", func(l *fakeLog) { l.bytes = 1; l.refuse = 1 << 30 }, 5*time.Second + tick/2, Replaying, 0},
		{"paused", func(l *fakeLog) { l.memory = 80 }, 5 * time.Second, Paused, 0},
		{"backoff", func(l *fakeLog) { l.fail = failing(opReplay) }, 30 * time.Second, Backoff, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLog(1000 * mib)
				row.prepare(l)
				r, rec := newTest(t, l, Options{})
				time.Sleep(row.after)
				require.Equal(t, row.state, r.State())
				begun := time.Now()
				replays := l.count("replay")
				r.Stop()
				require.Equal(t, row.took, time.Since(begun))
				require.Equal(t, replays, l.count("replay"), "the batch under way is the last")
				require.Equal(t, Stopped, r.State())
				require.Zero(t, l.notSynced(), "what is in Badger is not replayed again")
				require.Len(t, rec.ended, len(rec.begun))
				r.Stop()
				r.Start()
				r.Wake()
				synctest.Wait()
				require.Equal(t, Stopped, r.State())
			})
		})
	}
}

func TestThroughputIsLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(1000 * mib)
		l.batchTime = 10 * time.Millisecond
		rate := NewRateDetector(RateOptions{})
		newTest(t, l, Options{Rate: rate})
		require.EqualValues(t, AssumedSustained/2, rate.QuietRate())
		time.Sleep(1500 * time.Millisecond)
		require.EqualValues(t, AssumedSustained/2, rate.QuietRate(), "half a second is not sustained")
		time.Sleep(time.Minute)
		require.InDelta(t, 50*mib, rate.QuietRate(), mib, "half of 100 MiB/s")
	})
}

func TestDefaults(t *testing.T) {
	o := Options{HighWater: 2, BackoffMin: time.Minute}.withDefaults()
	require.Equal(t, DefaultHighWater, o.HighWater)
	require.Equal(t, time.Minute, o.BackoffMax, "not below the minimum")
	require.Equal(t, 100*time.Millisecond, o.Tick)
	require.Equal(t, []any{DefaultMaxSpillAge, int64(DefaultBatchBytes), int64(DefaultCheckpointBytes)},
		[]any{o.MaxSpillAge, o.BatchBytes, o.CheckpointBytes})
	for window, want := range map[time.Duration]time.Duration{
		10 * time.Millisecond:  10 * time.Millisecond,
		500 * time.Millisecond: 50 * time.Millisecond,
		time.Minute:            100 * time.Millisecond,
	} {
		o := Options{Rate: NewRateDetector(RateOptions{QuietWindow: window})}.withDefaults()
		require.Equal(t, want, o.Tick, "window %v", window)
	}
	o.OnBegin(Run{})
	o.OnProgress(Run{})
	o.OnEnd(Run{})
	o.OnError(errDisk, 0)
}
