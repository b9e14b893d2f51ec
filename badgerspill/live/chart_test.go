package live

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

func TestTopOfAScale(t *testing.T) {
	for _, row := range []struct{ most, counts, bytes float64 }{
		{0, 10, 1 << 10}, {10, 10, 1 << 10}, {11, 20, 1 << 10}, {20.5, 50, 1 << 10}, {1025, 2000, 2 << 10}, {1e6, 1e6, 1 << 20}, {5<<30 + 1, 1e10, 8 << 30},
	} {
		require.Equal(t, row.counts, topOf(row.most, decimal, 10), "%v", row.most)
		require.Equal(t, row.bytes, topOf(row.most, binary, 1<<10), "%v", row.most)
	}
}

// A line begins at the right, where now is, and goes up with its value; what is not measured has no
// line.
func TestCharts(t *testing.T) {
	f := newFake()
	h := f.handler()
	for i := range 3 {
		f.second(func(s *badgerspill.SpillStats) {
			s.CommitsDirect += 500
			if i == 1 {
				f.append(10, time.Millisecond)(s)
			}
		})
	}
	v := h.history.view()
	charts := v.charts()
	commits, latency, spill := charts[0], charts[1], charts[2]
	require.Equal(t, []string{"500", "250", "0"}, []string{commits.Top, commits.Half, commits.Bottom})
	require.Equal(t, "M950 200h0L967 0L983 0L1000 0", commits.Lines[1].Path)
	require.Equal(t, "500", commits.Lines[1].Now)
	require.Empty(t, commits.Lines[1].Area)
	require.Equal(t, commits.Lines[0].Path+"L1000 200L950 200Z", commits.Lines[0].Area)
	require.Equal(t, []string{"10 ms", "100 µs", "1 µs"}, []string{latency.Top, latency.Half, latency.Bottom})
	require.Regexp(t, `^M983 \d+h0$`, latency.Lines[0].Path)
	require.Equal(t, "none", latency.Lines[0].Now)
	require.Empty(t, spill.Limit, "far away")

	f.second(func(s *badgerspill.SpillStats) {
		s.SpillBytes = 7 << 30
		f.append(10, 2*time.Second)(s)
	})
	v = h.history.view()
	charts = v.charts()
	require.Equal(t, "100 s", charts[1].Top)
	require.Equal(t, "M0 100H1000", charts[2].Limit)
	require.Equal(t, "16 GiB", charts[2].Top)
}

// Of what stays the same there is one run, with the time from when until when.
func TestStrips(t *testing.T) {
	f := newFake()
	h := f.handler()
	for range 10 {
		f.second(nil)
	}
	for range 5 {
		f.second(func(s *badgerspill.SpillStats) { s.State, s.BlockedNow = "spilling", 3 })
	}
	v := h.history.view()
	strips := v.strips()
	require.Equal(t, []run{
		{733, 184, 16, 4, calm, "Badger, 12:00:00 to 12:00:10"},
		{917, 83, 10, 10, busy, "the spill, 12:00:11 to 12:00:15"},
	}, strips[0].Runs)
	require.Equal(t, "the spill", strips[0].Now)
	require.Equal(t, run{917, 83, 0, 20, bad, "for room, 12:00:11 to 12:00:15"}, strips[2].Runs[1])
	require.Len(t, strips[1].Runs, 1)
}

// What is drawn grows with what there is.
func TestSpan(t *testing.T) {
	f := newFake()
	h := f.handler()
	for _, row := range []struct {
		seconds int
		want    string
	}{{0, "1 min"}, {60, "1 min"}, {1, "2 min"}, {59, "2 min"}, {1, "5 min"}, {1000, "5 min"}} {
		for range row.seconds {
			f.second(nil)
		}
		requireText(t, get(t, h, "/").Body.String(), "<span>"+row.want+" ago</span>")
	}
	v := h.history.view()
	require.Equal(t, 0, v.x(v.points[0].At))
}
