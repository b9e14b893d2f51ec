package burst

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/chart"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template shows. All of it is text that the template escapes, but the figures,
// which package chart made.
type page struct {
	Title, Subtitle string
	Headline        []headline
	Summary         string
	Light, Dark     template.HTML
	Phases          []pagePhase
	Work            bool // that there is something in the columns blocked, CPU, written
	Ratios          [][]string

	Multiples        [][]string
	MultiplesHeading string

	Layer    [][]string
	Notes    []string
	Checks   [][]string // engine and what was found
	Failed   bool
	Settings [][]string
	Versions [][]string
	Command  string
}

// headline is a figure to be seen from afar.
type headline struct{ Class, Figure, Label string }

// pagePhase is a group of rows of the table.
type pagePhase struct {
	Name    string
	Engines []pageRow
}

type pageRow struct {
	Engine, Class string
	Cells         []string
	Work          []string // blocked, CPU, written
}

// writePage writes the report as a page that needs nothing but itself.
func (r *Report) writePage(w io.Writer) error {
	p := page{
		Title: r.title(), Subtitle: r.settingsText(),
		Notes: r.notes(engineName), Failed: !r.OK,
		Settings: r.settingRows(), Versions: r.Build.rows(), Command: r.Config.command(),
	}
	// The page has a title of its own.
	f := r.figure()
	f.Title, f.Subtitle = "", ""
	for _, scheme := range []struct {
		to     *template.HTML
		scheme chart.Scheme
	}{{&p.Light, chart.Light}, {&p.Dark, chart.Dark}} {
		svg, err := f.SVG(scheme.scheme)
		if err != nil {
			return err
		}
		*scheme.to = template.HTML(svg)
	}
	p.Headline, p.Summary = r.headline()
	p.Phases = r.pagePhases()
	for _, phase := range p.Phases {
		for _, row := range phase.Engines {
			for _, cell := range row.Work {
				p.Work = p.Work || cell != "-"
			}
		}
	}
	if len(r.Ratios) > 0 {
		p.Ratios = r.ratioRows()
	}
	if r.showsMultiples() {
		p.Multiples, p.MultiplesHeading = r.multipleRows(), "In the "+r.mainPhase()+" phase, as a multiple"+r.medianText()
	}
	for _, e := range r.first() {
		if e.Layer != nil && (p.Layer == nil || e.Engine == Badgerspill) { // as in the figure
			p.Layer = layerRows(e)
		}
	}
	for _, e := range r.Engines {
		p.Checks = append(p.Checks, []string{r.label(e, engineName), e.verificationText()})
	}
	if r.Config.Pairs > 1 {
		p.Notes = append(p.Notes, fmt.Sprintf("Of %d runs, figure and tables show the first, unless they say otherwise.", r.Config.Pairs))
	}
	return pageTemplate.Execute(w, p)
}

// headline compares the engines in the burst, or in the first phase that there is.
func (r *Report) headline() (figures []headline, summary string) {
	phase := r.mainPhase()
	where := " in the " + phase
	if phase != PhaseBurst {
		where += " phase"
	}
	var parts []string
	for _, e := range r.first() {
		p := e.phase(phase)
		if p == nil || p.Acked == 0 {
			parts = append(parts, engineName(e.Engine)+" acknowledged nothing")
			continue
		}
		figures = append(figures, headline{class(e.Engine), text.Duration(p.P99), "p99 of " + engineName(e.Engine) + where})
		part := fmt.Sprintf("%s acknowledged %s of the %s that were due, with a p99 of %s", engineName(e.Engine),
			text.Rate(p.AchievedRate), text.Rate(p.OfferedRate), text.Duration(p.P99))
		if lost := p.Unsent + p.Failed; lost > 0 {
			part += fmt.Sprintf(", in which %s writes do not count that failed or were never sent", text.Count(lost))
		}
		parts = append(parts, part)
	}
	for _, x := range r.Ratios {
		if x.Phase == phase && x.P99 > 0 {
			figures = append(figures, headline{"ratio", ratioText(x.P99), "as long with plain Badger"})
		}
	}
	return figures, "In" + strings.TrimPrefix(where, " in") + ", " + strings.Join(parts, "; ") + "."
}

// class is what the style of an engine is called.
func class(engine string) string {
	switch engine {
	case Badger, Badgerspill:
		return engine
	case Log:
		return "floor"
	default:
		return "other"
	}
}

