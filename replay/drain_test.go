//go:build go1.25

package replay

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type drained struct {
	done chan struct{}
	err  error
	took time.Duration
}

func startDrain(ctx context.Context, r *Replayer) *drained {
	d := &drained{done: make(chan struct{})}
	begun := time.Now()
	go func() {
		defer close(d.done)
		d.err = r.Drain(ctx)
		d.took = time.Since(begun)
	}()
	return d
}

func TestDrainUnderBurst(t *testing.T) {
	for _, row := range []struct {
		name   string
		memory int
		took   time.Duration
	}{
		{"memory free", 0, 100 * time.Millisecond},
		{"memory at the soft limit", 95, 100 * time.Millisecond},
		{"memory full for a second", 100, 1100 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rate := NewRateDetector(RateOptions{QuietRate: 1000})
				stop := burst(rate)
				defer stop()
				time.Sleep(time.Second)
				l := newFakeLog(100 * mib)
				l.memory = row.memory
				r, rec := newTest(t, l, Options{Rate: rate})
				defer r.Stop()
				time.Sleep(5 * time.Second)
				require.Zero(t, l.count("replay"))
				d := startDrain(context.Background(), r)
				if row.memory == 100 {
					time.Sleep(time.Second)
					require.Equal(t, Paused, r.State())
					l.set(func() { l.memory = 99 })
				}
				<-d.done
				require.NoError(t, d.err)
				require.InDelta(t, float64(row.took), float64(d.took), float64(tick))
				require.True(t, l.isDirect())
				require.Zero(t, l.notSynced(), "its checkpoint is done too")
				require.Equal(t, []Reason{ReasonDrain}, rec.reasons())
				require.Equal(t, 100, rec.progressed())
			})
		})
	}
}

func TestDrainTakesOverARunAndServesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(100 * mib)
		l.late = []int64{3 * mib, 2 * mib}
		rate := NewRateDetector(RateOptions{QuietRate: 1000})
		r, rec := newTest(t, l, Options{Rate: rate})
		time.Sleep(1120 * time.Millisecond)
		require.Equal(t, Replaying, r.State())
		stop := burst(rate)
		all := []*drained{startDrain(context.Background(), r), startDrain(context.Background(), r)}
		time.Sleep(30 * time.Millisecond)
		all = append(all, startDrain(context.Background(), r))
		for _, d := range all {
			<-d.done
			require.NoError(t, d.err)
		}
		synctest.Wait()
		require.Equal(t, 3, l.count("handover"))
		require.Equal(t, ReasonDrain, rec.last().Reason)
		require.EqualValues(t, 105*mib, rec.last().Bytes)
		stop()
		r.Stop()
	})
}

func TestDrainWithContextCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := NewRateDetector(RateOptions{QuietRate: 1000})
		stop := burst(rate)
		defer stop()
		time.Sleep(time.Second)
		l := newFakeLog(1000 * mib)
		l.oldest = time.Time{}
		r, rec := newTest(t, l, Options{Rate: rate})
		defer r.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		d := startDrain(ctx, r)
		<-d.done
		require.ErrorIs(t, d.err, context.DeadlineExceeded)
		require.Equal(t, 100*time.Millisecond, d.took)
		time.Sleep(10 * time.Millisecond)
		require.Equal(t, Waiting, r.State(), "nobody wants it any more")
		require.False(t, rec.last().Drained)
		require.Zero(t, l.notSynced())
		left := l.pending()
		require.Positive(t, left)
		require.ErrorIs(t, r.Drain(ctx), context.DeadlineExceeded)
		time.Sleep(time.Minute)
		require.Equal(t, left, l.pending())
	})
}

func TestDrainOfEmptyLogHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(0)
		r, _ := newTest(t, l, Options{})
		time.Sleep(time.Minute)
		require.Equal(t, Idle, r.State())
		d := startDrain(context.Background(), r)
		<-d.done
		require.NoError(t, d.err)
		require.Zero(t, d.took)
		require.Equal(t, 1, l.count("handover"))
		require.Zero(t, l.count("replay"))
		synctest.Wait()
		require.Equal(t, Idle, r.State())
	})
}

