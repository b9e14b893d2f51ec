//go:build go1.25

package wbm

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTierTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a := m.Register(Holder{})
		defer a.Close()
		time.Sleep(time.Second)
		a.Force(Memtable, 850)
		time.Sleep(2 * time.Second)
		a.Force(Memtable, 150)
		time.Sleep(4 * time.Second)
		a.Release(Memtable, 1000)
		time.Sleep(8 * time.Second)
		a.Force(Memtable, 900)
		time.Sleep(16 * time.Second)
		require.Equal(t, [4]time.Duration{Normal: 9 * time.Second, Flush: 2 * time.Second, Spill: 16 * time.Second, Block: 4 * time.Second}, m.TierTime())
		require.Equal(t, [4]int64{Normal: 1, Flush: 1, Spill: 1, Block: 1}, m.TierEntered())
	})
}

// wait is what OnBlocked and what it returned were told of one reservation.
type wait struct {
	request       Request
	waiting, left int64
	took          time.Duration
	outcome       Outcome
	err           error
}

func TestOnBlockedTellsOfEachWait(t *testing.T) {
	for _, c := range []struct {
		name    string
		timeout time.Duration
		end     func(s *SpilloverManager, cancel func())
		want    wait
	}{
		{"room in Badger", 0, func(s *SpilloverManager, _ func()) { s.account.Release(Memtable, 1000) }, wait{outcome: Direct}},
		{"room in the spill", 0, func(s *SpilloverManager, _ func()) {
			s.account.Release(Memtable, 100)
			s.ReleaseSpillover(100, 0, 0)
		}, wait{outcome: Spilled}},
		{"no room in time", time.Minute, func(*SpilloverManager, func()) { time.Sleep(time.Minute) }, wait{took: time.Minute, err: ErrWriteBlocked}},
		{"given up", 0, func(_ *SpilloverManager, cancel func()) { cancel() }, wait{err: context.Canceled}},
		{"closed", 0, func(s *SpilloverManager, _ func()) { s.account.Close() }, wait{err: ErrClosed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t)
				a := m.Register(Holder{})
				defer a.Close()
				var mu sync.Mutex
				var begun, ended []wait
				told := func() (begins, ends []wait) {
					mu.Lock()
					defer mu.Unlock()
					return slices.Clone(begun), slices.Clone(ended)
				}
				s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 100, OnBlocked: func(r Request, waiting int64) func(time.Duration, int64, Outcome, error) {
					mu.Lock()
					defer mu.Unlock()
					w := wait{request: r, waiting: waiting}
					begun = append(begun, w)
					return func(took time.Duration, left int64, o Outcome, err error) {
						mu.Lock()
						defer mu.Unlock()
						w.took, w.left, w.outcome, w.err = took, left, o, err
						ended = append(ended, w)
					}
				}})
				a.Force(Memtable, 1000)
				s.Force(100, 0)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				request := Request{Memory: 10, Spill: 10, Index: 5}
				p := start(func() (Outcome, error) { return s.Reserve(ctx, request, c.timeout) })
				synctest.Wait()
				begins, ends := told()
				require.Equal(t, []wait{{request: request, waiting: 1}}, begins)
				require.Empty(t, ends)
				c.end(s, cancel)
				<-p.done
				c.want.request, c.want.waiting = request, 1
				_, ends = told()
				require.Equal(t, []wait{c.want}, ends)
				require.Equal(t, c.want.err, p.err)
			})
		})
	}
}

func TestOnBlockedIsNotToldOfWhoDoesNotWait(t *testing.T) {
	m := newManager(t)
	a := m.Register(Holder{})
	defer a.Close()
	s := NewSpilloverManager(SpilloverOptions{Account: a, OnBlocked: func(Request, int64) func(time.Duration, int64, Outcome, error) {
		t.Error("told")
		return nil
	}})
	_, err := s.Reserve(context.Background(), Request{Memory: 10}, 0)
	require.NoError(t, err)
	a.Force(Memtable, 1000)
	_, err = s.Reserve(context.Background(), Request{Memory: 10}, -1)
	require.ErrorIs(t, err, ErrWriteBlocked)
}

func TestLatencyBuckets(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{0, 3814, 3815, 7629, 7630, time.Millisecond, 4 * time.Second, time.Hour} {
		h.record(d)
	}
	l := h.snapshot()
	require.Equal(t, 3814*time.Nanosecond, LatencyBound(0), "2^-18 s")
	require.Equal(t, 4*time.Second, LatencyBound(LatencyBuckets-1))
	require.Equal(t, []int64{2, 4, 5, 5, 5, 5, 5, 5, 5, 6}, l.Buckets[:10], "1 ms is above 2^-10 s")
	require.Equal(t, []int64{6, 7}, l.Buckets[19:])
	require.EqualValues(t, 8, l.Count)
	require.Equal(t, time.Hour+4*time.Second+time.Millisecond+22888, l.Sum)
}
