package openloop

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestResultOfAPartOfAPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Writes due in the second second of three wait for its end.
		store := newFakeStore(ms)
		store.downFrom, store.downTo = time.Second, 2*time.Second
		run := newTestRun(200, 0, Phase{"load", 100, 3 * time.Second})
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))

		before := run.ResultBetween(0, time.Second)
		require.EqualValues(t, 100, before.Acked)
		require.Equal(t, ms, before.Max)
		during := run.ResultBetween(time.Second, 2*time.Second)
		require.EqualValues(t, 100, during.Due)
		require.EqualValues(t, 100, during.Acked)
		require.Equal(t, 1001*ms, during.Max)
		requireAbout(t, 501*ms, during.P50)
		require.Zero(t, during.AchievedRate, "all were acknowledged after the end of the part")
		after := run.ResultBetween(2*time.Second, time.Hour)
		require.EqualValues(t, 100, after.Acked)
		require.Equal(t, ms, after.Max)

		require.Equal(t, run.Results()[0], run.ResultBetween(0, 3*time.Second))
		require.Zero(t, run.ResultBetween(time.Second, time.Second).Due)
	})
}

func TestBoundsOfAPartAreExact(t *testing.T) {
	s := NewSchedule(Phase{"a", 7, time.Second}, Phase{"b", 60_000, 10 * time.Millisecond})
	for slot := range s.Total() {
		require.Equal(t, slot, s.firstFrom(s.Due(slot)), "from the due time of slot %d", slot)
		require.Equal(t, slot+1, s.firstFrom(s.Due(slot)+1), "just after the due time of slot %d", slot)
	}
	require.Zero(t, s.firstFrom(-1))
	require.Equal(t, s.Total(), s.firstFrom(time.Hour))
}

func TestStopLetsWritersFinishWhatTheyTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(ms)
		run := newTestRun(4, 0, Phase{"load", 100, time.Hour})
		time.AfterFunc(time.Second+5*ms, run.Stop)
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))
		// Slots 0 to 100 were due, and each of the four writers has taken one.
		res := run.Results()[0]
		require.EqualValues(t, 101+4, res.Acked)
		require.EqualValues(t, res.Due-res.Acked, res.Unsent)
		require.Equal(t, 1041*ms, run.Elapsed())
	})
}
