package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/color"
	"image/png"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sample is a run of a minute: plain Badger falls ten seconds behind in the burst, loses a few
// writes and catches up; the layer spills, and replays until after the load.
func sample() *Figure {
	f := &Figure{
		Title:    "A write burst on plain Badger and on badgerspill",
		Subtitle: "values of 1.0 KiB, 64 writers, 2,000/s then 60,000/s then 500/s, SyncWrites off",
		End:      60 * time.Second,
		Phases: []Phase{
			{"calm", 0, 10 * time.Second, 2_000},
			{"burst", 10 * time.Second, 30 * time.Second, 60_000},
			{"quiet", 30 * time.Second, 50 * time.Second, 500},
		},
		Series: []Series{
			{Kind: Plain, Name: "plain Badger", Remark: "p99 in the burst 10.1 s"},
			{Kind: Layered, Name: "badgerspill", Remark: "p99 in the burst 1.52 ms"},
		},
		Notes: []string{"× plain Badger: of the writes that were due in seconds with this mark, 1,234 failed or were never sent; no percentile counts them."},
	}
	for i := range 60 {
		at := time.Duration(i) * time.Second
		plain := Point{At: at, Length: time.Second, P99: 420 * time.Microsecond, Rate: 2_000}
		layered := Point{At: at, Length: time.Second, P99: 450 * time.Microsecond, Rate: 2_000}
		wave := 1 + 0.2*math.Sin(float64(i))
		switch {
		case i >= 50:
			plain.P99, plain.Rate, layered.P99, layered.Rate = 0, 0, 0, 0
		case i >= 30:
			plain.P99, plain.Rate = time.Duration(1e10*math.Pow(0.2, float64(i-30))), 500
			plain.P99 = max(plain.P99, time.Duration(4e5*wave))
			if i < 34 {
				plain.Rate, plain.Lost = 50_000, i < 32
			}
			layered.P99, layered.Rate = time.Duration(6e5*wave), 500
		case i >= 10:
			plain.P99, plain.Rate = time.Duration(min(1e10, 2e7*math.Pow(2, float64(i-10)))*wave), 50_000*wave
			layered.P99, layered.Rate = time.Duration(1.4e6*wave), 60_000
		}
		f.Series[0].Points = append(f.Series[0].Points, plain)
		f.Series[1].Points = append(f.Series[1].Points, layered)
		tier := "normal"
		switch i {
		case 11, 14:
			tier = TierFlush
		case 12:
			tier = TierSpill
		case 13:
			tier = TierBlock
		}
		f.States = append(f.States, State{
			From: at, To: at + time.Second, Tier: tier, Spilling: i >= 10 && i < 55, Replaying: i >= 32 && i < 55,
		})
	}
	return f
}

// drawn is what a reader of the SVG finds. y grows upwards, as in the drawing.
type drawn struct {
	width, height float64
	lines         []shape
	areas         []shape
	texts         []label
}

type shape struct {
	color  string
	points [][2]float64
	dashed bool
	arcs   bool
}

type label struct {
	text        string
	x, y, width float64
	bold        bool
}

func (l label) middle() float64 { return l.x + l.width/2 }

var pathPoint = regexp.MustCompile(`([ML])([-+.e0-9]+),([-+.e0-9]+)`)

func number(t *testing.T, s string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(s, 64)
	require.NoError(t, err)
	return x
}

