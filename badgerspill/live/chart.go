package live

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A drawing is this large, and the page stretches it to the room that there is: the words about it
// are beside it, so that they keep their size.
const (
	chartWidth  = 1000
	chartHeight = 200
)

// chart is one drawing of lines.
type chart struct {
	ID, Title string
	Note      string // what the title leaves out
	Lines     []line
	Top, Half string // what the scale has at the top, in the middle and at the bottom
	Bottom    string
	Limit     string // path of a line that should not be reached, "" for none

	top, low float64 // of the scale; low > 0: it is logarithmic
}

// line is one of its lines.
type line struct {
	Name, Now string
	Class     string
	Path      string // of the line
	Area      string // below it, "" for none
}

// series is what a line is made of.
type series struct {
	name, class string
	of          func(*point) float64
	now         string
}

// newChart draws series over the span. limit is 0 for none.
func (v *view) newChart(id, title, note string, unit func(float64) string, tops []float64, base float64, limit float64, all ...series) chart {
	c := chart{ID: id, Title: title, Note: note}
	most := 0.0
	for _, s := range all {
		for i := range v.points {
			most = max(most, s.of(&v.points[i]))
		}
	}
	c.top = topOf(most, tops, base)
	if limit > 0 && limit <= 2*c.top {
		c.top = max(c.top, topOf(limit*1.02, tops, base))
		c.Limit = fmt.Sprintf("M0 %dH%d", c.y(limit), chartWidth)
	}
	c.Top, c.Half, c.Bottom = unit(c.top), unit(c.top/2), "0"
	c.draw(v, all)
	return c
}

// newLatencyChart draws series in seconds on a logarithmic scale, whose middle is a power of ten.
func (v *view) newLatencyChart(id, title, note string, all ...series) chart {
	c := chart{ID: id, Title: title, Note: note, top: 1e-2, low: 1e-6}
	for _, s := range all {
		for i := range v.points {
			for c.top < s.of(&v.points[i]) && c.top < 1e5 {
				c.top *= 100
			}
		}
	}
	c.Top, c.Half, c.Bottom = secondsText(c.top), secondsText(math.Sqrt(c.top*c.low)), secondsText(c.low)
	c.draw(v, all)
	return c
}

func (c *chart) draw(v *view, all []series) {
	for i, s := range all {
		l := line{Name: s.name, Now: s.now, Class: s.class}
		var path strings.Builder
		last, drawing := 0, false
		for i := range v.points {
			p := &v.points[i]
			value := s.of(p)
			if c.low > 0 && value <= 0 { // nothing was measured
				drawing = false
				continue
			}
			x, y := v.x(p.At), c.y(value)
			if drawing {
				path.WriteString("L")
			} else {
				path.WriteString("M")
			}
			path.WriteString(strconv.Itoa(x) + " " + strconv.Itoa(y))
			if !drawing {
				path.WriteString("h0") // a point alone is seen, too
			}
			drawing, last = true, x
		}
		l.Path = path.String()
		if i == 0 && c.low == 0 && l.Path != "" {
			l.Area = l.Path + fmt.Sprintf("L%d %dL%d %[2]dZ", last, chartHeight, v.x(v.points[0].At))
		}
		c.Lines = append(c.Lines, l)
	}
}

// x returns where in a drawing something was.
func (v *view) x(at int64) int {
	age := float64(v.at.UnixMilli()-at) / float64(v.span.Milliseconds())
	return int(math.Round(chartWidth * (1 - min(max(age, 0), 1))))
}

// y returns where in the drawing a value is.
func (c *chart) y(value float64) int {
	part := 0.0
	switch {
	case c.low > 0:
		part = math.Log(max(value, c.low)/c.low) / math.Log(c.top/c.low)
	case c.top > 0:
		part = value / c.top
	}
	return int(math.Round(chartHeight * (1 - min(max(part, 0), 1))))
}

// The steps of scales: of counts, and of bytes.
var (
	decimal = []float64{1, 2, 5}
	binary  = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}
)

// topOf returns the lowest of the steps, times a power of base, that is not below most.
func topOf(most float64, steps []float64, base float64) float64 {
	for unit := 1.0; unit < math.MaxFloat64/base; unit *= base {
		for _, step := range steps {
			if top := step * unit; top >= most && top >= base {
				return top
			}
		}
	}
	return most
}

