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

// The tier table of the design, row by row, and the corners between its rows. The limit
// is 1000 (tiers at 800, 900), the capacity 1000, the index may take 500.
func TestOutcome(t *testing.T) {
	small := Request{Memory: 10, Spill: 8, Index: 2}
	for _, row := range []struct {
		name             string
		memory, inFlight int64 // in use, memory without what is in flight
		spill, index     int64 // in use
		active           bool
		noSpill          bool // capacity 0
		unusable         bool
		request          Request
		want             Outcome // noRoom = has to wait
		avoided          int64
	}{
		{name: "normal", request: small, want: Direct},
		{name: "flush", memory: 800, request: small, want: Direct},
		{name: "up to the spill limit", memory: 890, request: small, want: Direct},
		{name: "one byte above the spill limit", memory: 891, request: small, want: Spilled, avoided: 1},
		{name: "spill tier", memory: 950, request: small, want: Spilled, avoided: 1},
		{name: "above the limit", memory: 1000, request: Request{Memory: 10, Spill: 8}, want: Spilled, avoided: 1},
		{name: "no memory for the index", memory: 999, request: small, want: noRoom},

		{name: "spill tier, no spill", memory: 950, noSpill: true, request: small, want: Direct},
		{name: "spill tier, disk without room", memory: 950, unusable: true, request: small, want: Direct},
		{name: "spill tier, spill full of data handed over", memory: 950, spill: 993, request: small, want: Direct},
		{name: "spill tier, index has its share", memory: 440, index: 499, spill: 1, request: small, want: Direct},
		{name: "limit, no spill", memory: 991, noSpill: true, request: small, want: noRoom},
		{name: "limit, disk without room", memory: 991, unusable: true, request: small, want: noRoom},
		{name: "limit, spill full", memory: 991, spill: 993, request: small, want: noRoom},

		{name: "active, normal", active: true, spill: 1, request: small, want: Spilled},
		{name: "active, spill tier", active: true, spill: 1, memory: 950, request: small, want: Spilled, avoided: 1},
		{name: "active, spill full to the byte", active: true, spill: 992, request: small, want: Spilled},
		{name: "active, spill full", active: true, spill: 993, request: small, want: noRoom},
		{name: "active, disk without room", active: true, spill: 1, unusable: true, request: small, want: noRoom},
		{name: "active, index up to its share", active: true, spill: 1, index: 498, request: small, want: Spilled},
		{name: "active, index above its share", active: true, spill: 1, index: 499, request: small, want: noRoom},
		{name: "active, no memory for the index", active: true, spill: 1, memory: 999, request: small, want: noRoom},
		{name: "active, no spill", active: true, noSpill: true, request: small, want: noRoom},

		{name: "larger than the capacity, memory has room", request: Request{Memory: 900, Spill: 1001}, want: Direct},
		{name: "larger than the capacity, memory up to the limit", request: Request{Memory: 1000, Spill: 1001}, want: Direct},
		{name: "larger than the capacity, memory full", memory: 500, request: Request{Memory: 600, Spill: 1001}, want: noRoom},
		{name: "larger than both, nothing in flight", memory: 500, request: Request{Memory: 1200, Spill: 1001}, want: Direct},
		{name: "larger than both, something in flight", inFlight: 1, request: Request{Memory: 1200, Spill: 1001}, want: noRoom},
		{name: "larger than memory, spill has room", request: Request{Memory: 1200, Spill: 900}, want: Spilled, avoided: 1},
		{name: "larger than memory, no spill, nothing in flight", noSpill: true, request: Request{Memory: 1200, Spill: 900}, want: Direct},
		{name: "active, larger than the capacity, spill in use", active: true, spill: 1, request: Request{Memory: 10, Spill: 1001}, want: noRoom},
		{name: "active, larger than the capacity, spill empty", active: true, request: Request{Memory: 10, Spill: 1001}, want: Spilled},
		{name: "active, index larger than its share, spill in use", active: true, spill: 1, request: Request{Spill: 1, Index: 501}, want: noRoom},
		{name: "active, index larger than its share, spill empty", active: true, request: Request{Spill: 1, Index: 501}, want: Spilled},
		{name: "active, index larger than memory, alone", active: true, request: Request{Spill: 1, Index: 1001}, want: Spilled},
		{name: "active, index larger than memory, not alone", active: true, inFlight: 1, request: Request{Spill: 1, Index: 1001}, want: noRoom},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newManager(t)
			a := m.Register(Holder{})
			capacity := int64(1000)
			if row.noSpill {
				capacity = 0
			}
			s := NewSpilloverManager(SpilloverOptions{
				Account: a, Capacity: capacity, Usable: func() bool { return !row.unusable },
			})
			a.Force(Memtable, row.memory)
			a.Force(InFlight, row.inFlight)
			s.Force(row.spill, row.index)
			s.SetActive(row.active)
			require.Equal(t, row.active, s.IsActive())
			usage := m.Usage()

			got, err := s.Reserve(context.Background(), row.request, -1)
			if row.want == noRoom {
				require.ErrorIs(t, err, ErrWriteBlocked)
				require.EqualValues(t, 1, s.Stats().BlockTimeouts)
				require.Equal(t, []int64{usage, row.spill}, []int64{m.Usage(), s.Usage()}, "nothing is reserved")
				return
			}
			require.NoError(t, err)
			require.Equal(t, row.want, got)
			require.Equal(t, row.avoided, s.Stats().BlocksAvoided)
			if got == Direct {
				require.Equal(t, []int64{usage + row.request.Memory, row.spill}, []int64{m.Usage(), s.Usage()})
				require.Equal(t, row.inFlight+row.request.Memory, a.UsageByKind(InFlight))
			} else {
				require.Equal(t, []int64{usage + row.request.Index, row.spill + row.request.Spill}, []int64{m.Usage(), s.Usage()})
				require.Equal(t, row.index+row.request.Index, a.UsageByKind(SpillIndex))
			}
			s.Cancel(row.request, got)
			require.Equal(t, []int64{usage, row.spill}, []int64{m.Usage(), s.Usage()}, "cancel gives all of it back")
		})
	}
}

