package text

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                       "-",
		850:                     "0.85 µs",
		85 * time.Microsecond:   "85.0 µs",
		999_499:                 "999 µs",
		999_500:                 "1.00 ms",
		999_600_000:             "1.00 s",
		time.Millisecond:        "1.00 ms",
		9_994_000:               "9.99 ms",
		9_999_000:               "10.0 ms",
		312 * time.Millisecond:  "312 ms",
		3306 * time.Millisecond: "3.31 s",
		34 * time.Second:        "34.0 s",
		20 * time.Minute:        "1,200 s",
	} {
		require.Equal(t, want, Duration(d), "%d ns", d)
	}
}

func TestCounts(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567", -1000: "-1,000", -100: "-100",
	} {
		require.Equal(t, want, Count(n))
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"", ""},
		{"one  two three four", "one two\nthree\nfour"},
		{"extraordinary it is", "extraordinary\nit is"},
		{"µµµ µµµ µµ", "µµµ µµµ\nµµ"},
	} {
		require.Equal(t, c.out, Wrap(c.in, 7))
	}
}
