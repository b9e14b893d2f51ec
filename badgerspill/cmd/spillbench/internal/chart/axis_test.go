package chart

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func labels(a axis) (out []string) {
	for _, t := range a.ticks {
		if t.label != "" {
			out = append(out, t.label)
		}
	}
	return out
}

func TestLatencyAxis(t *testing.T) {
	const us, ms, s = time.Microsecond, time.Millisecond, time.Second
	for _, row := range []struct {
		low, high time.Duration
		labels    []string
	}{
		{380 * us, 10 * s, []string{"1 ms", "10 ms", "100 ms", "1 s", "10 s"}},
		{1 * ms, 1 * ms, []string{"500 µs", "1 ms", "2 ms", "5 ms"}},
		{90 * us, 3 * ms, []string{"50 µs", "100 µs", "200 µs", "500 µs", "1 ms", "2 ms", "5 ms"}},
		{40 * s, 2000 * s, []string{"20 s", "50 s", "100 s", "200 s", "500 s", "1,000 s", "2,000 s", "5,000 s"}},
		{1, 20, []string{"1 ns", "2 ns", "5 ns", "10 ns", "20 ns", "50 ns"}},
		{1, 24 * time.Hour, []string{"1 ns", "10 ns", "100 ns", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s", "1,000 s", "10,000 s", "100,000 s"}},
	} {
		a := latencyAxis(row.low, row.high)
		a.from, a.to = 100, 300
		require.Less(t, a.low, float64(row.low))
		require.Greater(t, a.high, float64(row.high))
		require.InDelta(t, 100, a.pos(a.low), 1e-6)
		require.InDelta(t, 300, a.pos(a.high), 1e-6)
		last := 99.0
		for _, tick := range a.ticks {
			require.Greater(t, a.pos(tick.at), last)
			last = a.pos(tick.at)
		}
		require.LessOrEqual(t, last, 300.01)
		if row.low == 1 {
			// Less than a nanosecond has no name.
			require.Subset(t, labels(a), row.labels)
			continue
		}
		require.Equal(t, row.labels, labels(a))
	}
}

func TestRateAxis(t *testing.T) {
	for high, want := range map[float64][]string{
		0:      {"0", "1", "2"},
		7:      {"0", "2", "4", "6"},
		60_000: {"0", "10,000", "20,000", "30,000", "40,000", "50,000", "60,000"},
		7.5e4:  {"0", "20,000", "40,000", "60,000", "80,000"},
		85_000: {"0", "20,000", "40,000", "60,000", "80,000"},
		1e6:    {"0", "200,000", "400,000", "600,000", "800,000", "1,000,000"},
		24_000: {"0", "5,000", "10,000", "15,000", "20,000", "25,000"},
	} {
		a := rateAxis(high)
		require.Equal(t, want, labels(a), "%v", high)
		require.Greater(t, a.high, high)
	}
}

func TestTimeAxis(t *testing.T) {
	for end, want := range map[time.Duration][]string{
		900 * time.Millisecond: {"0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"},
		18 * time.Second:       {"0", "2", "4", "6", "8", "10", "12", "14", "16", "18"},
		60 * time.Second:       {"0", "10", "20", "30", "40", "50", "60"},
		47 * time.Second:       {"0", "5", "10", "15", "20", "25", "30", "35", "40", "45"},
		4 * time.Hour:          {"0", "1,800", "3,600", "5,400", "7,200", "9,000", "10,800", "12,600", "14,400"},
	} {
		require.Equal(t, want, labels(timeAxis(end)), "%v", end)
	}
}
