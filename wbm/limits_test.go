//go:build go1.25

package wbm

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A parked reservation sees a changed limit without the timer, which is an hour away.
func TestRaisedLimitsWakeWaiters(t *testing.T) {
	for _, row := range []struct {
		name  string
		n     int64
		raise func(m *WriteBufferManager, s *SpilloverManager)
		way   Outcome
	}{
		{"limit", 300, func(m *WriteBufferManager, s *SpilloverManager) { require.NoError(t, m.SetLimit(2000)) }, Direct},
		{"spill ratio", 50, func(m *WriteBufferManager, s *SpilloverManager) {
			require.NoError(t, m.SetLimit(1100))
			require.NoError(t, m.SetRatios(0.5, 1))
		}, Direct},
		{"capacity, of a spill that was none", 300, func(m *WriteBufferManager, s *SpilloverManager) { s.SetCapacity(400) }, Spilled},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, err := New(Options{Limit: 1000, RecheckInterval: time.Hour})
				require.NoError(t, err)
				a := m.Register(Holder{})
				s := NewSpilloverManager(SpilloverOptions{Account: a})
				a.Force(Memtable, 1000)
				p := start(func() (Outcome, error) {
					return s.Reserve(context.Background(), Request{Memory: row.n, Spill: row.n}, 0)
				})
				synctest.Wait()
				require.True(t, p.parked())
				row.raise(m, s)
				synctest.Wait()
				require.False(t, p.parked(), "not woken")
				require.NoError(t, p.err)
				require.Equal(t, row.way, p.outcome)
				require.Zero(t, p.took)
			})
		})
	}
}

// What is lowered below what is in use keeps others out, and lets go of nobody's bytes.
func TestLoweredLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		var h holder
		a := h.register(m, "a")
		require.True(t, a.TryReserve(InFlight, 500, Block))
		require.NoError(t, m.SetLimit(400))
		require.EqualValues(t, 500, m.Usage())
		require.Equal(t, Block, m.Tier())
		require.Equal(t, []tierChange{{Normal, Block}}, h.takeChanges())
		require.EqualValues(t, 1, h.relieved.Load(), "relief is asked for at once")
		// larger than the limit now: passes when nothing is in flight
		p := startReserve(a, 450, Block)
		synctest.Wait()
		require.True(t, p.parked())
		a.Release(InFlight, 500)
		synctest.Wait()
		require.False(t, p.parked())
		require.NoError(t, p.err)
		a.Release(InFlight, 450)
	})
}

func TestLoweredCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a := m.Register(Holder{})
		s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 1000})
		s.SetActive(true)
		s.Force(600, 0)
		require.False(t, s.IsSpilloverFull(100, 0))
		s.SetCapacity(300)
		require.EqualValues(t, 300, s.Capacity())
		require.True(t, s.IsSpilloverFull(1, 0))

		large := start(func() (Outcome, error) { return s.Reserve(context.Background(), Request{Spill: 400}, 0) })
		synctest.Wait()
		require.True(t, large.parked(), "larger than the capacity, and the spill is not empty")
		s.ReleaseSpillover(500, 0, 0)
		synctest.Wait()
		require.True(t, large.parked())
		s.ReleaseSpillover(100, 0, 0)
		synctest.Wait()
		require.False(t, large.parked(), "an empty spill takes it")
		require.Equal(t, Spilled, large.outcome)
		s.Cancel(Request{Spill: 400}, Spilled)

		// No spill at all any more: who is to go there waits until it is not active.
		s.SetCapacity(0)
		none := start(func() (Outcome, error) {
			return s.Reserve(context.Background(), Request{Memory: 10, Spill: 10}, 0)
		})
		synctest.Wait()
		require.True(t, none.parked())
		s.SetActive(false)
		synctest.Wait()
		require.Equal(t, Direct, none.outcome)
		require.False(t, none.parked())
		a.Release(InFlight, 10)
	})
}

// A writer that is slowed goes on when the capacity is raised, and parks when it is lowered.
func TestCapacityWhileSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		s := NewSpilloverManager(SpilloverOptions{Account: m.Register(Holder{}), Capacity: 1000, HighWater: 0.5})
		s.SetActive(true)
		s.Force(900, 0)
		reserve := func() (Outcome, error) { return s.Reserve(context.Background(), Request{Spill: 9}, 0) }
		_, err := reserve() // takes what tokens there are
		require.NoError(t, err)
		slowed := start(reserve)
		synctest.Wait()
		require.EqualValues(t, 1, s.Stats().Slowed)
		s.SetCapacity(10_000)
		synctest.Wait()
		require.False(t, slowed.parked())
		require.EqualValues(t, 5_000, s.throttle.law.Load().band, "from half of it on")
		s.SetCapacity(1100)
		slowed = start(reserve)
		synctest.Wait()
		require.EqualValues(t, 1, s.Stats().Slowed)
		s.SetCapacity(10)
		synctest.Wait()
		require.Zero(t, s.Stats().Slowed)
		require.EqualValues(t, 1, s.Stats().Parked)
		s.ReleaseSpillover(s.Usage(), 0, 0)
		synctest.Wait()
		require.False(t, slowed.parked())
	})
}

func TestHoldersAreToldOfLimits(t *testing.T) {
	m := newManager(t)
	var told atomic.Int64
	var seen []int64
	a := m.Register(Holder{OnLimits: func() { told.Add(1); seen = append(seen, m.Limit()) }})
	m.Register(Holder{})
	require.NoError(t, m.SetLimit(2000))
	require.NoError(t, m.SetRatios(0.25, 0.5))
	require.Equal(t, []int64{2000, 2000}, seen)
	soft, spill := m.Ratios()
	require.Equal(t, []float64{0.25, 0.5}, []float64{soft, spill})
	require.ErrorIs(t, m.SetLimit(0), ErrInvalidOption)
	require.EqualValues(t, 2, told.Load(), "nothing has changed")
	a.Close()
	require.NoError(t, m.SetLimit(1000))
	require.EqualValues(t, 2, told.Load())
}
