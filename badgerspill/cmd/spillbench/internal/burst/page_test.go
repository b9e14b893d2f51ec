package burst

import (
	"bytes"
	"encoding/xml"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/chart"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// sampleReport is a run of both engines with their seconds: plain Badger falls behind, the layer
// spills and replays until two seconds after the load.
func sampleReport() *Report {
	r := &Report{
		OK: true, Config: DefaultConfig(),
		Build: Build{Go: "go1.99", Badgerspill: "v1.2.3", Badger: "v4.9.6", OS: "plan9", Arch: "mips", CPUs: 3},
	}
	cpu, written, blocked := 1500*time.Millisecond, int64(3<<30), int64(12)
	for _, name := range []string{Badger, Badgerspill} {
		e := sampleResult(name)
		e.LastAnswer = 60*time.Second + time.Millisecond
		for i := range 63 {
			s := Second{Second: openloop.Second{At: time.Duration(i) * time.Second, Length: time.Second, Phase: PhaseBurst}}
			if i < 60 {
				s.P50, s.P99, s.Max, s.AckedRate = 1e5, 1e6, 2e6, 2_000
				if name == Badger && i >= 10 && i < 30 {
					s.P99, s.AckedRate = 10*time.Second, 50_000
				}
			}
			if name == Badgerspill {
				s.Layer = &LayerSecond{Tier: "normal", Spilling: i >= 11 && i < 62, Replaying: i >= 31 && i < 62}
			}
			e.Seconds = append(e.Seconds, s)
		}
		var work []PhaseWork
		for _, phase := range []string{PhaseCalm, PhaseBurst, PhaseQuiet, PhaseAfter} {
			w := PhaseWork{Phase: phase, CPU: &cpu, Written: &written}
			if before := e.work(phase); before != nil {
				w.Direct, w.Spilled = before.Direct, before.Spilled
			}
			if name == Badgerspill {
				w.Blocked = &blocked
			}
			work = append(work, w)
		}
		e.Work = work
		r.Engines = append(r.Engines, e)
	}
	r.compare()
	return r
}

func pageOf(t *testing.T, r *Report) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, r.writePage(&out))
	return out.String()
}

// element is what the tests look at in a page.
type element struct {
	name string
	attr map[string]string
	text string // of the element itself and what is in it
}

// elements fails unless every element is closed in order.
func elements(t *testing.T, page string) []*element {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(page))
	dec.Strict = false
	dec.AutoClose = []string{"meta"}
	dec.Entity = xml.HTMLEntity
	var all, open []*element
	for {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: token.Name.Local, attr: map[string]string{}}
			for _, a := range token.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			all, open = append(all, e), append(open, e)
		case xml.CharData:
			for _, e := range open {
				e.text += string(token)
			}
		case xml.EndElement:
			require.Equal(t, open[len(open)-1].name, token.Name.Local)
			open = open[:len(open)-1]
		}
	}
	require.Empty(t, open)
	return all
}

func texts(all []*element, name string) (out []string) {
	for _, e := range all {
		if e.name == name {
			out = append(out, strings.TrimSpace(e.text))
		}
	}
	return out
}

func TestFigureOfAReport(t *testing.T) {
	f := sampleReport().figure()
	require.Equal(t, "A write burst on plain Badger and on badgerspill", f.Title)
	require.Equal(t, "values of 1.0 KiB, 64 writers, 250/s then 60,000/s then 250/s, SyncWrites off; latency counts from when a write was due", f.Subtitle)
	require.Equal(t, 62*time.Second, f.End, "when the spill is empty")
	require.Equal(t, []chart.Phase{
		{Name: "calm", End: 10 * time.Second, Rate: 250},
		{Name: "burst", Begin: 10 * time.Second, End: 30 * time.Second, Rate: 60_000},
		{Name: "quiet", Begin: 30 * time.Second, End: 60 * time.Second, Rate: 250},
	}, f.Phases)
	require.Len(t, f.Series, 2)
	require.Equal(t, chart.Plain, f.Series[0].Kind)
	require.Equal(t, "p99 in the burst 40.0 s", f.Series[0].Remark)
	require.Equal(t, chart.Layered, f.Series[1].Kind)
	for _, s := range f.Series {
		require.Len(t, s.Points, 61, "to the last answer")
	}
	require.Equal(t, chart.Point{At: 12 * time.Second, Length: time.Second, P99: 10 * time.Second, Rate: 50_000}, f.Series[0].Points[12])
	require.Len(t, f.States, 63)
	require.Equal(t, chart.State{From: 31 * time.Second, To: 32 * time.Second, Tier: "normal", Spilling: true, Replaying: true}, f.States[31])
	require.Empty(t, f.Notes)
}