func parse(t *testing.T, svg string) *drawn {
	t.Helper()
	d := &drawn{}
	dec := xml.NewDecoder(strings.NewReader(svg))
	var open *label
	for {
		token, err := dec.Token()
		if token == nil {
			break
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			attr := map[string]string{}
			for _, a := range token.Attr {
				attr[a.Name.Local] = a.Value
			}
			style := map[string]string{}
			for _, part := range strings.Split(attr["style"], ";") {
				name, value, _ := strings.Cut(part, ":")
				style[name] = value
			}
			switch token.Name.Local {
			case "svg":
				d.width, d.height = number(t, attr["width"]), number(t, attr["height"])
			case "path":
				s := shape{color: style["fill"], arcs: strings.Contains(attr["d"], "A")}
				for _, m := range pathPoint.FindAllStringSubmatch(attr["d"], -1) {
					s.points = append(s.points, [2]float64{number(t, m[2]), number(t, m[3])})
				}
				if style["fill"] == "none" {
					s.color, s.dashed = style["stroke"], style["stroke-dasharray"] != ""
					d.lines = append(d.lines, s)
				} else {
					d.areas = append(d.areas, s)
				}
			case "text":
				open = &label{
					x: number(t, attr["x"]), y: -number(t, attr["y"]), width: number(t, attr["textLength"]),
					bold: style["font-weight"] == "bold",
				}
			}
		case xml.CharData:
			if open != nil {
				open.text += string(token)
			}
		case xml.EndElement:
			if token.Name.Local == "text" {
				d.texts = append(d.texts, *open)
				open = nil
			}
		}
	}
	return d
}

func svgOf(t *testing.T, f *Figure) *drawn {
	t.Helper()
	svg, err := f.SVG(Light)
	require.NoError(t, err)
	return parse(t, svg)
}

func hex(c color.Color) string {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	return fmt.Sprintf("#%02X%02X%02X", n.R, n.G, n.B)
}

// data returns the solid lines of a series, without its part of the legend and its crosses, which
// have two points.
func (d *drawn) data(k Kind) []shape {
	var out []shape
	for _, l := range d.lines {
		if l.color == hex(Light.engines[k]) && !l.dashed && len(l.points) > 2 {
			out = append(out, l)
		}
	}
	return out
}

func (d *drawn) text(t *testing.T, text string) label {
	t.Helper()
	for _, l := range d.texts {
		if l.text == text {
			return l
		}
	}
	require.Fail(t, "no such text", "%q in %v", text, d.texts)
	return label{}
}

// areasOf returns where areas of a color begin and end, from left to right.
func (d *drawn) areasOf(c color.Color, higherThan, lowerThan float64) [][2]float64 {
	var out [][2]float64
	for _, a := range d.areas {
		low, high := math.Inf(1), math.Inf(-1)
		from, to := math.Inf(1), math.Inf(-1)
		for _, p := range a.points {
			from, to, low, high = min(from, p[0]), max(to, p[0]), min(low, p[1]), max(high, p[1])
		}
		if a.color == hex(c) && !a.arcs && high-low > higherThan && high-low < lowerThan {
			out = append(out, [2]float64{from, to})
		}
	}
	slices.SortFunc(out, func(a, b [2]float64) int { return int(1000 * (a[0] - b[0])) })
	return out
}

// at returns where a second is on the axis of time of the sample.
func at(second float64) float64 { return left + (right-left)*second/60 }

func requireStretches(t *testing.T, want, got [][2]float64) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.InDelta(t, want[i][0], got[i][0], 0.1)
		require.InDelta(t, want[i][1], got[i][1], 0.1)
	}
}

func TestBothSeriesAreDrawnWithEveryPoint(t *testing.T) {
	d := svgOf(t, sample())
	for _, k := range []Kind{Plain, Layered} {
		lines := d.data(k)
		require.Len(t, lines, 2, "one in each panel")
		latency, rate := lines[0], lines[1]
		require.Len(t, latency.points, 50, "seconds in which writes were acknowledged")
		require.Len(t, rate.points, 2*60, "a step for each second")
		for i, p := range latency.points {
			require.InDelta(t, at(float64(i)+0.5), p[0], 0.1)
		}
		for i := range 60 {
			require.InDelta(t, at(float64(i)), rate.points[2*i][0], 0.1)
			require.InDelta(t, at(float64(i+1)), rate.points[2*i+1][0], 0.1)
		}
	}
	offered := 0
	for _, l := range d.lines {
		if l.dashed && len(l.points) > 2 {
			offered++
			require.Len(t, l.points, 2*3+1)
			require.InDelta(t, d.data(Layered)[1].points[2*20][1], l.points[2][1], 0.1, "badgerspill takes what is offered")
		}
	}
	require.Equal(t, 1, offered)
}

