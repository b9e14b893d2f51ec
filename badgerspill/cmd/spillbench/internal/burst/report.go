package burst

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
	"github.com/badgerspill/badgerspill/replay"
)

// Report is the result of a whole run, as --json prints it. Durations are in nanoseconds.
type Report struct {
	OK        bool            `json:"ok"`
	Config    Config          `json:"config"`
	Engines   []*EngineResult `json:"engines"`          // in the order in which they ran, all runs
	Ratios    []Ratio         `json:"ratios,omitempty"` // if both plain Badger and badgerspill ran
	Multiples []Multiple      `json:"multiples,omitempty"`
	Build     Build           `json:"build"`
	// Evidence is the directory that was kept because the verification failed, or a read.
	Evidence string `json:"evidence,omitempty"`
}

// first returns the results of the first run.
func (r *Report) first() (engines []*EngineResult) {
	for _, e := range r.Engines {
		if e.Run <= 1 {
			engines = append(engines, e)
		}
	}
	return engines
}

// byEngine returns the results engine by engine, and those of one in the order of the runs.
func (r *Report) byEngine() (results []*EngineResult) {
	for _, first := range r.first() {
		for _, e := range r.Engines {
			if e.Engine == first.Engine {
				results = append(results, e)
			}
		}
	}
	return results
}

// label names one engine in one run; name is how to call the engine.
func (r *Report) label(e *EngineResult, name func(engine string) string) string {
	if r.Config.Pairs > 1 {
		return fmt.Sprintf("%s, run %d", name(e.Engine), e.Run)
	}
	return name(e.Engine)
}

