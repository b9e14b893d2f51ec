package live

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/wbm"
)

// The numbers are taken once a second, however many look, and five minutes of them are kept.
func TestHistoryIsTakenOnceASecondAndBounded(t *testing.T) {
	f := newFake()
	h := f.handler()
	for i := range 1000 {
		for range 3 {
			if i < 20 {
				get(t, h, "/")
				get(t, h, "/?json")
			}
		}
		f.second(nil)
	}
	require.Equal(t, 1001, f.looks)
	points := h.history.view().points
	require.Len(t, points, 301)
	require.Equal(t, f.now().UnixMilli(), points[300].At)
	require.Equal(t, f.now().Add(-window).UnixMilli(), points[0].At)
}

func TestHistoryHasRates(t *testing.T) {
	f := newFake()
	h := f.handler()
	f.second(func(s *badgerspill.SpillStats) {
		s.CommitsDirect, s.CommitsSpilled, s.CommitsHedged, s.BytesReplayed = 100, 20, 3, 1<<20
		f.append(99, 100*time.Microsecond)(s)
		f.append(1, 10*time.Millisecond)(s)
	})
	f.set(func() { f.clock = f.clock.Add(time.Second) }) // one was left out
	f.second(func(s *badgerspill.SpillStats) { s.CommitsDirect += 100 })
	p := h.history.view().points
	require.Len(t, p, 3)
	require.Zero(t, p[0].ToBadger)
	require.Equal(t, []float64{100, 23, 1 << 20}, []float64{p[1].ToBadger, p[1].ToSpill, p[1].Replayed})
	require.InDelta(t, 100e-6, p[1].P50, 35e-6)
	require.InDelta(t, wbm.LatencyBound(5).Seconds(), p[1].P99, 5e-6, "the upper end of its bucket")
	require.Equal(t, []float64{50, 0, 0, 0, 0}, []float64{p[2].ToBadger, p[2].ToSpill, p[2].Replayed, p[2].P50, p[2].P99})
}

// What came and went between two looks is seen: by the clocks of tiers and states, and by counters.
func TestHistorySeesWhatLastsLessThanASecond(t *testing.T) {
	f := newFake()
	h := f.handler()
	f.second(func(s *badgerspill.SpillStats) {
		s.StateTime[badgerspill.Spilling] += time.Millisecond
		s.TierTime[wbm.Spill] += time.Millisecond
		s.TierTime[wbm.Flush] += time.Millisecond
		s.CommitsBlocked++
		s.CommitsSlowed++
	})
	f.second(nil)
	p := h.history.view().points
	require.Equal(t, []any{"spilling", "spill", int64(1), int64(1)}, []any{p[1].State, p[1].Tier, p[1].Waiting, p[1].Slowed})
	require.Equal(t, []any{"direct", "normal", int64(0), int64(0)}, []any{p[2].State, p[2].Tier, p[2].Waiting, p[2].Slowed})
}

// A closed database is let go, and no timer is left.
func TestHistoryEndsWithTheDatabase(t *testing.T) {
	f := newFake()
	h := f.handler()
	f.second(func(s *badgerspill.SpillStats) { s.CommitsDirect = 7 })
	require.Equal(t, 1, f.waits())
	f.set(func() { f.closed = true })
	require.Equal(t, closed, h.history.view().state, "at once")
	f.second(func(s *badgerspill.SpillStats) { *s = badgerspill.SpillStats{} })
	require.Zero(t, f.waits())
	require.Nil(t, h.history.db)
	v := h.history.view()
	require.Equal(t, closed, v.state)
	require.EqualValues(t, 7, v.stats.CommitsDirect, "its last numbers stay")
	require.Len(t, v.points, 2)
	looks := f.looks
	get(t, h, "/")
	require.Equal(t, looks, f.looks)
}