func TestLatenciesAreWhereTheirLabelsSay(t *testing.T) {
	d := svgOf(t, sample())
	decades := []string{"1 ms", "10 ms", "100 ms", "1 s", "10 s"}
	middle := func(text string) float64 { return d.text(t, text).y + style{size: 10}.middle() }
	step := middle(decades[1]) - middle(decades[0])
	require.Positive(t, step)
	for i := range decades[1:] {
		require.InDelta(t, step, middle(decades[i+1])-middle(decades[i]), 0.1)
	}
	// In the second at 10 s plain Badger is at 20 ms times a wave.
	p99 := 20 * (1 + 0.2*math.Sin(10))
	require.InDelta(t, middle("10 ms")+step*math.Log10(p99/10), d.data(Plain)[0].points[10][1], 0.1)
	// The panels do not touch: rates are below the strip.
	require.Less(t, d.data(Plain)[1].points[0][1], d.text(t, "memory").y)
	require.Greater(t, d.data(Layered)[0].points[0][1], d.text(t, "commits").y)
}

func TestPhasesAreShadedAndNamed(t *testing.T) {
	d := svgOf(t, sample())
	for _, panel := range []float64{latencyHeight + phaseHeight, rateHeight} {
		requireStretches(t, [][2]float64{{at(10), at(30)}}, d.areasOf(Light.burst, panel-1, panel+1))
		requireStretches(t, [][2]float64{{at(0), at(10)}, {at(30), at(50)}}, d.areasOf(Light.calm, panel-1, panel+1))
	}
	require.InDelta(t, at(5), d.text(t, "calm, 2,000/s").middle(), 0.1)
	require.InDelta(t, at(20), d.text(t, "burst, 60,000/s").middle(), 0.1)
	require.InDelta(t, at(40), d.text(t, "quiet, 500/s").middle(), 0.1)
	require.InDelta(t, at(55), d.text(t, "after the load").middle(), 0.1)
}

func TestShortPhaseIsNamedAllTheSame(t *testing.T) {
	f := sample()
	f.Phases = []Phase{{"calm", 0, 29 * time.Second, 10}, {"burst", 29 * time.Second, 30 * time.Second, 90}, {"quiet", 30 * time.Second, 31 * time.Second, 5}}
	d := svgOf(t, f)
	require.InDelta(t, at(29.5), d.text(t, "burst").middle(), 0.1)
	for _, l := range d.texts {
		require.NotContains(t, l.text, "quiet", "no room beside the burst")
	}
}

func TestStripShowsWhatTheLayerDid(t *testing.T) {
	d := svgOf(t, sample())
	lane := func(c color.Color) [][2]float64 { return d.areasOf(c, laneHeight-0.1, laneHeight+0.1) }
	requireStretches(t, [][2]float64{{at(10), at(55)}}, lane(Light.engines[Layered]))
	requireStretches(t, [][2]float64{{at(11), at(12)}, {at(14), at(15)}}, lane(Light.flush))
	requireStretches(t, [][2]float64{{at(12), at(13)}}, lane(Light.spill))
	requireStretches(t, [][2]float64{{at(13), at(14)}}, lane(Light.block))
	requireStretches(t, [][2]float64{{at(32), at(55)}}, lane(Light.replay))
	for _, name := range []string{"direct", "spilling", "normal", "soft limit (flush)", "spill", "block", "running"} {
		d.text(t, name)
	}
}

