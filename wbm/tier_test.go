package wbm

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOptions(t *testing.T) {
	for _, row := range []struct {
		name  string
		o     Options
		error string // "" = accepted
	}{
		{"only a limit", Options{Limit: 1}, ""},
		{"soft and spill limit at once", Options{Limit: 100, SoftRatio: 0.9}, ""},
		{"both at the limit", Options{Limit: 100, SoftRatio: 1, SpillRatio: 1}, ""},
		{"no limit", Options{}, "Limit is 0 bytes, must be 1 to"},
		{"negative limit", Options{Limit: -1}, "Limit is -1 bytes"},
		{"limit near overflow", Options{Limit: math.MaxInt64}, "Limit is 9223372036854775807 bytes"},
		{"negative soft ratio", Options{Limit: 1, SoftRatio: -0.1}, "SoftRatio is -0.1, must be above 0"},
		{"soft ratio is not a number", Options{Limit: 1, SoftRatio: math.NaN()}, "SoftRatio is NaN"},
		{"spill ratio above one", Options{Limit: 1, SpillRatio: 1.1}, "SpillRatio is 1.1, must be above 0 and at most 1"},
		{"soft above the default spill ratio", Options{Limit: 1, SoftRatio: 0.95}, "SoftRatio is 0.95, must be at most SpillRatio, which is 0.9"},
		{"negative interval", Options{Limit: 1, RecheckInterval: -time.Second}, "RecheckInterval is -1s"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m, err := New(row.o)
			if row.error == "" {
				require.NoError(t, err)
				require.Equal(t, row.o.Limit, m.Limit())
				require.Equal(t, Normal, m.Tier())
				return
			}
			require.ErrorIs(t, err, ErrInvalidOption)
			require.ErrorContains(t, err, row.error)
		})
	}
}

func TestTierBoundaries(t *testing.T) {
	m := newManager(t)
	require.Equal(t, []int64{1000, 800, 900}, []int64{m.Limit(), m.SoftLimit(), m.SpillLimit()})
	var h holder
	a := h.register(m, "a")
	for _, row := range []struct {
		usage int64
		tier  Tier
	}{
		{0, Normal}, {799, Normal}, {800, Flush}, {899, Flush}, {900, Spill}, {999, Spill}, {1000, Block}, {2000, Block},
		{1000, Block}, {999, Spill}, {900, Spill}, {899, Flush}, {800, Flush}, {799, Normal}, {0, Normal},
	} {
		before := m.Tier()
		if d := row.usage - m.Usage(); d >= 0 {
			a.Force(Memtable, d)
		} else {
			a.Release(Memtable, -d)
		}
		require.Equal(t, row.tier, m.Tier(), "at %d", row.usage)
		var want []tierChange
		if before != row.tier {
			want = []tierChange{{before, row.tier}}
		}
		require.Equal(t, want, h.takeChanges(), "at %d", row.usage)
	}
	require.Equal(t, [4]int64{1, 2, 2, 1}, m.TierEntered())
	require.EqualValues(t, 3, h.relieved.Load(), "one request on each step up")
}

func TestTierChangeSkipsTiers(t *testing.T) {
	m := newManager(t)
	var h holder
	a := h.register(m, "a")
	a.Force(Memtable, 1000)
	a.Release(Memtable, 1000)
	require.Equal(t, []tierChange{{Normal, Block}, {Block, Normal}}, h.takeChanges())
	require.EqualValues(t, 1, h.relieved.Load(), "one crossing upward")
}

func TestTierChangeFromWithinCallbackKeepsOrder(t *testing.T) {
	m := newManager(t)
	var changes []tierChange
	var a *Account
	a = m.Register(Holder{
		OnTier: func(old, new Tier) {
			changes = append(changes, tierChange{old, new})
			if new == Spill {
				a.Release(Memtable, 100)
			}
		},
	})
	var second holder
	second.register(m, "second")
	a.Force(Memtable, 900)
	want := []tierChange{{Normal, Spill}, {Spill, Flush}}
	require.Equal(t, want, changes)
	require.Equal(t, want, second.takeChanges(), "the second holder sees the same order")
}

func TestChangeOfLimit(t *testing.T) {
	m := newManager(t)
	var h holder
	a := h.register(m, "a")
	a.Force(Memtable, 500)
	require.NoError(t, m.SetLimit(550))
	require.Equal(t, []tierChange{{Normal, Spill}}, h.takeChanges())
	require.NoError(t, m.SetRatios(0.95, 1))
	require.Equal(t, []tierChange{{Spill, Normal}}, h.takeChanges())
	require.ErrorIs(t, m.SetLimit(0), ErrInvalidOption)
	require.ErrorIs(t, m.SetRatios(2, 2), ErrInvalidOption)
	require.Equal(t, []int64{550, 523, 550}, []int64{m.Limit(), m.SoftLimit(), m.SpillLimit()})
}

func TestNames(t *testing.T) {
	require.Equal(t, "normal flush spill block tier(9)", join(Normal, Flush, Spill, Block, Tier(9)))
	require.Equal(t, "in-flight memtable spill-index kind(9)", join(InFlight, Memtable, SpillIndex, Kind(9)))
	require.Equal(t, "direct spilled outcome(9)", join(Direct, Spilled, Outcome(9)))
}

func join[T interface{ String() string }](all ...T) string {
	s := ""
	for i, v := range all {
		if i > 0 {
			s += " "
		}
		s += v.String()
	}
	return s
}
