package progress

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
)

const (
	redraw   = 100 * time.Millisecond
	newLine  = 5 * time.Second
	barWidth = 28
	// The rate is that of so long: what is left is told from how fast it goes now.
	window = 10 * time.Second
)

// Bar shows one operation. It is not safe for concurrent use.
type Bar struct {
	w        io.Writer
	terminal bool
	verb     string
	total    int64
	now      func() time.Time

	shown   time.Time
	samples []sample // the last window, oldest first
	drawn   int      // characters of the bar on the terminal
}

type sample struct {
	at    time.Time
	done  int64
	bytes int64
}

// New returns a Bar on w for an operation of so many steps, at least one. It shows nothing until it
// is updated. verb says what is done, as in "replaying". now is the clock, nil for time.Now.
func New(w io.Writer, terminal bool, verb string, total int64, now func() time.Time) *Bar {
	if now == nil {
		now = time.Now
	}
	b := &Bar{w: w, terminal: terminal, verb: verb, total: max(total, 1), now: now}
	b.shown = now()
	b.samples = []sample{{at: b.shown}}
	if terminal {
		b.shown = b.shown.Add(-redraw) // the first update is drawn
	}
	return b
}

// Total changes how many steps there are, at least one: more came, or they are counted better.
func (b *Bar) Total(total int64) { b.total = max(total, 1) }

// Update tells how many steps are done, and how many bytes went by with them; both count from the
// beginning. Most calls show nothing; on a terminal the first one does.
func (b *Bar) Update(done, bytes int64) {
	now := b.now()
	done = min(done, b.total)
	every := newLine
	if b.terminal {
		every = redraw
	}
	if now.Sub(b.shown) < every {
		return
	}
	b.shown = now
	b.samples = append(b.samples, sample{now, done, bytes})
	for len(b.samples) > 2 && now.Sub(b.samples[0].at) > window {
		b.samples = b.samples[1:]
	}
	b.show(b.line())
}

// line describes the state after the last sample.
func (b *Bar) line() string {
	first, last := b.samples[0], b.samples[len(b.samples)-1]
	took := last.at.Sub(first.at).Seconds()
	share := float64(last.done) / float64(b.total)
	rate, left := "", "time left unknown"
	if took >= redraw.Seconds() { // a rate of less says nothing
		rate = fmt.Sprintf("  %s/s", text.Bytes(int64(float64(last.bytes-first.bytes)/took)))
		if steps := float64(last.done-first.done) / took; steps > 0 {
			left = fmt.Sprintf("%s left", clock(time.Duration(float64(b.total-last.done)/steps*float64(time.Second))))
		}
	}
	bar := ""
	if b.terminal {
		full := int(share * barWidth)
		bar = "[" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "] "
	}
	return fmt.Sprintf("%s %s%3.0f %%%s  %s", b.verb, bar, 100*share, rate, left)
}

// clock shows a time to wait to the second.
func clock(d time.Duration) string {
	d = d.Round(time.Second)
	if d >= time.Hour {
		return fmt.Sprintf("%d:%02d:%02d h", d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d:%02d min", d/time.Minute, d%time.Minute/time.Second)
}

func (b *Bar) show(line string) {
	if !b.terminal {
		fmt.Fprintln(b.w, line)
		return
	}
	pad := max(0, b.drawn-len(line))
	b.drawn = len(line)
	fmt.Fprintf(b.w, "\r%s%s", line, strings.Repeat(" ", pad))
}

// Clear takes the bar off the terminal, so that what is written next begins on an empty line.
func (b *Bar) Clear() {
	if b.terminal && b.drawn > 0 {
		fmt.Fprintf(b.w, "\r%s\r", strings.Repeat(" ", b.drawn))
		b.drawn = 0
	}
}