func TestOneEngineWithoutALayer(t *testing.T) {
	f := sample()
	f.Series, f.States, f.Notes = f.Series[:1], nil, nil
	d := svgOf(t, f)
	require.Len(t, d.data(Plain), 2)
	require.Empty(t, d.data(Layered))
	require.Empty(t, d.areasOf(Light.replay, 0, 1000))
	for _, l := range d.texts {
		require.NotEqual(t, "What badgerspill did", l.text)
	}
	require.Less(t, d.height, svgOf(t, sample()).height)
}

func TestSecondsWithoutLatencyAreGaps(t *testing.T) {
	f := sample()
	for _, i := range []int{20, 22, 40} {
		f.Series[0].Points[i].P99 = 0
	}
	d := svgOf(t, f)
	var lengths []int
	for _, l := range d.data(Plain) {
		lengths = append(lengths, len(l.points))
	}
	require.Equal(t, []int{20, 17, 9, 120}, lengths)
	dots := 0
	for _, a := range d.areas {
		if a.arcs && a.color == hex(Light.engines[Plain]) {
			dots++
			require.InDelta(t, at(21.5), a.points[0][0]-2, 0.1)
		}
	}
	require.Equal(t, 1, dots, "a second by itself")
}

func TestLostWritesAreMarked(t *testing.T) {
	d := svgOf(t, sample())
	var crosses []float64
	for _, l := range d.lines {
		if l.color == hex(Light.engines[Plain]) && len(l.points) == 2 && l.points[0][0] > left {
			crosses = append(crosses, (l.points[0][0]+l.points[1][0])/2)
		}
	}
	// Two strokes each. The swatch of the legend lies left of the panels.
	require.Len(t, crosses, 4)
	for i, second := range []float64{30.5, 30.5, 31.5, 31.5} {
		require.InDelta(t, at(second), crosses[i], 0.1)
	}
}

func TestNothingIsDrawnBeyondTheEnd(t *testing.T) {
	f := sample()
	f.End = 25500 * time.Millisecond
	d := svgOf(t, f)
	count := 0
	for _, shapes := range [][]shape{d.lines, d.areas} {
		for _, s := range shapes {
			for _, p := range s.points {
				count++
				require.LessOrEqual(t, p[0], d.width)
				if s.color == hex(Light.engines[Plain]) || s.color == hex(Light.replay) || s.color == hex(Light.burst) {
					require.LessOrEqual(t, p[0], right+0.01)
				}
			}
		}
	}
	require.Positive(t, count)
	require.Len(t, d.data(Plain)[0].points, 26, "the middle of the last one is at the end")
}

// No text may run into another one or out of the figure, whatever is drawn.
func TestTextsDoNotOverlap(t *testing.T) {
	figures := map[string]*Figure{"sample": sample()}
	add := func(name string, change func(*Figure)) {
		f := sample()
		change(f)
		figures[name] = f
	}
	add("an hour", func(f *Figure) { f.End = time.Hour; f.Phases[2].End = time.Hour })
	add("short", func(f *Figure) {
		f.End = 900 * time.Millisecond
		f.Phases = []Phase{{"calm", 0, 300e6, 200}, {"burst", 300e6, 600e6, 400}, {"quiet", 600e6, 900e6, 100}}
		for i := range f.Series {
			f.Series[i].Points = []Point{{0, 300e6, 1e6, 200, false}, {300e6, 300e6, 2e6, 400, false}, {600e6, 300e6, 15e5, 100, false}}
		}
	})
	add("fast", func(f *Figure) { f.Phases[1].Rate = 1e6 })
	add("narrow burst", func(f *Figure) { f.Phases[0].End, f.Phases[1].Begin = 28*time.Second, 28*time.Second })
	add("no answers", func(f *Figure) {
		for i := range f.Series {
			for j := range f.Series[i].Points {
				f.Series[i].Points[j] = Point{At: f.Series[i].Points[j].At, Length: time.Second, Lost: true}
			}
		}
	})
	add("nothing", func(f *Figure) { f.Series, f.States, f.Phases = nil, nil, nil })
	for name, f := range figures {
		d := svgOf(t, f)
		require.NotEmpty(t, d.texts)
		for i, a := range d.texts {
			require.GreaterOrEqual(t, a.x, 0.0, "%s: %q", name, a.text)
			require.LessOrEqual(t, a.x+a.width, d.width, "%s: %q", name, a.text)
			require.Positive(t, a.y, "%s: %q", name, a.text)
			require.Less(t, a.y, d.height, "%s: %q", name, a.text)
			for _, b := range d.texts[i+1:] {
				const size = 10 // of most texts; the smaller ones have as much room
				apart := math.Abs(a.y-b.y) >= size || a.x+a.width+2 <= b.x || b.x+b.width+2 <= a.x
				require.True(t, apart, "%s: %q and %q", name, a.text, b.text)
			}
		}
	}
}