func TestSpilloverFull(t *testing.T) {
	usable := true
	m := newManager(t)
	a := m.Register(Holder{})
	s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 100, IndexShare: 0.1, Usable: func() bool { return usable }})
	require.EqualValues(t, 100, s.Capacity())
	require.False(t, s.IsSpilloverFull(100, 100))
	require.False(t, s.IsSpilloverFull(101, 0), "an empty spill takes a larger batch")
	usable = false
	require.True(t, s.IsSpilloverFull(1, 0))
	usable = true
	s.Force(40, 90)
	require.False(t, s.IsSpilloverFull(60, 10))
	require.True(t, s.IsSpilloverFull(61, 10))
	require.True(t, s.IsSpilloverFull(60, 11))
	a.Force(Memtable, 905)
	require.False(t, s.IsSpilloverFull(60, 5))
	require.True(t, s.IsSpilloverFull(60, 6), "memory as a whole")

	require.False(t, s.ShouldSpillOver(-95))
	require.True(t, s.ShouldSpillOver(0))
	a.Release(Memtable, 905)
	require.False(t, s.ShouldSpillOver(810))
	require.True(t, s.ShouldSpillOver(811))
}

func TestSpillAccounting(t *testing.T) {
	m := newManager(t)
	a := m.Register(Holder{})
	s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 1000})
	s.SetActive(true)
	for range 3 {
		o, err := s.Reserve(context.Background(), Request{Memory: 1, Spill: 100, Index: 10}, 0)
		require.NoError(t, err)
		require.Equal(t, Spilled, o)
	}
	s.AdjustSpill(-40) // snappy did well
	s.AdjustSpill(10)
	require.EqualValues(t, 270, s.Usage())
	s.ReleaseSpillover(170, 20, 150)
	s.ReleaseSpillover(100, 10, 0) // dropped, not replayed
	require.Zero(t, s.Usage())
	require.Zero(t, m.Usage())
	require.EqualValues(t, 150, s.Stats().BytesRecovered)
}

func TestSpillOverReleaseIsClampedAndCounted(t *testing.T) {
	m, err := New(Options{Limit: 1000})
	require.NoError(t, err)
	s := NewSpilloverManager(SpilloverOptions{Account: m.Register(Holder{}), Capacity: 1000})
	s.Force(10, 10)
	s.ReleaseSpillover(11, 10, 11)
	require.Zero(t, s.Usage())
	require.EqualValues(t, 1, m.Leaks())
	_, err = s.Reserve(context.Background(), Request{Memory: maxLimit + 1}, 0)
	require.ErrorIs(t, err, ErrInvalidOption)
}

