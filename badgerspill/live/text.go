package live

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// bytesText prints bytes for people: "512 B", "1.5 MiB".
func bytesText(n float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	unit := 0
	for math.Abs(n) >= 1<<10 && unit < len(units)-1 {
		n /= 1 << 10
		unit++
	}
	return digits(n) + " " + units[unit]
}

// digits prints three of them at least, and no fraction of a whole number.
func digits(n float64) string {
	if n == math.Trunc(n) || math.Abs(n) >= 99.95 {
		return grouped(int64(math.Round(n)))
	}
	if math.Abs(n) < 9.95 {
		return strings.TrimSuffix(strconv.FormatFloat(n, 'f', 1, 64), ".0")
	}
	return strconv.FormatFloat(n, 'f', 0, 64)
}

// grouped prints a count with its thousands set apart: "12,345".
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// secondsText prints a duration in seconds for people, with the unit that fits: "1.2 ms", "3 min".
func secondsText(s float64) string {
	switch {
	case s <= 0:
		return "0 s"
	case s < 0.9995e-3:
		return digits(s*1e6) + " µs"
	case s < 0.9995:
		return digits(s*1e3) + " ms"
	case s < 120:
		return digits(s) + " s"
	case s < 100*60:
		return digits(s/60) + " min"
	case s < 72*3600:
		return digits(s/3600) + " h"
	}
	return digits(s/86400) + " days"
}

// latencyText is secondsText of what may not have been.
func latencyText(s float64) string {
	if s <= 0 {
		return "none"
	}
	return secondsText(s)
}

func perSecond(text string) string { return text + "/s" }

// percent prints a part of a whole, "" where there is no whole.
func percent(part, whole int64) string {
	if whole <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f %%", 100*float64(part)/float64(whole))
}

// plural prints a count of things, whose name takes an s.
func plural(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return grouped(n) + " " + thing + "s"
}

// clock prints when something was, as of now: the time of day, with its day if that is not today.
func clock(at, now time.Time) string {
	at = at.In(now.Location())
	if at.YearDay() == now.YearDay() && at.Year() == now.Year() {
		return at.Format("15:04:05")
	}
	return at.Format("2 Jan 15:04:05")
}
