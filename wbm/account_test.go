package wbm

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTryReserve(t *testing.T) {
	for _, row := range []struct {
		name     string
		used     int64
		inFlight int64
		kind     Kind
		n        int64
		ceiling  Tier
		want     bool
	}{
		{"up to the soft limit", 700, 0, InFlight, 100, Flush, true},
		{"one byte above the soft limit", 700, 0, InFlight, 101, Flush, false},
		{"normal is bounded by the soft limit too", 700, 0, InFlight, 101, Normal, false},
		{"up to the spill limit", 800, 0, InFlight, 100, Spill, true},
		{"one byte above the spill limit", 800, 0, InFlight, 101, Spill, false},
		{"up to the limit", 900, 0, InFlight, 100, Block, true},
		{"one byte above the limit", 900, 0, InFlight, 101, Block, false},
		{"exactly the ceiling is not oversize", 1, 0, InFlight, 1000, Block, false},
		{"oversize, nothing in flight", 950, 0, InFlight, 1001, Block, true},
		{"oversize for its ceiling only", 0, 0, InFlight, 901, Spill, true},
		{"oversize, something in flight", 0, 1, InFlight, 1001, Block, false},
		{"oversize of another kind", 950, 0, SpillIndex, 1001, Block, true},
		{"oversize of another kind, something in flight", 0, 1, SpillIndex, 1001, Block, false},
		{"nothing asked, no room", 2000, 0, InFlight, 0, Spill, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newManager(t)
			a, other := m.Register(Holder{}), m.Register(Holder{})
			other.Force(Memtable, row.used)
			other.Force(InFlight, row.inFlight)
			require.Equal(t, row.want, a.TryReserve(row.kind, row.n, row.ceiling))
			want := row.used + row.inFlight
			if row.want {
				want += row.n
				require.Equal(t, row.n, a.UsageByKind(row.kind))
			}
			require.Equal(t, want, m.Usage())
			require.Equal(t, want, a.Usage()+other.Usage())
		})
	}
}

func TestAccounting(t *testing.T) {
	m := newManager(t)
	a, b := m.Register(Holder{Name: "a"}), m.Register(Holder{Name: "b"})
	require.True(t, a.TryReserve(InFlight, 100, Spill))
	b.Force(SpillIndex, 50)
	a.Transfer(InFlight, Memtable, 60)
	a.SetPinned(700)
	require.Equal(t, []AccountUsage{
		{Name: "a", Usage: 100, InFlight: 40, Memtable: 60, Pinned: 700},
		{Name: "b", Usage: 50, SpillIndex: 50},
	}, m.Accounts())
	require.EqualValues(t, 150, m.Usage(), "pinned bytes do not count")
	require.Equal(t, Normal, m.Tier())
	require.EqualValues(t, 700, a.Pinned())
	require.Equal(t, []int64{40, 60, 50},
		[]int64{m.UsageByKind(InFlight), m.UsageByKind(Memtable), m.UsageByKind(SpillIndex)})
	require.Zero(t, m.UsageByKind(Kind(7)))

	a.Close()
	a.Close()
	require.Equal(t, []AccountUsage{{Name: "b", Usage: 50, SpillIndex: 50}}, m.Accounts())
	require.EqualValues(t, 50, m.Usage())
	b.Release(SpillIndex, 50)
	require.Zero(t, m.Usage())
}

func TestOverReleaseIsClampedAndCounted(t *testing.T) {
	for _, row := range []struct {
		name string
		f    func(a *Account)
	}{
		{"released twice", func(a *Account) { a.Release(InFlight, 60); a.Release(InFlight, 60) }},
		{"released as another kind", func(a *Account) { a.Release(Memtable, 1); a.Release(InFlight, 100) }},
		{"moved more than there is", func(a *Account) { a.Transfer(InFlight, Memtable, 101); a.Release(Memtable, 100) }},
		{"negative release", func(a *Account) { a.Release(InFlight, -1); a.Release(InFlight, 100) }},
		{"negative force", func(a *Account) { a.Force(InFlight, -1); a.Release(InFlight, 100) }},
		{"unknown kind", func(a *Account) { a.Release(Kind(3), 1); a.Release(InFlight, 100) }},
		{"moved to an unknown kind", func(a *Account) { a.Transfer(InFlight, Kind(3), 1); a.Release(InFlight, 100) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			m, err := New(Options{Limit: 1000})
			require.NoError(t, err)
			a, other := m.Register(Holder{}), m.Register(Holder{})
			other.Force(InFlight, 500)
			a.Force(InFlight, 100)
			row.f(a)
			require.EqualValues(t, 1, m.Leaks())
			require.Zero(t, a.Usage())
			require.EqualValues(t, 500, m.Usage(), "another account's bytes stay")
			require.EqualValues(t, 500, m.UsageByKind(InFlight))
		})
	}
}

func TestInvalidReservation(t *testing.T) {
	m, err := New(Options{Limit: 1000})
	require.NoError(t, err)
	a := m.Register(Holder{})
	require.False(t, a.TryReserve(InFlight, -1, Block))
	require.False(t, a.TryReserve(Kind(-1), 1, Block))
	require.ErrorIs(t, a.Reserve(context.Background(), InFlight, maxLimit+1, Block), ErrInvalidOption)
	require.EqualValues(t, 3, m.Leaks())
	require.Zero(t, m.Usage())
}

func TestClosedAccountHoldsNothing(t *testing.T) {
	m := newManager(t)
	a := m.Register(Holder{})
	a.Force(InFlight, 10)
	a.Close()
	require.True(t, a.Closed())
	require.False(t, a.TryReserve(InFlight, 1, Block))
	require.ErrorIs(t, a.Reserve(context.Background(), InFlight, 1, Block), ErrClosed)
	a.Force(Memtable, 5)
	a.Transfer(InFlight, Memtable, 10)
	a.Release(InFlight, 10) // the commit that was in flight at the close
	require.Zero(t, a.Usage())
	require.Zero(t, m.Usage())
}
