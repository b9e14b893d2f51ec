package live

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTexts(t *testing.T) {
	for want, got := range map[string]string{
		"0 B": bytesText(0), "1,023 B": bytesText(1023), "1 KiB": bytesText(1024), "1.5 MiB": bytesText(3 << 19), "102 GiB": bytesText(101.6 * (1 << 30)),
		"0": digits(0), "0.3": digits(0.26), "10": digits(9.96), "43": digits(42.7), "12,345": digits(12345.4),
		"-1,234": grouped(-1234), "999": grouped(999), "1,000,000": grouped(1e6),
		"0 s": secondsText(0), "12 µs": secondsText(12.3e-6), "1.2 ms": secondsText(1.2e-3), "1 s": secondsText(0.9999), "1 ms": secondsText(0.9999e-3), "99 s": secondsText(99), "100 s": secondsText(100), "2.5 min": secondsText(150),
		"2 h": secondsText(7200), "4 days": secondsText(4 * 86400), "none": latencyText(0),
		"": percent(1, 0), "50 %": percent(1, 2),
		"1 commit": plural(1, "commit"), "2,000 commits": plural(2000, "commit"),
	} {
		require.Equal(t, want, got)
	}
	now := time.Date(2026, 5, 4, 0, 0, 30, 0, time.UTC)
	require.Equal(t, "00:00:29", clock(now.Add(-time.Second), now))
	require.Equal(t, "3 May 23:59:59", clock(now.Add(-31*time.Second), now))
}