func (r *Report) pagePhases() []pagePhase {
	var out []pagePhase
	add := func(name string, cells func(*EngineResult) []string) {
		group := pagePhase{Name: name}
		for _, e := range r.first() {
			work := e.workCells(name)
			c := cells(e)
			if c == nil && work == nil {
				continue
			}
			if work == nil {
				work = []string{"-", "-", "-"}
			}
			group.Engines = append(group.Engines, pageRow{engineName(e.Engine), class(e.Engine), c, work})
		}
		if len(group.Engines) > 0 {
			out = append(out, group)
		}
	}
	for _, p := range r.Config.phases() {
		add(p.Name, func(e *EngineResult) []string {
			x := e.phase(p.Name)
			if x == nil {
				return nil
			}
			return latencyCells(x)
		})
		add(p.Name+", reads", func(e *EngineResult) []string {
			x := phaseOf(e.Reads, p.Name)
			if x == nil {
				return nil
			}
			return latencyCells(x)
		})
	}
	add(PhaseAfter, func(e *EngineResult) []string {
		if e.workCells(PhaseAfter) == nil {
			return nil
		}
		return []string{"-", "-", "-", "-", "-", "-", "-", "-", "-"}
	})
	return out
}

// workCells returns the columns blocked, CPU and written, nil if the phase was not measured.
func (r *EngineResult) workCells(phase string) []string {
	for _, w := range r.Work {
		if w.Phase != phase {
			continue
		}
		cells := []string{"-", "-", "-"}
		if w.Blocked != nil {
			cells[0] = text.Count(*w.Blocked)
		}
		if w.CPU != nil {
			cells[1] = text.Seconds(*w.CPU)
		}
		if w.Written != nil {
			cells[2] = text.Bytes(*w.Written)
		}
		return cells
	}
	return nil
}

func (r *Report) settingRows() [][]string {
	c := r.Config
	var rows [][]string
	for _, p := range c.phases() {
		value := "left out"
		if p.Duration > 0 {
			value = fmt.Sprintf("%s for %v", text.Rate(float64(p.Rate)), p.Duration)
		}
		rows = append(rows, []string{p.Name + " phase", value})
	}
	if c.Base > 0 {
		rows = append(rows, []string{"entries before it", text.Count(c.Base)})
	}
	others := "the defaults of the engines"
	if c.Options != "" {
		others = c.Options + "; else " + others
	}
	return append(rows,
		[]string{"time for overdue writes", fmt.Sprintf("%v after the last phase", c.Backlog)},
		[]string{"values", text.Bytes(int64(c.ValueSize))},
		[]string{"writers", text.Count(int64(c.Writers))},
		[]string{"SyncWrites", strings.TrimPrefix(syncText(c.Sync), "SyncWrites ")},
		[]string{"reads of recent keys", fmt.Sprintf("%d %%", c.Reads)},
		[]string{"runs", text.Count(int64(c.Pairs))},
		[]string{"seed", fmt.Sprint(c.Seed)},
		[]string{"all else", others},
	)
}

func (b Build) rows() [][]string {
	version := b.Badgerspill
	if version == "" || version == "(devel)" {
		version = "development build"
	}
	return [][]string{
		{"badgerspill", version}, {"Badger", b.Badger}, {"Go", b.Go},
		{"platform", fmt.Sprintf("%s/%s, %d CPUs", b.OS, b.Arch, b.CPUs)},
	}
}

// command returns the command line that runs the same load, with every flag that bears on it:
// defaults may change.
func (c Config) command() string {
	args := []string{
		"spillbench burst",
		fmt.Sprintf("--calm-rate %d --burst-rate %d --quiet-rate %d", c.CalmRate, c.BurstRate, c.QuietRate),
		fmt.Sprintf("--calm %v --burst %v --quiet %v --backlog %v", c.Calm, c.Burst, c.Quiet, c.Backlog),
		fmt.Sprintf("--value-size %d --writers %d --reads %d --engine %s --pairs %d --sync=%t --seed %d",
			c.ValueSize, c.Writers, c.Reads, c.Engine, c.Pairs, c.Sync, c.Seed),
	}
	if c.Base > 0 {
		args = append(args, fmt.Sprintf("--base %d", c.Base))
	}
	if c.Options != "" {
		args = append(args, fmt.Sprintf("--options %q", c.Options))
	}
	return strings.Join(args, " \\\n  ")
}
