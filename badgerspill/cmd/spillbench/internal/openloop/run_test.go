package openloop

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeStore takes `service` for every write, and longer when it is down: a write that arrives in
// [downFrom, downTo) is served after downTo.
type fakeStore struct {
	start            time.Time
	service          time.Duration
	downFrom, downTo time.Duration
	fail             func(at time.Duration) error
	scanStop         string // the scan fails there
	getErr           error
	spoil            bool // point reads return values that nobody wrote

	mu    sync.Mutex
	data  map[string][]byte
	order []string
}

func newFakeStore(service time.Duration) *fakeStore {
	return &fakeStore{start: time.Now(), service: service, data: map[string][]byte{}}
}

func (s *fakeStore) writer() func(key, value []byte) error {
	return func(key, value []byte) error {
		at := time.Since(s.start)
		if at >= s.downFrom && at < s.downTo {
			time.Sleep(s.downTo - at)
		}
		time.Sleep(s.service)
		if s.fail != nil {
			if err := s.fail(at); err != nil {
				return err
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.data[string(key)] = append([]byte(nil), value...)
		s.order = append(s.order, string(key))
		return nil
	}
}

func (s *fakeStore) Scan(visit func(key, value []byte) bool) error {
	for _, key := range slices.Sorted(maps.Keys(s.data)) {
		if s.scanStop != "" && key >= s.scanStop {
			return errors.New("checksum mismatch")
		}
		if !visit([]byte(key), s.data[key]) {
			break
		}
	}
	return nil
}

func (s *fakeStore) Get(key, dst []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.getErr != nil {
		return dst, s.getErr
	}
	value, ok := s.data[string(key)]
	if !ok {
		return dst, ErrNotFound
	}
	if s.spoil {
		dst = append(dst, ^value[0])
		return append(dst, value[1:]...), nil
	}
	return append(dst, value...), nil
}

func newTestRun(writers int, backlog time.Duration, phases ...Phase) *Run {
	return NewRun(Config{
		Schedule: NewSchedule(phases...),
		Workload: NewWorkload(1, 64),
		Writers:  writers,
		Backlog:  backlog,
	})
}

const ms = time.Millisecond

func TestStoreThatKeepsUpShowsItsServiceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(2 * ms)
		run := newTestRun(4, 0, Phase{"calm", 1000, time.Second})
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))

		res := run.Results()[0]
		require.EqualValues(t, 1000, res.Acked)
		require.Equal(t, 2*ms, res.P50)
		require.Equal(t, 2*ms, res.P999)
		require.Equal(t, 2*ms, res.Max)
		require.EqualValues(t, 1000, res.OfferedRate)
		// The last write is due at 999 ms and acknowledged after the end; the one before it exactly
		// at the end.
		require.EqualValues(t, 999, res.AchievedRate)
	})
}

// One writer at one write a millisecond, and the store hangs from 1 s to 2 s. A closed loop would
// record one write of a second. Here every write that fell due meanwhile waited too. The one due at
// 1000 ms takes 1001 ms, the next one is sent when that is done and takes as long, and so on. The
// service time equals the interval, so the queue never shrinks.
func TestStallIsCountedForEveryWriteThatWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(ms)
		store.downFrom, store.downTo = time.Second, 2*time.Second
		run := newTestRun(1, time.Hour, Phase{"burst", 1000, 10 * time.Second})
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))

		res := run.Results()[0]
		require.EqualValues(t, 10_000, res.Acked)
		require.Equal(t, 1001*ms, res.Max)
		requireAbout(t, 1001*ms, res.P50)
		requireAbout(t, 1001*ms, res.P99)
		// Of the 10,000 writes 1,000 were acknowledged before the stall, and one a millisecond from
		// 2001 ms on.
		require.EqualValues(t, 1000+8000, res.AchievedRate*10)
	})
}

// As above, but the store is ten times as fast as the load: the queue of a second drains at nine
// writes a millisecond. The write due at 1000+k ms is acknowledged at 2000+(k+1)/10 ms, until k
// reaches 1111.
func TestShortStallHasTheExactTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(100 * time.Microsecond)
		store.downFrom, store.downTo = time.Second, 2*time.Second
		run := newTestRun(1, time.Hour, Phase{"burst", 1000, 10 * time.Second})
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))

		res := run.Results()[0]
		late := func(k int) time.Duration {
			return time.Second + time.Duration(k+1)*100*time.Microsecond - time.Duration(k)*ms
		}
		require.Equal(t, late(0), res.Max)
		requireAbout(t, late(10), res.P999) // the 10 slowest of 10,000 lie above p99.9
		requireAbout(t, late(100), res.P99)
		require.Equal(t, 100*time.Microsecond, res.P50)
		require.EqualValues(t, 1000, res.AchievedRate)
	})
}

func TestBacklogIsCutOffAndCountedAsUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A tenth of the burst's rate, for 1 s of burst, 1 s of quiet and 1 s of backlog: 300 of
		// 1010 writes.
		store := newFakeStore(10 * ms)
		run := newTestRun(1, time.Second, Phase{"burst", 1000, time.Second}, Phase{"quiet", 10, time.Second})
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))
		require.Equal(t, 3*time.Second, run.Elapsed())

		burst, quiet := run.Results()[0], run.Results()[1]
		require.EqualValues(t, 300, burst.Acked)
		require.EqualValues(t, 700, burst.Unsent)
		require.EqualValues(t, 100, burst.AchievedRate)
		// Slot 299 is due at 299 ms and acknowledged at 3 s: the percentiles are over those that
		// were sent.
		require.Equal(t, 3*time.Second-299*ms, burst.Max)

		require.EqualValues(t, 10, quiet.Due)
		require.EqualValues(t, 10, quiet.Unsent)
		require.Zero(t, quiet.Acked)
		require.Zero(t, quiet.P50)
		require.Zero(t, quiet.Max)
		require.Zero(t, quiet.AchievedRate)
	})
}

func TestQuietWritesQueueBehindTheBacklogOfTheBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(10 * ms)
		run := newTestRun(1, time.Hour, Phase{"burst", 200, time.Second}, Phase{"quiet", 10, 4 * time.Second})
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))

		burst, quiet := run.Results()[0], run.Results()[1]
		require.EqualValues(t, 100, burst.AchievedRate, "the second half is acknowledged too late to count")
		require.EqualValues(t, 200, burst.Acked)
		// The backlog is gone at 2 s: the first quiet write, due at 1 s, comes after it.
		require.Equal(t, time.Second+10*ms, quiet.Max)
		require.Equal(t, 10*ms, quiet.P50)
		for slot, key := range store.order {
			require.Equal(t, string(run.cfg.Workload.AppendKey(nil, int64(slot))), key, "not in the order of due times")
		}
	})
}

func TestFailedWritesAreNoSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk full")
		store := newFakeStore(ms)
		store.fail = func(at time.Duration) error {
			if at >= 500*ms {
				return full
			}
			return nil
		}
		run := newTestRun(2, 0, Phase{"burst", 100, time.Second})
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))

		res := run.Results()[0]
		require.EqualValues(t, 50, res.Acked)
		require.EqualValues(t, 50, res.Failed)
		require.Zero(t, res.Unsent)
		require.EqualValues(t, 50, res.AchievedRate)
		require.Equal(t, full, run.FirstError())
	})
}

func TestInterruptEndsARunWithWritersWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(ms)
		run := newTestRun(8, 0, Phase{"calm", 1, time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		run.Begin()
		require.ErrorIs(t, run.Do(ctx, store.writer), context.Canceled)
		require.Equal(t, time.Minute, run.Elapsed())
		// within this time of the fake clock every writer has noticed, or the bubble complains
		time.Sleep(waitSlice)
	})
}

func TestStoreThatNeverAnswersEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(ms)
		store.downFrom, store.downTo = 100*ms, time.Hour
		run := newTestRun(3, time.Second, Phase{"burst", 100, time.Second})
		run.Begin()
		err := run.Do(t.Context(), store.writer)
		require.ErrorIs(t, err, ErrNoAnswer)
		require.ErrorContains(t, err, "3 were sent")
		require.Equal(t, 2*time.Second+answerGrace, run.Elapsed())
		time.Sleep(time.Hour) // the fake clock's: lets the writers end
	})
}

func TestTicksTellWhatHappenedSinceTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(10 * ms)
		run := newTestRun(1, time.Hour, Phase{"burst", 200, time.Second}, Phase{"quiet", 10, time.Second})
		run.Begin()
		done := make(chan error)
		go func() { done <- run.Do(t.Context(), store.writer) }()

		var ticks []Tick
		for range 3 {
			// 1 ns off the instant of an acknowledgement
			time.Sleep(time.Second - time.Duration(len(ticks)%2))
			synctest.Wait()
			ticks = append(ticks, run.Tick())
		}
		require.NoError(t, <-done)

		first := ticks[0]
		require.Equal(t, "burst", first.Phase)
		// At 1 s the first quiet write is due too.
		require.EqualValues(t, 201, first.Offered)
		require.InDelta(t, 100, first.Achieved, 1)
		require.InDelta(t, 101, first.Behind, 1)
		require.InDelta(t, float64(500*ms), float64(first.P99), float64(15*ms))
		require.Equal(t, "quiet", ticks[1].Phase)
		require.InDelta(t, 100, ticks[1].Achieved, 1.5)
		require.Equal(t, "backlog", ticks[2].Phase)
		require.Zero(t, ticks[2].Behind)
	})
}

func TestKernelTimerIsNotEarly(t *testing.T) {
	p := newPacer(true)
	defer p.close()
	start := time.Now()
	for i := range 20 {
		due := time.Duration(i) * 500 * time.Microsecond
		require.True(t, p.wait(t.Context(), start, due, 1))
		require.GreaterOrEqual(t, time.Since(start), due)
	}
}

// requireAbout allows for the resolution of the histogram, four digits.
func requireAbout(t *testing.T, want, got time.Duration) {
	t.Helper()
	require.InEpsilon(t, float64(want), float64(got), 1e-4)
}
