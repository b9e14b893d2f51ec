package chart

import (
	"math"
	"strconv"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
)

// tick is a mark of an axis; one without a label is a minor one.
type tick struct {
	at    float64
	label string
}

// axis maps values onto a stretch of the canvas.
type axis struct {
	low, high float64 // values
	from, to  float64 // where they are
	log       bool
	ticks     []tick // in order, from low to high
}

// pos returns where v is.
func (a *axis) pos(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log(v), math.Log(low), math.Log(high)
	}
	return a.from + (v-low)/(high-low)*(a.to-a.from)
}

// timeAxis goes from 0 to end in seconds, with at most ten labels.
func timeAxis(end time.Duration) axis {
	a := axis{high: end.Seconds()}
	step := 0.1
	for _, next := range []float64{0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600} {
		if a.high/step <= 10 {
			break
		}
		step = next
	}
	for i := 0; float64(i)*step <= a.high*(1+1e-9); i++ {
		at := float64(i) * step
		label := text.Count(int64(at))
		if step < 1 {
			label = strconv.FormatFloat(at, 'f', 1, 64)
		}
		a.ticks = append(a.ticks, tick{at, label})
	}
	return a
}

// latencyAxis is logarithmic, in nanoseconds, and holds all from low to high, both above 0.
func latencyAxis(low, high time.Duration) axis {
	a := axis{low: below(float64(low)), high: above(float64(high)), log: true}
	if a.high < 10*a.low {
		a.high = 10 * a.low
	}
	decades := math.Log10(a.high / a.low)
	for decade := math.Pow(10, math.Floor(math.Log10(a.low)+1e-9)); decade <= a.high*(1+1e-9); decade *= 10 {
		for digit := 1; digit <= 9; digit++ {
			at := decade * float64(digit)
			if at < a.low*(1-1e-9) || at > a.high*(1+1e-9) {
				continue
			}
			t := tick{at: at}
			if digit == 1 || decades < 2.5 && (digit == 2 || digit == 5) {
				t.label = latencyLabel(time.Duration(math.Round(at)))
			}
			a.ticks = append(a.ticks, t)
		}
	}
	return a
}

// latencyLabel is for round durations: 1 ms, 200 µs.
func latencyLabel(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return text.Count(int64(d)) + " ns"
	case d < time.Millisecond:
		return text.Count(d.Microseconds()) + " µs"
	case d < time.Second:
		return text.Count(d.Milliseconds()) + " ms"
	default:
		return text.Count(int64(d/time.Second)) + " s"
	}
}

// rateAxis goes from 0 to a little above high, with three to eight labels.
func rateAxis(high float64) axis {
	a := axis{high: max(high, 2) * 1.08}
	step := 1.0 // commits are whole
	for i := 0; a.high/step > 7.5; i++ {
		step *= []float64{2, 2.5, 2}[i%3]
	}
	for i := 0; float64(i)*step <= a.high; i++ {
		a.ticks = append(a.ticks, tick{float64(i) * step, text.Count(int64(float64(i) * step))})
	}
	return a
}

// below and above return the nearest of 1, 2 and 5 times a power of ten that leaves some room to v.
func below(v float64) float64 {
	v /= 1.15
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, digit := range []float64{5, 2} {
		if decade*digit <= v {
			return decade * digit
		}
	}
	return decade
}

func above(v float64) float64 {
	v *= 1.15
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, digit := range []float64{1, 2, 5} {
		if decade*digit >= v {
			return decade * digit
		}
	}
	return 10 * decade
}