// While Close replays the spill there is something to see.
func TestHistoryGoesOnWhileCloseReplays(t *testing.T) {
	f := newFake()
	h := f.handler()
	f.second(func(s *badgerspill.SpillStats) {
		s.SpillPending, s.BytesPending, s.ReplayState = 10, 1<<20, "replaying"
	})
	f.set(func() { f.closed = true })
	f.second(func(s *badgerspill.SpillStats) { s.BytesPending = 1 << 19 })
	v := h.history.view()
	require.Equal(t, closing, v.state)
	require.EqualValues(t, 1<<19, v.stats.BytesPending)
	require.Equal(t, 1, f.waits())
	f.second(func(s *badgerspill.SpillStats) { s.ReplayState = "stopped" })
	require.Equal(t, closed, h.history.view().state)
	require.Zero(t, f.waits())
}

// A handler that nobody holds ends, although the database goes on.
func TestHistoryEndsWithTheHandler(t *testing.T) {
	f := newFake()
	gone := make(chan struct{})
	func() {
		h := f.handler()
		runtime.AddCleanup(h.history, func(c chan struct{}) { close(c) }, gone)
		f.second(nil)
		require.Equal(t, 1, f.waits())
		runtime.KeepAlive(h)
	}()
	limit := time.After(15 * time.Second)
	for collected := false; !collected; {
		runtime.GC()
		select {
		case <-gone:
			collected = true
		case <-limit:
			require.Fail(t, "the history is kept by its timer")
			return
		default:
		}
	}
	looks := f.looks
	f.second(nil)
	require.Zero(t, f.waits())
	require.Equal(t, looks, f.looks)
}

func TestHistoryThatIsNotTakenAnyMoreIsStale(t *testing.T) {
	f := newFake()
	h := f.handler()
	f.set(func() { f.clock = f.clock.Add(staleAfter) })
	require.False(t, h.history.view().stale)
	f.set(func() { f.clock = f.clock.Add(time.Millisecond) })
	require.True(t, h.history.view().stale)
	requireText(t, get(t, h, "/").Body.String(), "No new numbers since 12:00:00")
}

func TestQuantile(t *testing.T) {
	f := newFake()
	f.append(90, time.Millisecond)(&f.stats)
	f.append(10, 100*time.Millisecond)(&f.stats)
	then := f.stats.Append
	f.append(50, 2*time.Second)(&f.stats)
	f.append(50, time.Minute)(&f.stats)
	now := f.stats.Append
	var none wbm.Latency
	require.Zero(t, quantile(&none, &none, 0.5))
	require.Zero(t, quantile(&now, &now, 0.5))
	middle := quantile(&then, &none, 0.5) // in the bucket of a millisecond
	require.Greater(t, middle, 1.0/1024)
	require.LessOrEqual(t, middle, 1.0/512)
	require.LessOrEqual(t, quantile(&then, &none, 0.99), 0.1)
	require.Greater(t, quantile(&then, &none, 0.99), 0.067)
	require.InDelta(t, 2.0, quantile(&now, &then, 0.5), 1e-9, "the upper end of its bucket")
	require.InDelta(t, 60.0, quantile(&now, &then, 0.99), 0, "above all buckets it is the longest")
}

// How long replay takes is told from the last seconds, and not at all if nothing is got rid of.
func TestTimeLeft(t *testing.T) {
	f := newFake()
	h := f.handler()
	for range 20 {
		f.second(func(s *badgerspill.SpillStats) { s.BytesPending += 1 << 20 })
	}
	v := h.history.view()
	require.Zero(t, v.left())
	for range 10 {
		f.second(func(s *badgerspill.SpillStats) { s.BytesPending -= 1 << 20 })
	}
	v = h.history.view()
	require.Equal(t, 10*time.Second, v.left())
	for range 10 {
		f.second(func(s *badgerspill.SpillStats) { s.BytesPending -= 1 << 20 })
	}
	v = h.history.view()
	require.Zero(t, v.left())
}
