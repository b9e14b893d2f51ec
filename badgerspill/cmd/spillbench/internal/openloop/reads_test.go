package openloop

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// readingRun does a second of calm and a second of burst with that share of reads, and returns
// both.
func readingRun(t *testing.T, percent int, change func(*fakeStore)) (*Run, *fakeStore) {
	t.Helper()
	store := newFakeStore(2 * ms)
	if change != nil {
		change(store)
	}
	run := NewRun(Config{
		Schedule: NewSchedule(Phase{"calm", 100, time.Second}, Phase{"burst", 1000, time.Second}),
		Workload: NewWorkload(1, 64),
		Writers:  4,
		Reads:    percent,
	})
	run.ReadFrom(store)
	run.Begin()
	require.NoError(t, run.Do(t.Context(), store.writer))
	return run, store
}

func TestReadsAreAShareAndCountedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, store := readingRun(t, 20, nil)
		writes, reads := run.Results(), run.ReadResults()
		require.Len(t, reads, 2)
		sum := int64(0)
		for i, total := range []int64{100, 1000} {
			require.Equal(t, total, writes[i].Due+reads[i].Due)
			require.Equal(t, writes[i].Due, writes[i].Acked)
			require.Equal(t, reads[i].Due, reads[i].Acked)
			require.Equal(t, 2*ms, writes[i].Max)
			require.Equal(t, time.Nanosecond, reads[i].Max, "the fake store answers at once")
			require.InDelta(t, float64(total)/5, float64(reads[i].Due), float64(total)/20)
			require.EqualValues(t, reads[i].Due, reads[i].OfferedRate)
			sum += writes[i].Due
		}
		require.Len(t, store.data, int(sum))
		require.NoError(t, run.FirstError())
		require.NoError(t, run.FirstReadError())
		seconds := run.Seconds(0)
		require.Equal(t, writes[1].Due, seconds[1].Due)
		require.Equal(t, 2*ms, seconds[1].P50)
		require.Equal(t, 2*ms, seconds[1].Max)
		last := run.LastAnswer()
		require.LessOrEqual(t, last, 2*time.Second+2*ms)

		v, err := run.Verify(t.Context(), store)
		require.NoError(t, err)
		require.True(t, v.OK())
		require.Equal(t, sum, v.Checked)
	})
}

// Nothing is there to be read until the first writes are acknowledged, 2 ms after the first was
// sent.
func TestReadsWriteUntilSomethingIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, store := readingRun(t, 100, nil)
		require.Len(t, store.data, 1)
		require.EqualValues(t, 1, run.Results()[0].Acked)
		require.EqualValues(t, 99, run.ReadResults()[0].Acked)
		require.EqualValues(t, 1000, run.ReadResults()[1].Acked)
	})
}

func TestAcknowledgedKeyThatIsNotReadIsAFailure(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*fakeStore)
		want   string
	}{
		{"not there", func(s *fakeStore) { s.getErr = ErrNotFound }, ": key not found"},
		{"another value", func(s *fakeStore) { s.spoil = true }, ": wrong value: byte 0 is "},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run, _ := readingRun(t, 20, row.change)
				reads := run.ReadResults()[1]
				require.Equal(t, reads.Due, reads.Failed)
				require.Zero(t, reads.Acked)
				require.Zero(t, reads.Max)
				require.NoError(t, run.FirstError(), "no write failed")
				require.ErrorContains(t, run.FirstReadError(), "read acknowledged key ")
				require.ErrorContains(t, run.FirstReadError(), row.want)
				require.Equal(t, run.Results()[1].Due, run.Results()[1].Acked)
			})
		})
	}
}

func TestRecentForgetsWhatIsOld(t *testing.T) {
	r := &recent{}
	_, found := r.pick()
	require.False(t, found)
	r.add(0)
	slot, found := r.pick()
	require.True(t, found)
	require.Zero(t, slot)
	for slot := range int64(3 * recentKeys / 2) {
		r.add(slot)
	}
	seen := map[int64]bool{}
	for range 1000 {
		slot, found := r.pick()
		require.True(t, found)
		require.GreaterOrEqual(t, slot, int64(recentKeys/2))
		seen[slot] = true
	}
	require.Greater(t, len(seen), 800, "not always the same")

	// The place of the first is taken, and nothing is in it yet.
	r = &recent{}
	r.n.Add(1)
	_, found = r.pick()
	require.False(t, found)
}

func TestSlowestOfTenThousandIsAboveP9999(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(ms)
		store.downFrom, store.downTo = 5*time.Second, 5*time.Second+200*ms
		run := newTestRun(1000, 0, Phase{"load", 2000, 10 * time.Second})
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))
		// One every 0.5 ms: they wait for 200, 199.5, 199 ms and so on. Two of 20,000 lie above the
		// percentile.
		res := run.Results()[0]
		require.Equal(t, 201*ms, res.Max)
		requireAbout(t, 200*ms, res.P9999)
	})
}
