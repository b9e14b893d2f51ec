package live

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"path/filepath"
	"slices"
	"time"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// policy lets the page have its own style and script, and ask for itself: nothing else is loaded,
// and nobody frames it.
var policy = "default-src 'none'; style-src " + hashOf(pageStyle) + "; script-src " + hashOf(pageScript) +
	"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// hashOf is how a policy names an inline text.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// page is what the template shows. It escapes all but Style and Script, which are the package's
// own.
type page struct {
	Style         template.CSS
	Script        template.JS
	Name, Dir     string
	At            string
	Span          string // of the drawings
	Class, Text   string // of the summary
	Tiles         []tile
	Strips        []strip
	Charts        []chart
	Width, Height int // of a chart
	StripHeight   int
	Groups        []group
	Events        []event
}

// tile is a figure to be seen from afar.
type tile struct{ ID, Class, Label, Figure, Note string }

type event struct{ Time, At, Text string }

func newPage(v view) page {
	p := page{
		Style: template.CSS(pageStyle), Script: template.JS(pageScript),
		Name: "badgerspill", Dir: v.dir, At: v.at.Format("15:04:05 MST"),
		Tiles: v.tiles(), Strips: v.strips(), Charts: v.charts(), Groups: v.groups(),
		Width: chartWidth, Height: chartHeight, StripHeight: stripHeight,
	}
	if v.dir != "" {
		p.Name = filepath.Base(v.dir) + ", badgerspill"
	}
	p.Class, p.Text = v.summary()
	p.Span = fmt.Sprintf("%d min", int(v.span.Minutes()))
	for i := range p.Groups {
		g := &p.Groups[i]
		g.Rows = slices.DeleteFunc(g.Rows, func(r row) bool { return r.Label == "" })
	}
	for _, e := range slices.Backward(v.events) {
		p.Events = append(p.Events, event{clock(e.Time, v.at), e.Time.Format(time.RFC3339), sentence(e.Text)})
	}
	return p
}

func (v *view) tiles() []tile {
	s := &v.stats
	healthClass, health := v.healthWord()
	to := tile{"t-to", calm, "commits go to", whither(s.State), "memory tier " + s.Tier.String()}
	if whither(s.State) != "Badger" {
		to.Class = busy
	}
	if class := tierClass[s.Tier.String()]; class == bad {
		to.Class = bad
	}
	commits := v.recent(func(p *point) float64 { return p.ToBadger + p.ToSpill })
	rate := tile{"t-rate", calm, "commits", perSecond(digits(commits)), perSecond(bytesText(s.WriteRate)) + " written"}
	spill := tile{"t-spill", calm, "the spill", bytesText(float64(s.SpillBytes)), "of " + bytesText(float64(s.SpillCapacity))}
	switch {
	case s.SpillCapacity == 0:
		spill.Figure, spill.Note = "none", "it is switched off"
	case s.BlockedNow > 0:
		spill.Class = bad
	case s.SpillBytes > s.SpillCapacity/2:
		spill.Class = strained
	case s.SpillPending > 0:
		spill.Class = busy
	}
	replay := tile{"t-replay", replayClass[s.ReplayState], "replay", s.ReplayState, "nothing is left"}
	if s.BytesPending > 0 {
		replay.Note = bytesText(float64(s.BytesPending)) + " left"
		if left := v.left(); left > 0 {
			replay.Note += ", " + secondsText(left.Seconds())
		}
	}
	p99 := v.quantile(0.99)
	latency := tile{"t-latency", calm, "append p99", latencyText(p99), "of the last 10 s"}
	if p99 == 0 {
		latency.Note = "no appends in 10 s"
	}
	waits := tile{"t-waits", calm, "commits wait", grouped(s.BlockedNow + s.SlowedNow), "none for room"}
	switch {
	case v.waiting() > 0:
		waits.Class, waits.Note = bad, grouped(s.BlockedNow)+" for room"
	case v.slowed() > 0:
		waits.Class, waits.Note = strained, "slowed by the spill"
	}
	all := []tile{{"t-health", healthClass, "health", health, v.healthNote()}, to, rate, latency, spill, replay, waits}
	if v.state == closed {
		for i := range all {
			all[i].Class = calm
		}
		all[0].Class = strained
	}
	return all
}

func (v *view) healthNote() string {
	switch n := v.stats.ReplayErrors; {
	case v.state == closed:
		return "its last numbers"
	case n > 0:
		return plural(n, "error") + " of replay"
	}
	return "no errors of replay"
}
