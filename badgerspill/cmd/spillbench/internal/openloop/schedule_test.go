package openloop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScheduleLaysPhasesEndToEnd(t *testing.T) {
	s := NewSchedule(
		Phase{"calm", 10, time.Second},
		Phase{"left out", 1000, 0},
		Phase{"burst", 1000, 2 * time.Second},
		Phase{"quiet", 3, time.Second},
	)
	require.EqualValues(t, 10+2000+3, s.Total())
	require.Equal(t, 4*time.Second, s.End())
	require.Equal(t, 3*time.Second, s.EndOf("burst"))
	require.Equal(t, 4*time.Second, s.EndOf("left out"))

	for slot, due := range map[int64]time.Duration{
		0:    0,
		9:    900 * time.Millisecond,
		10:   time.Second,
		11:   time.Second + time.Millisecond,
		2009: 3*time.Second - time.Millisecond,
		2010: 3 * time.Second,
		2011: 3*time.Second + 333_333_333,
	} {
		require.Equal(t, due, s.Due(slot), "slot %d", slot)
	}
}

func TestDueByCountsEverySlotAtItsInstant(t *testing.T) {
	s := NewSchedule(Phase{"a", 7, time.Second}, Phase{"b", 60_000, 10 * time.Millisecond}, Phase{"c", 3, time.Second})
	for slot := range s.Total() {
		due := s.Due(slot)
		require.Equal(t, slot+1, s.dueBy(due), "at the due time of slot %d", slot)
		require.Equal(t, slot, s.dueBy(due-1), "just before the due time of slot %d", slot)
	}
	require.Equal(t, s.Total(), s.dueBy(time.Hour))
}

func TestWritesFallDueBeforeTheirPhaseEnds(t *testing.T) {
	s := NewSchedule(Phase{"a", 999_983, 1234567 * time.Nanosecond}, Phase{"b", 3, time.Second})
	for slot := range s.spans[0].last {
		require.Less(t, s.Due(slot), s.spans[0].end)
	}
}