func (r *Report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func (r *Report) writeTable(w io.Writer) error {
	t := text.NewWriter(w)
	c := r.Config
	say := func(s string) { t.Printf("%s\n", text.Wrap(s, terminalWidth)) }
	say(fmt.Sprintf("%d writers, values of %s, one Update per key, %s%s; latency counts from when a write was due",
		c.Writers, text.Bytes(int64(c.ValueSize)), c.readsText(), syncText(c.Sync)))
	t.Printf("\n")
	t.Columns(r.phaseRows())
	t.Printf("\n")
	for _, note := range r.notes(func(engine string) string { return engine }) {
		say(note)
	}
	if rows := r.readRows(); len(rows) > 1 {
		t.Printf("\npoint reads of keys acknowledged shortly before, on the same schedule\n\n")
		t.Columns(rows)
	}
	if len(r.Ratios) > 0 {
		t.Printf("\nplain Badger's latency as a multiple of badgerspill's%s\n\n", r.medianText())
		t.Columns(r.ratioRows())
	}
	if r.showsMultiples() {
		t.Printf("\nin the %s phase, as a multiple%s\n\n", r.mainPhase(), r.medianText())
		t.Columns(r.multipleRows())
	}
	if rows := r.workRows(); len(rows) > 1 {
		t.Printf("\nwhat the processes took, load generator included\n\n")
		t.Columns(rows)
	}
	layered := map[string]bool{}
	for _, e := range r.Engines {
		if e.Layer != nil {
			layered[e.Engine] = true
		}
	}
	for _, e := range r.Engines {
		if e.Layer != nil {
			where := ""
			if len(layered) > 1 {
				where = " of " + e.Engine
			}
			if r.Config.Pairs > 1 {
				where += fmt.Sprintf(" in run %d", e.Run)
			}
			t.Printf("\nwhat the layer did%s\n\n", where)
			t.Columns(layerRows(e))
		}
	}
	t.Printf("\nreopened and checked\n\n")
	for _, e := range r.Engines {
		r.verification(t, e)
	}
	if seen := r.seen(); seen != "" {
		t.Printf("\n")
		say(seen)
	}
	return t.Err()
}

// terminalWidth is what a terminal shows at least.
const terminalWidth = 80

// seen is in one sentence what the run has shown of the burst, empty unless plain Badger and
// badgerspill both ran. Of several runs it has the medians.
func (r *Report) seen() string {
	type side struct {
		p99, rate, empty, begun, calm []float64
		by                            map[string]bool // what began the replay
		drained                       bool            // in one run at least
	}
	sides := map[string]*side{}
	for _, e := range r.Engines {
		p := phaseOf(e.Phases, PhaseBurst)
		if p == nil || e.failed() > 0 {
			return ""
		}
		s := sides[e.Engine]
		if s == nil {
			s = &side{by: map[string]bool{}}
			sides[e.Engine] = s
		}
		s.p99, s.rate = append(s.p99, float64(p.P99)), append(s.rate, p.AchievedRate)
		if t := e.Spill; t != nil && t.Used && t.Empty != 0 {
			s.empty = append(s.empty, float64(max(t.AfterBurst, 0)))
			s.begun = append(s.begun, float64(max(t.BegunAfterBurst, 0)))
			s.by[t.how()] = true
			s.drained = s.drained || t.Drained
		}
		if direct, all, ok := e.direct(PhaseCalm); ok {
			s.calm = append(s.calm, float64(direct)/float64(all))
		}
	}
	plain, layer := sides["badger"], sides["badgerspill"]
	if plain == nil || layer == nil {
		return ""
	}
	middle := func(x []float64) float64 {
		x = slices.Sorted(slices.Values(x))
		return x[len(x)/2]
	}
	p99 := func(s *side) string { return text.Duration(time.Duration(middle(s.p99))) }
	after := func(x []float64) string { return text.Seconds(time.Duration(middle(x))) }
	seen := fmt.Sprintf("Seen%s: ", r.medianText())
	if len(layer.calm) > 0 {
		seen += fmt.Sprintf("in the calm phase %s of the commits to badgerspill went to Badger. In", percent(middle(layer.calm)))
	} else {
		seen += "in"
	}
	seen += fmt.Sprintf(" the burst the p99 of plain Badger was %s at %s, and that of badgerspill %s at %s.",
		p99(plain), text.Rate(middle(plain.rate)), p99(layer), text.Rate(middle(layer.rate)))
	if len(layer.empty) == 0 {
		return seen
	}
	if by := slices.Collect(maps.Keys(layer.by)); len(by) == 1 && by[0] != "" {
		seen += fmt.Sprintf(" %s began its replay %s after the burst.", strings.ToUpper(by[0][:1])+by[0][1:], after(layer.begun))
	}
	seen += fmt.Sprintf(" What it had spilled was in Badger %s after the burst", after(layer.empty))
	if layer.drained {
		seen += ", the rest of it drained because the time was up"
	}
	return seen + "."
}

// percent shows a share. What is not all is never shown as 100 %, what is not none never as 0 %.
func percent(share float64) string {
	switch tenths := math.Round(share * 1000); {
	case share >= 1:
		return "100 %"
	case share <= 0:
		return "0 %"
	default:
		return strconv.FormatFloat(min(max(tenths, 1), 999)/10, 'f', 1, 64) + " %"
	}
}

func (r *Report) phaseRows() [][]string {
	return r.latencyRows(func(e *EngineResult) []openloop.PhaseResult { return e.Phases })
}

func (r *Report) readRows() [][]string {
	return r.latencyRows(func(e *EngineResult) []openloop.PhaseResult { return e.Reads })
}

// latencyRows shows some of the operations: a head, and a row for each engine in each phase of each
// run. It fits into terminalWidth; notes and JSON have the rest.
func (r *Report) latencyRows(of func(*EngineResult) []openloop.PhaseResult) [][]string {
	rows := [][]string{append(r.engineCells("phase", "engine", "run"),
		"offered", "achieved", "p50", "p99", "p99.99", "max")}
	for _, p := range r.Config.phases() {
		for _, e := range r.byEngine() {
			if res := phaseOf(of(e), p.Name); res != nil {
				rows = append(rows, append(r.engineCells(res.Phase, e.Engine, fmt.Sprint(e.Run)), narrowCells(res)...))
			}
		}
	}
	return rows
}

// engineCells are the first of a row. There is a column for the run only if there are several.
func (r *Report) engineCells(phase, engine, run string) []string {
	if r.Config.Pairs > 1 {
		return []string{phase, engine, run}
	}
	return []string{phase, engine}
}

func latencyCells(p *openloop.PhaseResult) []string {
	return []string{
		text.Rate(p.OfferedRate), text.Rate(p.AchievedRate), text.Duration(p.P50), text.Duration(p.P99), text.Duration(p.P999),
		text.Duration(p.P9999), text.Duration(p.Max), text.Count(p.Unsent), text.Count(p.Failed),
	}
}

// narrowCells are those of latencyCells that a terminal has room for.
func narrowCells(p *openloop.PhaseResult) []string {
	all := latencyCells(p)
	return append(all[:4:4], all[5:7]...)
}

// notes says what a reader of the table must know not to be misled by it, a sentence each.
// name is how to call an engine.
func (r *Report) notes(name func(engine string) string) (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	for _, e := range r.Engines {
		unsent := int64(0)
		for _, p := range e.Phases {
			unsent += p.Unsent
		}
		if unsent > 0 {
			note("%s: %s writes were still waiting to be sent when the run was cut off, %v after the last phase; "+
				"no percentile counts them.", r.label(e, name), text.Count(unsent), r.Config.Backlog)
		}
		if e.WriteError != "" {
			note("%s: %s writes failed, the first with: %s", r.label(e, name), text.Count(e.failed()), e.WriteError)
		}
		if e.ReadError != "" {
			note("%s: %s reads failed, the first with: %s", r.label(e, name), text.Count(e.failedReads()), e.ReadError)
		}
	}
	for _, e := range r.Engines {
		late := ""
		for _, p := range e.Phases {
			if p.WokeLateP50 > 0 {
				late += fmt.Sprintf(", %s %s", p.Phase, text.Duration(p.WokeLateP50))
			}
		}
		if late != "" {
			note("%s: of each latency, this much is the median lateness of the load generator itself: %s.", r.label(e, name), late[2:])
		}
	}
	return notes
}

func (r *Report) ratioRows() [][]string {
	rows := [][]string{{"phase", "p50", "p99", "p99.9", "p99.99", "max"}}
	for _, x := range r.Ratios {
		rows = append(rows, []string{x.Phase, ratioText(x.P50), ratioText(x.P99), ratioText(x.P999), ratioText(x.P9999), ratioText(x.Max)})
	}
	return rows
}

func layerRows(e *EngineResult) [][]string {
	l := e.Layer
	tiers := ""
	for _, t := range l.TiersEntered {
		if t.Times > 0 {
			tiers += fmt.Sprintf(", %s %s", t.Tier, timesText(t.Times))
		}
	}
	if tiers == "" {
		tiers = ", " + l.Tier + " only"
	}
	var rows [][]string
	for _, phase := range []string{PhaseCalm, PhaseBurst, PhaseQuiet} {
		if direct, all, ok := e.direct(phase); ok {
			rows = append(rows, []string{"direct, " + phase,
				fmt.Sprintf("%s of the phase's commits, %s of %s", percent(float64(direct)/float64(all)), text.Count(direct), text.Count(all))})
		}
	}
	return append(rows, [][]string{
		{"tiers entered", tiers[2:]},
		{"stalls seen", text.Count(l.Stalls)},
		{"commits direct", text.Count(l.CommitsDirect)},
		{"commits hedged", text.Count(l.CommitsHedged)},
		{"commits spilled", text.Count(l.CommitsSpilled)},
		{"commits blocked", text.Count(l.CommitsBlocked)},
		{"bytes spilled", text.Bytes(l.BytesSpilled)},
		{"bytes replayed", text.Bytes(l.BytesReplayed)},
		{"entries replayed", text.Count(l.EntriesReplayed)},
		{"hand-overs", text.Count(l.HandOvers)},
		{"replay begun", e.Spill.begunText()},
		{"spill empty", e.Spill.text()},
	}...)
}

// how says what began the replay that emptied the spill, with the name that the pages have for it;
// empty if that is not known.
func (s *SpillTimes) how() string {
	if s.By == replay.ReasonDrain.String() {
		return "the end of the run"
	}
	return s.By
}

func (s *SpillTimes) begunText() string {
	if s == nil || s.By == "" {
		return "never"
	}
	return fmt.Sprintf("by %s, %s", s.how(), fromBurst(s.BegunAfterBurst))
}

// fromBurst says when something was, counted from the end of the burst phase.
func fromBurst(d time.Duration) string {
	if d < 0 {
		return text.Seconds(-d) + " before the end of the burst"
	}
	return text.Seconds(d) + " after the burst"
}

func (s *SpillTimes) text() string {
	switch {
	case s == nil || !s.Used:
		return "never used"
	case s.Empty == 0:
		return "not before the close"
	}
	where := fromBurst(s.AfterBurst)
	if s.Drained {
		where += ", drained because the time was up"
	}
	return where
}

func (r *Report) verification(t *text.Writer, e *EngineResult) {
	label, width := r.label(e, func(engine string) string { return engine }), 12
	if r.Config.Pairs > 1 {
		width += len(", run 10")
	}
	t.Printf("  %-*s %s\n", width, label, e.verificationText())
	if e.Verified.OK() && e.ReadError == "" {
		return
	}
	for _, example := range e.Verified.Examples {
		t.Printf("  %-*s   %s\n", width, "", example)
	}
	t.Printf("  %-*s   the databases are kept in %s\n", width, "", r.Evidence)
}

func (r *EngineResult) verificationText() string {
	v := r.Verified
	if v.OK() {
		return fmt.Sprintf("all %s acknowledged keys are there with their values (peak disk %s)", text.Count(v.Checked), text.Bytes(r.PeakDisk))
	}
	return fmt.Sprintf("of %s acknowledged keys %s are missing, %s wrong, %s unreadable",
		text.Count(v.Checked), text.Count(v.Missing), text.Count(v.Wrong), text.Count(v.Unreadable))
}

func timesText(n int64) string {
	if n == 1 {
		return "once"
	}
	return text.Count(n) + " times"
}

// readsText is a part of a list, empty without reads.
func (c Config) readsText() string {
	if c.Reads == 0 {
		return ""
	}
	return fmt.Sprintf("%d %% of the operations reads, ", c.Reads)
}

func syncText(sync bool) string {
	if sync {
		return "SyncWrites on"
	}
	return "SyncWrites off"
}
