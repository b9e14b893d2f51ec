package burst

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// durationText shows three significant digits, or "-" for 0: no latency is 0.
func durationText(d time.Duration) string {
	// The bounds are where rounding would show 1,000 of the smaller unit.
	switch {
	case d <= 0:
		return "-"
	case d < 999_500*time.Nanosecond:
		return digits(float64(d)/float64(time.Microsecond)) + " µs"
	case d < 999_500*time.Microsecond:
		return digits(float64(d)/float64(time.Millisecond)) + " ms"
	default:
		return digits(d.Seconds()) + " s"
	}
}

func digits(x float64) string {
	switch {
	case x >= 99.95:
		return countText(int64(x + 0.5))
	case x >= 9.995:
		return strconv.FormatFloat(x, 'f', 1, 64)
	default:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
}

// countText groups the digits by thousands.
func countText(n int64) string {
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

func rateText(perSecond float64) string { return countText(int64(perSecond+0.5)) + "/s" }

func bytesText(n int64) string {
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

// secondsText is for times on the clock of a run, which may be 0.
func secondsText(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

// line shows the progress of one second.
func (p Progress) line() string {
	var b strings.Builder
	name := p.Stage
	if p.Tick != nil {
		name = p.Tick.Phase
	}
	fmt.Fprintf(&b, "%-12s%-8s%7s  ", p.Engine, name, secondsText(p.At))
	switch {
	case p.Tick != nil:
		t := p.Tick
		fmt.Fprintf(&b, "offered %9s  achieved %9s  p99 %8s  behind %9s",
			rateText(t.Offered), rateText(t.Achieved), durationText(t.P99), countText(t.Behind))
	case p.Stage == stageReplay:
		b.WriteString("waiting for the spill to be empty")
	case p.Stage == stageClose:
		b.WriteString("closing the database")
	case p.Stage == stageVerify:
		b.WriteString("reopened, checking every acknowledged key")
	}
	if l := p.Layer; l != nil {
		fmt.Fprintf(&b, "  %s, %s, spill %s", l.Tier, l.State, bytesText(l.SpillBytes))
		if l.SpillPending > 0 {
			fmt.Fprintf(&b, " (%s commits)", countText(l.SpillPending))
		}
	}
	return b.String()
}