func TestFigureEndsWithTheLoadIfNothingIsLeft(t *testing.T) {
	r := sampleReport()
	r.Engines = r.Engines[:1]
	f := r.figure()
	require.Equal(t, 60*time.Second, f.End, "a millisecond is not worth a band")
	require.Empty(t, f.States)
	r.Engines[0].LastAnswer = 65 * time.Second
	require.Equal(t, 65*time.Second, r.figure().End)
}

func TestFigureTellsOfLostWrites(t *testing.T) {
	r := sampleReport()
	r.Engines[0].Seconds[29].Unsent, r.Engines[0].Seconds[30].Failed = 1200, 34
	f := r.figure()
	require.Len(t, f.Notes, 1)
	require.Contains(t, f.Notes[0], "plain Badger")
	require.Contains(t, f.Notes[0], "1,234")
	lost := 0
	for _, p := range f.Series[0].Points {
		if p.Lost {
			lost++
		}
	}
	require.Equal(t, 2, lost)
}

func TestPageShowsTheRun(t *testing.T) {
	all := elements(t, pageOf(t, sampleReport()))
	require.Equal(t, []string{"A write burst on plain Badger and on badgerspill"}, texts(all, "h1"))
	require.Equal(t, []string{"40.0 s", "10.0 ms", "4,000x"}, texts(all, "b"))
	require.Len(t, texts(all, "svg"), 2, "one for each scheme")

	rows := texts(all, "tr")
	row := func(words ...string) {
		t.Helper()
		for _, r := range rows {
			if r == strings.Join(words, "") {
				return
			}
		}
		require.Fail(t, "no such row", "%q in %q", words, rows)
	}
	row("phase", "engine", "offered", "achieved", "p50", "p99", "p99.9", "p99.99", "max", "unsent", "failed", "blocked", "CPU", "written")
	row("burst", "plain Badger", "60,000/s", "21,345/s", "4.00 s", "40.0 s", "40.0 s", "40.0 s", "41.0 s", "10", "0", "-", "1.5 s", "3.00 GiB")
	row("badgerspill", "60,000/s", "59,990/s", "10.0 ms", "10.0 ms", "20.0 ms", "40.0 ms", "41.0 ms", "0", "0", "12", "1.5 s", "3.00 GiB")
	row("after", "plain Badger", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "1.5 s", "3.00 GiB")
	row("burst", "400x", "4,000x", "2,000x", "1,000x", "1,000x")
	row("commits spilled", "1,090,000")
	row("direct, calm", "100 % of the phase's commits, 20 of 20")
	row("replay begun", "by quiet, 2.8 s after the burst")
	row("values", "1.0 KiB")
	row("burst phase", "60,000/s for 20s")
	row("badgerspill", "v1.2.3")
	row("Badger", "v4.9.6")
	row("Go", "go1.99")
	row("platform", "plan9/mips, 3 CPUs")
	row("plain Badger", "all 110 acknowledged keys are there with their values (peak disk 1.20 GiB)")
	require.Equal(t, []string{DefaultConfig().command()}, texts(all, "code"))
	for _, e := range all {
		require.NotEqual(t, "bad", e.attr["class"], "nothing failed")
	}
}

// A log and an engine that this module does not know are shown beside the two, and the figure shows
// the first run only.
func TestFigureAndPageOfMoreEngines(t *testing.T) {
	r := sampleReport()
	r.Config.Engine, r.Config.Pairs, r.Config.Reads = "badger,badgerspill,log,pebble", 2, 10
	for run := 1; run <= 2; run++ {
		for _, name := range []string{Log, "pebble"} {
			e := sampleResult(Badgerspill)
			e.Engine, e.Run, e.Layer, e.Spill, e.Work, e.Reads = name, run, nil, nil, nil, sampleReads(1)
			r.Engines = append(r.Engines, e)
		}
	}
	f := r.figure()
	var kinds []chart.Kind
	for _, s := range f.Series {
		kinds = append(kinds, s.Kind)
	}
	require.Equal(t, []chart.Kind{chart.Plain, chart.Layered, chart.Floor, chart.Other}, kinds)

	r.Ratios, r.Multiples = nil, nil
	r.compare()
	all := elements(t, pageOf(t, r))
	rows := texts(all, "tr")
	require.Contains(t, rows, "a bare log60,000/s59,990/s10.0 ms10.0 ms20.0 ms40.0 ms41.0 ms00---")
	require.Contains(t, rows, "burst, readsa bare log6,000/s6,000/s10.0 µs1.00 ms5.00 ms8.00 ms9.00 ms00---")
	require.Contains(t, rows, "a bare log, run 2all 130 acknowledged keys are there with their values (peak disk 2.10 GiB)")
	require.Contains(t, texts(all, "h2"), "In the burst phase, as a multiple, median of 2 runs")
	require.Contains(t, strings.Join(texts(all, "li"), "\n"), "Of 2 runs, figure and tables show the first, unless they say otherwise.")
	classes := map[string]bool{}
	for _, e := range all {
		classes[e.attr["class"]] = true
	}
	for _, name := range []string{"badger", "badgerspill", "floor", "other"} {
		require.True(t, classes["engine "+name], name)
	}
}