func TestBlockTimeout(t *testing.T) {
	for _, row := range []struct {
		name    string
		timeout time.Duration
		silent  bool // the release wakes nobody
		err     error
		took    time.Duration
	}{
		{"negative fails at once", -1, false, ErrWriteBlocked, 0},
		{"positive", 130 * time.Millisecond, false, ErrWriteBlocked, 130 * time.Millisecond},
		{"room is seen in the moment of the timeout", 2 * time.Hour, true, nil, 2 * time.Hour},
		{"none waits for ever", 0, false, nil, time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, err := New(Options{Limit: 1000, RecheckInterval: 100 * time.Hour})
				require.NoError(t, err)
				var h holder
				a := h.register(m, "a")
				s := NewSpilloverManager(SpilloverOptions{Account: a})
				a.Force(Memtable, 1000)
				asked := h.relieved.Load()
				p := start(func() (Outcome, error) {
					return s.Reserve(context.Background(), Request{Memory: 1}, row.timeout)
				})
				synctest.Wait()
				require.Equal(t, asked+1, h.relieved.Load())
				if row.timeout >= 0 {
					require.EqualValues(t, 1, s.Stats().Parked)
				}
				time.Sleep(time.Hour)
				if row.silent {
					a.kinds[Memtable].Add(-500)
					m.kinds[Memtable].Add(-500)
					m.usage.Add(-500)
				} else {
					a.Release(Memtable, 500)
				}
				<-p.done
				require.ErrorIs(t, p.err, row.err)
				require.Equal(t, row.took, p.took)
				st := s.Stats()
				require.Zero(t, st.Parked)
				require.Equal(t, row.err == ErrWriteBlocked, st.BlockTimeouts == 1)
				require.Equal(t, row.timeout >= 0, st.WritersBlocked == 1)
				require.Equal(t, row.took, st.BlockedTime)
				want := int64(500)
				if row.err == nil {
					want++
				}
				require.Equal(t, want, m.Usage())
			})
		})
	}
}

func TestParkedCommitLooksAtEverythingAgain(t *testing.T) {
	for _, row := range []struct {
		name    string
		request Request
		happens func(a *Account, s *SpilloverManager)
		want    Outcome
	}{
		{"spill replayed in part", Request{Memory: 10, Spill: 10, Index: 1},
			func(_ *Account, s *SpilloverManager) { s.ReleaseSpillover(10, 0, 10) }, Spilled},
		{"estimate was too high", Request{Memory: 10, Spill: 10, Index: 1},
			func(_ *Account, s *SpilloverManager) { s.AdjustSpill(-10) }, Spilled},
		{"another commit was cancelled", Request{Memory: 10, Spill: 10, Index: 1},
			func(_ *Account, s *SpilloverManager) { s.Cancel(Request{Spill: 10}, Spilled) }, Spilled},
		{"commits go direct again", Request{Memory: 10, Spill: 10, Index: 1},
			func(_ *Account, s *SpilloverManager) { s.SetActive(false) }, Direct},
		{"larger than the capacity, spill replayed", Request{Memory: 10, Spill: 2000, Index: 1},
			func(_ *Account, s *SpilloverManager) { s.ReleaseSpillover(1000, 400, 1000) }, Spilled},
		{"larger than the capacity, commits go direct again", Request{Memory: 10, Spill: 2000, Index: 1},
			func(_ *Account, s *SpilloverManager) { s.SetActive(false) }, Direct},
		{"larger than everything, commits go direct again", Request{Memory: 2000, Spill: 2000, Index: 1},
			func(_ *Account, s *SpilloverManager) { s.SetActive(false) }, Direct},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, err := New(Options{Limit: 1000, RecheckInterval: time.Hour})
				require.NoError(t, err)
				a := m.Register(Holder{})
				s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 1000})
				s.Force(1000, 400)
				s.SetActive(true)
				p := start(func() (Outcome, error) { return s.Reserve(context.Background(), row.request, 0) })
				time.Sleep(time.Second)
				require.True(t, p.parked())
				require.EqualValues(t, []int64{1000, 400}, []int64{s.Usage(), m.Usage()}, "holds nothing")
				row.happens(a, s)
				<-p.done
				require.NoError(t, p.err)
				require.Equal(t, row.want, p.outcome)
				require.Equal(t, time.Second, p.took, "woken, not by the timer")
				s.Cancel(row.request, p.outcome)
				a.Close()
				require.Zero(t, m.Usage())
				require.Zero(t, m.Leaks())
			})
		})
	}
}

func TestParkedCommitSeesDiskThatHasRoomAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a := m.Register(Holder{})
		var usable atomic.Bool
		s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 1000, Usable: usable.Load})
		s.Force(1, 1)
		s.SetActive(true)
		p := start(func() (Outcome, error) {
			return s.Reserve(context.Background(), Request{Memory: 1, Spill: 1, Index: 1}, 0)
		})
		time.Sleep(time.Second + time.Millisecond)
		require.True(t, p.parked())
		usable.Store(true) // nobody is told
		<-p.done
		require.NoError(t, p.err)
		require.Equal(t, Spilled, p.outcome)
		require.Equal(t, time.Second+DefaultRecheckInterval, p.took)
		a.Close()
	})
}

func TestParkedCommitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a := m.Register(Holder{})
		s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 1000})
		s.Force(1000, 0)
		s.SetActive(true)
		r := Request{Memory: 1, Spill: 1, Index: 1}
		ctx, cancel := context.WithCancel(context.Background())
		cancelled := start(func() (Outcome, error) { return s.Reserve(ctx, r, 0) })
		closed := start(func() (Outcome, error) { return s.Reserve(context.Background(), r, 0) })
		synctest.Wait()
		require.EqualValues(t, 2, s.Stats().Parked)
		cancel()
		<-cancelled.done
		require.ErrorIs(t, cancelled.err, context.Canceled)
		require.True(t, closed.parked())
		a.Close()
		<-closed.done
		require.ErrorIs(t, closed.err, ErrClosed)
		_, err := s.Reserve(context.Background(), r, -1)
		require.ErrorIs(t, err, ErrClosed)
		require.EqualValues(t, 1000, s.Usage())
		require.Zero(t, m.Usage())
	})
}

// Replay needs memory while a commit waits for room in the spill.
func TestClaimOnTheSpillLeavesMemoryToReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a := m.Register(Holder{})
		s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 1000})
		s.Force(1000, 0)
		s.SetActive(true)
		p := start(func() (Outcome, error) {
			return s.Reserve(context.Background(), Request{Memory: 600, Spill: 600, Index: 1}, 0)
		})
		time.Sleep(5 * DefaultRecheckInterval)
		require.NotNil(t, s.gate.claim.Load())
		small := start(func() (Outcome, error) {
			return s.Reserve(context.Background(), Request{Memory: 10, Spill: 10, Index: 1}, 0)
		})
		for range 5 {
			require.True(t, a.TryReserve(InFlight, 100, Flush))
			a.Transfer(InFlight, Memtable, 100)
			s.ReleaseSpillover(100, 0, 100)
		}
		synctest.Wait()
		require.True(t, p.parked())
		require.True(t, small.parked(), "what replay frees is kept for the one that waits longest")
		s.ReleaseSpillover(110, 0, 110)
		<-p.done
		<-small.done
		require.NoError(t, p.err)
		require.NoError(t, small.err)
		require.EqualValues(t, 1000, s.Usage())
		a.Close()
	})
}

// Small commits refill the spill as fast as it is replayed.
func TestBigCommitIsNotStarvedOfSpill(t *testing.T) {
	for _, row := range []struct {
		name  string
		spill int64
	}{
		{"within the capacity", 900},
		{"larger than the capacity", 5000},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t)
				a := m.Register(Holder{})
				s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 1000})
				s.SetActive(true)
				ctx, cancel := context.WithCancel(context.Background())
				for range 4 {
					go func() {
						for ctx.Err() == nil {
							if _, err := s.Reserve(ctx, Request{Memory: 50, Spill: 50, Index: 1}, 0); err != nil {
								return
							}
						}
					}()
				}
				go func() { // replay
					for ctx.Err() == nil {
						time.Sleep(5 * time.Millisecond)
						if n := min(50, s.Usage()); n > 0 {
							s.ReleaseSpillover(n, 1, n)
						}
					}
				}()
				time.Sleep(100 * time.Millisecond)
				p := start(func() (Outcome, error) {
					return s.Reserve(ctx, Request{Memory: 50, Spill: row.spill, Index: 1}, 0)
				})
				<-p.done
				require.NoError(t, p.err)
				require.Equal(t, Spilled, p.outcome)
				require.Less(t, p.took, 2*time.Second)
				cancel()
				time.Sleep(time.Second)
				a.Close()
			})
		})
	}
}

// Between the soft and the spill limit nobody parks, yet replay pauses until memory is freed.
func TestStartOfSpillAsksForRelief(t *testing.T) {
	m := newManager(t)
	var idle holder
	a := idle.register(m, "idle")
	b := m.Register(Holder{})
	a.Force(Memtable, 895)
	before := idle.relieved.Load()
	s := NewSpilloverManager(SpilloverOptions{Account: b, Capacity: 1000})
	o, err := s.Reserve(context.Background(), Request{Memory: 10, Spill: 10, Index: 1}, 0)
	require.NoError(t, err)
	require.Equal(t, Spilled, o)
	require.Greater(t, idle.relieved.Load(), before)
}

// A waiter that takes and gives back in vain must not wake the others, which would do the
// same: under synctest such a loop never lets the clock move.
func TestParkedCommitsDoNotWakeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a := m.Register(Holder{})
		s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 1000})
		s.Force(500, 0)
		s.SetActive(true)
		a.Force(Memtable, 1000)
		var all []*pending
		for range 5 {
			all = append(all, start(func() (Outcome, error) {
				return s.Reserve(context.Background(), Request{Memory: 1, Spill: 1, Index: 1}, 10*time.Second)
			}))
		}
		for _, p := range all {
			<-p.done
			require.ErrorIs(t, p.err, ErrWriteBlocked)
			require.Equal(t, 10*time.Second, p.took)
		}
		require.EqualValues(t, 500, s.Usage())
		a.Close()
	})
}