func TestSVGStandsByItselfAndEscapes(t *testing.T) {
	f := sample()
	f.Title = `<script>alert("1")</script> & more`
	f.Notes = []string{`<a href="http://example.com/">`}
	for _, scheme := range []Scheme{Light, Dark} {
		svg, err := f.SVG(scheme)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(svg, "<svg "), "no prologue: it goes into pages")
		require.NotContains(t, svg, "<script")
		require.NotContains(t, svg, "<a ")
		require.NotContains(t, svg, "url(")
		require.NotContains(t, svg, "href=\"")
		require.Equal(t, 2, strings.Count(svg, "http"), "the name space, and the note")
		d := parse(t, svg)
		require.Equal(t, f.Title, d.texts[0].text)
		require.Equal(t, f.Notes[0], d.texts[len(d.texts)-1].text)
		require.Equal(t, hex(scheme.paper), d.areas[0].color)
	}
}

func TestPNGHasBothSeries(t *testing.T) {
	f := sample()
	var out bytes.Buffer
	require.NoError(t, f.Write(&out, PNG))
	img, err := png.Decode(&out)
	require.NoError(t, err)
	require.Equal(t, int(width/72*dotsPerInch), img.Bounds().Dx())
	require.InDelta(t, f.height()/72*dotsPerInch, img.Bounds().Dy(), 1)
	seen := map[color.NRGBA]int{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			seen[color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)]++
		}
	}
	for _, c := range []color.Color{Light.engines[Plain], Light.engines[Layered], Light.burst, Light.calm, Light.replay, Light.flush} {
		require.Greater(t, seen[c.(color.NRGBA)], 500, hex(c))
	}
}

func TestSuffixes(t *testing.T) {
	for file, want := range map[string]Format{"a.svg": SVG, "a.b.PNG": PNG, "dir.png/a.SVG": SVG} {
		got, ok := FormatOf(file)
		require.True(t, ok, file)
		require.Equal(t, want, got, file)
	}
	for _, file := range []string{"", "svg", "a.jpg", "a.svg.gz", "dir.svg/a"} {
		_, ok := FormatOf(file)
		require.False(t, ok, file)
	}
}

// Four names and their remarks do not fit into a line.
func TestLegendOfFourSeriesTakesTwoRows(t *testing.T) {
	f := sample()
	low := f.height()
	f.Series = append(f.Series, Series{Kind: Floor, Name: "a bare log", Remark: "p99 in the burst 1.10 ms"},
		Series{Kind: Other, Name: "another one", Remark: "p99 in the burst 10.3 ms"})
	require.Equal(t, low+rowHeight, f.height())
	d := svgOf(t, f)
	row := func(name string) float64 { return d.text(t, name).y }
	require.Equal(t, row("plain Badger"), row("badgerspill"))
	require.Equal(t, row("a bare log"), row("another one"))
	require.Equal(t, row("another one"), row("offered load"))
	require.InDelta(t, rowHeight, math.Abs(row("a bare log")-row("badgerspill")), 0.1)
	require.Less(t, d.text(t, "a bare log").x, d.text(t, "badgerspill").x)
}