func (v *view) charts() []chart {
	s := &v.stats
	now := func(of func(*point) float64) float64 {
		if len(v.points) == 0 || v.state == closed {
			return 0
		}
		return of(&v.points[len(v.points)-1])
	}
	toBadger := func(p *point) float64 { return p.ToBadger }
	toSpill := func(p *point) float64 { return p.ToSpill }
	p50 := func(p *point) float64 { return p.P50 }
	p99 := func(p *point) float64 { return p.P99 }
	replayed := func(p *point) float64 { return p.Replayed }
	waiting := func(p *point) float64 { return float64(p.Waiting) }
	slowed := func(p *point) float64 { return float64(p.Slowed) }
	return []chart{
		v.newChart("commits", "Commits a second", "acknowledged by", digits, decimal, 10, 0,
			series{"the spill", "two", toSpill, digits(now(toSpill))},
			series{"Badger", "one", toBadger, digits(now(toBadger))}),
		v.newLatencyChart("latency", "Latency of appends", "to the spill, of each second",
			series{"99th percentile", "two", p99, latencyText(now(p99))},
			series{"median", "one", p50, latencyText(now(p50))}),
		v.newChart("spill", "The spill", "capacity "+bytesText(float64(s.SpillCapacity)), bytesText, binary, 1<<10, float64(s.SpillCapacity),
			series{"on disk", "two", func(p *point) float64 { return float64(p.Spill) }, bytesText(float64(s.SpillBytes))},
			series{"not replayed", "one", func(p *point) float64 { return float64(p.Pending) }, bytesText(float64(s.BytesPending))}),
		v.newChart("replay", "Replay", "a second, before compression", bytesText, binary, 1<<10, 0,
			series{"replayed", "one", replayed, perSecond(bytesText(now(replayed)))}),
		v.newChart("memory", "Memory budget", "limit "+bytesText(float64(s.MemoryLimit)), bytesText, binary, 1<<10, float64(s.MemoryLimit),
			series{"in use", "one", func(p *point) float64 { return float64(p.Memory) }, bytesText(float64(s.MemoryUsage))}),
		v.newChart("waiting", "Commits that wait", "", digits, decimal, 10, 0,
			series{"for room", "three", waiting, digits(now(waiting))},
			series{"for their turn", "one", slowed, digits(now(slowed))}),
	}
}

// strip shows a state over the span.
type strip struct {
	ID, Name, Now string
	Class         string // of Now
	Runs          []run
}

// run is a time in which the state was the same.
type run struct {
	X, Width  int
	Y, Height int // the graver the higher, so that colours are not all that tells
	Class     string
	Title     string
}

// stripHeight is that of a drawing of a strip.
const stripHeight = 20

var graveness = map[string]int{calm: 4, busy: 10, strained: 15, bad: stripHeight}

// newStrip draws what a word says of each second.
func (v *view) newStrip(id, name string, of func(*point) (class, word string), nowClass, now string) strip {
	s := strip{ID: id, Name: name, Now: now, Class: nowClass}
	begin := ""
	for i := range v.points {
		p := &v.points[i]
		class, word := of(p)
		// What a point tells is of the time before it.
		from := v.x(p.At - interval.Milliseconds())
		if i > 0 {
			from = v.x(v.points[i-1].At)
		}
		at := clock(time.UnixMilli(p.At), v.at)
		to := v.x(p.At)
		if last := len(s.Runs) - 1; last >= 0 && s.Runs[last].Class == class && strings.HasPrefix(s.Runs[last].Title, word+", ") {
			s.Runs[last].Width = to - s.Runs[last].X
			s.Runs[last].Title = fmt.Sprintf("%s, %s to %s", word, begin, at)
			continue
		}
		begin = at
		h := graveness[class]
		s.Runs = append(s.Runs, run{from, max(to-from, 1), stripHeight - h, h, class, word + ", " + at})
	}
	return s
}

func (v *view) strips() []strip {
	s := &v.stats
	pick := func(n int64, class, word string) (string, string) {
		if n > 0 {
			return class, word
		}
		return calm, "none"
	}
	state := func(state string) (string, string) {
		if whither(state) == "Badger" {
			return calm, "Badger"
		}
		return busy, "the spill"
	}
	tier := func(tier string) (string, string) { return tierClass[tier], tier }
	replay := func(state string) (string, string) { return replayClass[state], state }
	wait := func(waiting, slowed int64) (string, string) {
		if waiting > 0 {
			return pick(waiting, bad, "for room")
		}
		return pick(slowed, strained, "slowed")
	}
	health := func(health string) (string, string) {
		switch health {
		case "stopped":
			return bad, health
		case "delayed":
			return strained, health
		}
		return calm, health
	}
	c1, w1 := state(s.State)
	c2, w2 := tier(s.Tier.String())
	c3, w3 := replay(s.ReplayState)
	c4, w4 := wait(s.BlockedNow, s.SlowedNow)
	c5, w5 := health(s.Health.String())
	return []strip{
		v.newStrip("to", "Commits to", func(p *point) (string, string) { return state(p.State) }, c1, w1),
		v.newStrip("tier", "Memory tier", func(p *point) (string, string) { return tier(p.Tier) }, c2, w2),
		v.newStrip("waits", "Commits wait", func(p *point) (string, string) { return wait(p.Waiting, p.Slowed) }, c4, w4),
		v.newStrip("replaying", "Replay", func(p *point) (string, string) { return replay(p.ReplayState) }, c3, w3),
		v.newStrip("health", "Health", func(p *point) (string, string) { return health(p.Health) }, c5, w5),
	}
}