// What the platform does not tell has no columns, and what did not run has no rows.
func TestPageOfLittle(t *testing.T) {
	r := sampleReport()
	r.Engines, r.Ratios = r.Engines[:1], nil
	r.Engines[0].Work = nil
	all := elements(t, pageOf(t, r))
	require.Contains(t, texts(all, "tr"), "phaseengineofferedachievedp50p99p99.9p99.99maxunsentfailed")
	require.NotContains(t, texts(all, "h2"), "What the layer did")
	require.Equal(t, []string{"40.0 s"}, texts(all, "b"))
	for _, row := range texts(all, "tr") {
		require.False(t, strings.HasPrefix(row, "after"), row)
	}

	r.Engines[0].Phases[1].Acked = 0
	all = elements(t, pageOf(t, r))
	require.Empty(t, texts(all, "b"))
	require.Contains(t, strings.Join(texts(all, "p"), "\n"), "In the burst, plain Badger acknowledged nothing.")
}

func TestPageEscapes(t *testing.T) {
	r := sampleReport()
	r.OK, r.Evidence = false, "/home/somebody/burst"
	const evil = `</table><script>alert('1')</script><img src="http://example.com/x">`
	r.Engines[1].WriteError, r.Build.Badgerspill = evil, evil
	page := pageOf(t, r)
	all := elements(t, page)
	require.Empty(t, texts(all, "script"))
	require.Empty(t, texts(all, "img"))
	require.Contains(t, strings.Join(texts(all, "li"), "\n"), evil)
	require.Contains(t, texts(all, "tr"), "badgerspill"+evil)
	require.NotContains(t, page, r.Evidence, "the page goes to others")
	require.Contains(t, strings.Join(texts(all, "p"), "\n"), "The run failed")
}

// Nothing is fetched: not by an element, not by a style.
func TestPageStandsByItself(t *testing.T) {
	page := pageOf(t, sampleReport())
	for _, e := range elements(t, page) {
		require.NotContains(t, []string{"script", "link", "img", "image", "iframe", "object", "embed", "use", "a", "base", "form"}, e.name)
		for name, value := range e.attr {
			require.NotContains(t, []string{"src", "href", "srcset", "data", "action"}, name, value)
			require.False(t, strings.HasPrefix(name, "on"), name)
		}
	}
	require.NotContains(t, page, "url(")
	require.NotContains(t, page, "@import")
	for _, address := range regexp.MustCompile(`https?:[^"' ]*`).FindAllString(page, -1) {
		require.Equal(t, "http://www.w3.org/2000/svg", address, "the name space of the figures")
	}
	require.Contains(t, page, "default-src 'none'")
	require.Contains(t, page, "prefers-color-scheme: dark")
	require.Contains(t, page, "@media print")
}

func TestCommandRepeatsTheLoad(t *testing.T) {
	c := DefaultConfig()
	c.Dir, c.Plot, c.HTML = "/home/somebody/db", "a.svg", "a.html"
	c.Quiet, c.Sync, c.Seed = 1500*time.Millisecond, true, 7
	require.Equal(t, `spillbench burst \
  --calm-rate 250 --burst-rate 60000 --quiet-rate 250 \
  --calm 10s --burst 20s --quiet 1.5s --backlog 20s \
  --value-size 1024 --writers 64 --reads 0 --engine both --pairs 1 --sync=true --seed 7`, c.command())

	c.Base, c.Options = 5000, "numcompactors=2"
	require.Contains(t, c.command(), "--seed 7 \\\n  --base 5000 \\\n  --options \"numcompactors=2\"")
	rows := (&Report{Config: c}).settingRows()
	require.Contains(t, rows, []string{"entries before it", "5,000"})
	require.Contains(t, rows, []string{"all else", "numcompactors=2; else the defaults of the engines"})
}
