package text

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Duration shows three significant digits, or "-" for 0: no latency is 0.
func Duration(d time.Duration) string {
	// The bounds are where rounding would show 1,000 of the smaller unit.
	switch {
	case d <= 0:
		return "-"
	case d < 999_500*time.Nanosecond:
		return Digits(float64(d)/float64(time.Microsecond)) + " µs"
	case d < 999_500*time.Microsecond:
		return Digits(float64(d)/float64(time.Millisecond)) + " ms"
	default:
		return Digits(d.Seconds()) + " s"
	}
}

// Digits shows three significant digits, or all of those before the point. x is at least 0.
func Digits(x float64) string {
	switch {
	case x >= 99.95:
		return Count(int64(x + 0.5))
	case x >= 9.995:
		return strconv.FormatFloat(x, 'f', 1, 64)
	default:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
}

// Count groups the digits by thousands.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return sign + s
}

// Rate shows so many things a second.
func Rate(perSecond float64) string { return Count(int64(perSecond+0.5)) + "/s" }

// Bytes shows a size in the largest unit that it fills.
func Bytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%d B", n)
	}
}

// Seconds is for times on the clock of a run, which may be 0.
func Seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

// Wrap breaks s between words into lines of at most width columns. A longer word has a line of its
// own.
func Wrap(s string, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(s) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case column+1+n > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