// The hand-over came before the call. What was committed in between may be in a new spill.
func TestDrainIsNotServedByAnEarlierHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(mib)
		l.fail = func(op operation) error {
			if op == opCheckpoint {
				time.Sleep(time.Second)
			}
			return nil
		}
		r, _ := newTest(t, l, Options{})
		time.Sleep(1500 * time.Millisecond)
		require.True(t, l.isDirect())
		require.Zero(t, l.count("checkpoint")-1, "in the last checkpoint of the run")
		l.set(func() { l.bytes, l.direct = mib, false })
		d := startDrain(context.Background(), r)
		<-d.done
		require.NoError(t, d.err)
		require.True(t, l.isDirect())
		require.Zero(t, l.pending())
		require.Equal(t, 2, l.count("handover"))
	})
}

func TestDrainRetriesWithBackoff(t *testing.T) {
	for _, row := range []struct {
		name string
		op   operation
	}{
		{"replay fails", opReplay}, {"checkpoint fails", opCheckpoint}, {"hand-over fails", opHandOver},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLog(10 * mib)
				l.fail = failing(row.op)
				r, rec := newTest(t, l, Options{})
				d := startDrain(context.Background(), r)
				time.Sleep(time.Hour)
				select {
				case <-d.done:
					require.Fail(t, "drained though it fails", "%v", d.err)
				default:
				}
				require.Less(t, len(rec.allDelays()), 400)
				l.set(func() { l.fail = nil })
				<-d.done
				require.NoError(t, d.err)
				require.LessOrEqual(t, d.took, time.Hour+DefaultBackoffMax+tick)
				require.True(t, l.isDirect())
				require.Zero(t, l.notSynced())
			})
		})
	}
}

func TestDrainDoesNotWaitForBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(10 * mib)
		l.fail = failing(opReplay)
		r, _ := newTest(t, l, Options{BackoffMin: time.Hour})
		time.Sleep(time.Minute)
		require.Equal(t, Backoff, r.State())
		l.set(func() { l.fail = nil })
		time.Sleep(time.Minute)
		r.Wake()
		synctest.Wait()
		require.Equal(t, Backoff, r.State(), "new data does wait")
		d := startDrain(context.Background(), r)
		<-d.done
		require.NoError(t, d.err)
		require.Less(t, d.took, time.Second)
	})
}

func TestDrainAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(1000 * mib)
		r, _ := newTest(t, l, Options{})
		d := startDrain(context.Background(), r)
		time.Sleep(100 * time.Millisecond)
		r.Stop()
		<-d.done
		require.ErrorIs(t, d.err, ErrStopped)
		require.ErrorIs(t, r.Drain(context.Background()), ErrStopped)

		// Never started: it waits for Start, its context, or Stop.
		r = New(Options{Log: newFakeLog(mib)})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.Drain(ctx), context.DeadlineExceeded)
		d = startDrain(context.Background(), r)
		synctest.Wait()
		r.Stop()
		<-d.done
		require.ErrorIs(t, d.err, ErrStopped)
		require.Equal(t, Stopped, r.State())

		r = New(Options{Log: newFakeLog(mib)})
		d = startDrain(context.Background(), r)
		r.Start()
		r.Start()
		<-d.done
		require.NoError(t, d.err)
		r.Stop()
	})
}

// Called while a hand-over is under way: too late to know that it covers what was committed.
func TestDrainIsNotServedByAHandOverUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(mib)
		l.fail = func(op operation) error {
			if op == opHandOver {
				time.Sleep(time.Second)
			}
			return nil
		}
		r, _ := newTest(t, l, Options{})
		time.Sleep(1500 * time.Millisecond)
		require.Equal(t, 1, l.count("handover"))
		require.False(t, l.isDirect())
		d := startDrain(context.Background(), r)
		<-d.done
		require.NoError(t, d.err)
		require.Equal(t, 2, l.count("handover"))
	})
}

func TestHandOverOfAbandonedDrainIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(0)
		l.fail = failing(opHandOver)
		r, _ := newTest(t, l, Options{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.ErrorIs(t, r.Drain(ctx), context.DeadlineExceeded)
		l.set(func() { l.fail = nil })
		time.Sleep(time.Minute)
		require.True(t, l.isDirect())
		require.Equal(t, Idle, r.State())
	})
}
