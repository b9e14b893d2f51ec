//go:build go1.25

package replay

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const tick = 100 * time.Millisecond

func TestTriggers(t *testing.T) {
	for _, row := range []struct {
		name    string
		burst   bool
		prepare func(l *fakeLog)
		reason  Reason
		from    time.Duration // when the run begins, give or take two ticks
	}{
		{"quiet from the start", false, func(*fakeLog) {}, ReasonQuiet, time.Second},
		{"burst, nothing urgent", true, func(l *fakeLog) { l.oldest = time.Time{} }, ReasonNone, 0},
		{"burst, old data", true, func(l *fakeLog) {}, ReasonAge, 30 * time.Second},
		{"burst, data already old", true, func(l *fakeLog) { l.oldest = l.oldest.Add(-25 * time.Second) }, ReasonAge, 5 * time.Second},
		{"burst, high water", true, func(l *fakeLog) { l.capacity = 20 * mib }, ReasonHighWater, 0},
		{"burst, just below high water", true, func(l *fakeLog) { l.capacity = 20*mib + 2; l.oldest = time.Time{} }, ReasonNone, 0},
		{"burst, high water, slowed", true, func(l *fakeLog) { l.capacity, l.slowed = 20*mib, true }, ReasonSlowed, 0},
		{"burst, slowed below high water", true, func(l *fakeLog) { l.slowed = true; l.oldest = time.Time{} }, ReasonNone, 0},
		{"burst, full", true, func(l *fakeLog) { l.full = true }, ReasonFull, 0},
		{"burst, full beats high water and age", true,
			func(l *fakeLog) { l.full = true; l.capacity = 1; l.oldest = l.oldest.Add(-time.Hour) }, ReasonFull, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLog(10 * mib)
				row.prepare(l)
				rate := NewRateDetector(RateOptions{QuietRate: 1000})
				if row.burst {
					stop := burst(rate)
					defer stop()
					time.Sleep(time.Second)
					l.set(func() {
						if !l.oldest.IsZero() {
							l.oldest = l.oldest.Add(time.Second)
						}
					})
				}
				r, rec := newTest(t, l, Options{Rate: rate})
				defer r.Stop()
				begun := time.Now()
				if row.reason == ReasonNone {
					time.Sleep(2 * time.Minute)
					require.Empty(t, rec.reasons())
					require.Equal(t, Waiting, r.State())
					return
				}
				for len(rec.reasons()) == 0 {
					require.Less(t, time.Since(begun), time.Minute)
					time.Sleep(time.Millisecond)
				}
				require.Equal(t, row.reason, rec.reasons()[0])
				require.InDelta(t, float64(row.from), float64(time.Since(begun)), float64(2*tick))
			})
		})
	}
}

// TestCommitsKeepAwayQuiet: few bytes in many commits are no quiet, and end a run that began in
// one.
func TestCommitsKeepAwayQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(10 * mib)
		l.oldest = time.Time{}
		commits := NewRateDetector(RateOptions{QuietRate: 500})
		stop := burst(commits)
		r, rec := newTest(t, l, Options{Commits: commits})
		defer r.Stop()
		time.Sleep(time.Minute)
		require.Empty(t, rec.reasons())
		stop()
		for len(rec.reasons()) == 0 {
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, ReasonQuiet, rec.reasons()[0])
		stop = burst(commits)
		defer stop()
		l.set(func() { l.bytes, l.direct, l.batchTime = 1000*mib, false, 100*time.Millisecond })
		time.Sleep(10 * time.Second)
		require.Equal(t, Waiting, r.State())
		require.Positive(t, l.pending())
	})
}

func TestQuietRunDrainsAndGoesIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(10*mib + 5)
		r, rec := newTest(t, l, Options{})
		time.Sleep(5 * time.Second)
		require.Equal(t, Idle, r.State())
		require.Zero(t, l.pending())
		require.True(t, l.isDirect())
		run := rec.last()
		require.True(t, run.Drained)
		require.NoError(t, run.Err)
		require.EqualValues(t, 10*mib+5, run.Bytes)
		require.Equal(t, 11*time.Millisecond, run.Duration)
		require.InDelta(t, float64(run.Bytes)/0.011, run.Rate(), 1)
		require.Equal(t, 11, rec.progressed())
		require.Equal(t, 1, l.count("handover"))
		require.Equal(t, 1, l.count("checkpoint"))
		require.Zero(t, l.notSynced())

		// A second spill, found by Wake alone.
		l.set(func() { l.bytes, l.direct = mib, false })
		r.Wake()
		time.Sleep(5 * time.Second)
		require.True(t, l.isDirect())
		require.Equal(t, []Reason{ReasonQuiet, ReasonQuiet}, rec.reasons())
		st := r.Stats()
		require.EqualValues(t, 11*mib+5, st.Bytes)
		require.Equal(t, []int64{2, 2, 2, 0, 0}, []int64{st.Runs, st.HandOvers, st.Checkpoints, st.Pauses, st.Errors})
		require.NoError(t, st.LastError)
	})
}

func TestBurstStopsQuietRunWithinOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(1000 * mib)
		l.batchTime = 50 * time.Millisecond
		l.oldest = time.Time{}
		rate := NewRateDetector(RateOptions{QuietRate: 1000})
		r, rec := newTest(t, l, Options{Rate: rate})
		time.Sleep(3 * time.Second)
		require.Equal(t, Replaying, r.State())
		stop := burst(rate)
		var returned time.Time
		for returned.IsZero() {
			time.Sleep(time.Millisecond)
			if rate.Burst() {
				returned = time.Now()
			}
		}
		time.Sleep(2 * time.Second)
		require.Equal(t, Waiting, r.State())
		synctest.Wait()
		last := l.replayedAt[len(l.replayedAt)-1]
		require.LessOrEqual(t, last.Sub(returned), 2*l.batchTime, "the one under way, and one that began with it")
		require.Zero(t, l.notSynced(), "a checkpoint ends the run that stopped midway")
		require.False(t, rec.last().Drained)
		left := l.pending()
		time.Sleep(time.Minute)
		require.Equal(t, left, l.pending(), "nothing during the burst")

		stop()
		time.Sleep(2 * time.Minute)
		require.Zero(t, l.pending())
		require.EqualValues(t, 1000*mib, r.Stats().Bytes, "resumed where it was: nothing twice")
		require.Equal(t, []Reason{ReasonQuiet, ReasonQuiet}, rec.reasons())
	})
}

func TestMarkedRunsGoOnDuringBurst(t *testing.T) {
	for _, row := range []struct {
		name    string
		prepare func(l *fakeLog)
		left    func(l *fakeLog) bool // what must hold when the run has ended
	}{
		{"high water, down to three quarters of it", func(l *fakeLog) { l.capacity = 2000 * mib },
			func(l *fakeLog) bool { return l.bytes < 750*mib && l.bytes >= 749*mib }},
		{"full, down to three quarters of high water once it is not", func(l *fakeLog) {
			l.capacity, l.full = 1000*mib, true
			time.AfterFunc(100*time.Millisecond, func() { l.set(func() { l.full = false }) })
		}, func(l *fakeLog) bool { return l.bytes < 375*mib && l.bytes >= 374*mib }},
		{"age, until the oldest is younger than three quarters", func(l *fakeLog) {
			l.oldest, l.batchTime = time.Now().Add(-time.Hour), 2*time.Millisecond
			time.AfterFunc(time.Second/2, func() { l.set(func() { l.oldest = time.Now().Add(-23 * time.Second) }) })
			time.AfterFunc(time.Second, func() { l.set(func() { l.oldest = time.Now().Add(-22 * time.Second) }) })
		}, func(l *fakeLog) bool {
			last := l.replayedAt[len(l.replayedAt)-1]
			return last.Sub(l.oldest) >= 22*time.Second && last.Sub(l.oldest) < 23*time.Second && len(l.replayedAt) > 400
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rate := NewRateDetector(RateOptions{QuietRate: 1000})
				stop := burst(rate)
				defer stop()
				time.Sleep(time.Second)
				l := newFakeLog(1000 * mib)
				l.oldest = time.Time{}
				row.prepare(l)
				r, rec := newTest(t, l, Options{Rate: rate})
				defer r.Stop()
				time.Sleep(5 * time.Second)
				require.Equal(t, Waiting, r.State())
				require.Len(t, rec.reasons(), 1)
				require.Positive(t, l.count("replay"))
				l.set(func() { require.True(t, row.left(l), "left %d", l.bytes) })
				require.Zero(t, l.notSynced())
			})
		})
	}
}

func TestHighWaterRunBecomesQuietRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(1000 * mib)
		l.capacity = 2000 * mib
		l.batchTime = 10 * time.Millisecond
		_, rec := newTest(t, l, Options{})
		time.Sleep(time.Minute)
		require.Equal(t, []Reason{ReasonHighWater}, rec.reasons(), "one run")
		require.Equal(t, ReasonQuiet, rec.last().Reason)
		require.True(t, rec.last().Drained)
	})
}

func TestCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(1000 * mib)
		_, rec := newTest(t, l, Options{CheckpointBytes: 64 * mib})
		time.Sleep(time.Minute)
		require.True(t, rec.last().Drained)
		require.Equal(t, 1000/64+1, l.count("checkpoint"))
	})
}

func TestIdleMakesNoCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(0)
		r, _ := newTest(t, l, Options{})
		synctest.Wait()
		calls := l.count("pending")
		require.LessOrEqual(t, calls, 2)
		time.Sleep(time.Hour)
		require.Equal(t, calls, l.count("pending"))
		require.Equal(t, Idle, r.State())
		r.Wake()
		synctest.Wait()
		require.Equal(t, calls+1, l.count("pending"))
		require.Equal(t, Idle, r.State(), "woken for nothing")
	})
}

func TestWaitingCallsOnceATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := NewRateDetector(RateOptions{QuietRate: 1000})
		stop := burst(rate)
		defer stop()
		time.Sleep(time.Second)
		l := newFakeLog(mib)
		l.oldest = time.Time{}
		r, _ := newTest(t, l, Options{Rate: rate})
		defer r.Stop()
		time.Sleep(5 * time.Minute)
		require.InDelta(t, 5*time.Minute/tick, l.count("pending"), 5)
		require.Zero(t, l.count("replay"))
	})
}

func TestDroppedElsewhereGoesIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(mib)
		r, rec := newTest(t, l, Options{})
		time.Sleep(tick)
		require.Equal(t, Waiting, r.State())
		l.set(func() { l.bytes = 0 })
		time.Sleep(2 * tick)
		require.Equal(t, Idle, r.State())
		require.Empty(t, rec.reasons())
	})
}

func TestNames(t *testing.T) {
	for s, name := range []string{"idle", "waiting", "replaying", "paused", "backoff", "stopped", "halted", "state(7)"} {
		require.Equal(t, name, State(s).String())
	}
	for r, name := range []string{"none", "quiet", "age", "high-water", "slowed", "full", "unfinished", "drain", "reason(8)"} {
		require.Equal(t, name, Reason(r).String())
	}
}

// Under steady writes every batch reached the end of the log and every hand-over found more: no
// checkpoint was ever taken, and what had long been replayed stayed on disk until the spill was
// full.
func TestCheckpointsGoOnWhileHandOverIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(mib)
		for range 1000 {
			l.late = append(l.late, mib)
		}
		r, _ := newTest(t, l, Options{CheckpointBytes: 8 * mib, BatchBytes: 2 * mib})
		d := startDrain(t.Context(), r)
		time.Sleep(500 * time.Millisecond) // a batch takes 1 ms
		require.False(t, l.isDirect())
		require.Greater(t, l.count("handover"), 100)
		require.Less(t, l.notSynced(), int64(10*mib), "replayed and kept after %d checkpoints", l.count("checkpoint"))
		r.Stop()
		<-d.done
		require.ErrorIs(t, d.err, ErrStopped)
	})
}
