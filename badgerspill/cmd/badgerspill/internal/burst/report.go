package burst

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/text"
)

// Report is the result of a whole run, as --json prints it. Durations are in nanoseconds.
type Report struct {
	OK      bool            `json:"ok"`
	Config  Config          `json:"config"`
	Engines []*EngineResult `json:"engines"`
	Ratios  []Ratio         `json:"ratios,omitempty"` // if both engines ran
	Build   Build           `json:"build"`
	// Evidence is the directory that was kept because the verification failed.
	Evidence string `json:"evidence,omitempty"`
}

// Ratio is plain Badger's latency as a multiple of badgerspill's: above 1, badgerspill was faster. A percentile that
// one of the engines does not have, because it acknowledged nothing in the phase, makes it 0.
type Ratio struct {
	Phase string  `json:"phase"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

func (r *Report) engine(name string) *EngineResult {
	for _, e := range r.Engines {
		if e.Engine == name {
			return e
		}
	}
	return nil
}

func (r *Report) compare() {
	plain, layered := r.engine(Badger), r.engine(Badgerspill)
	if plain == nil || layered == nil {
		return
	}
	for _, p := range plain.Phases {
		l := layered.phase(p.Phase)
		if l == nil || p.Acked == 0 || l.Acked == 0 {
			r.Ratios = append(r.Ratios, Ratio{Phase: p.Phase})
			continue
		}
		r.Ratios = append(r.Ratios, Ratio{
			Phase: p.Phase,
			P50:   float64(p.P50) / float64(l.P50),
			P99:   float64(p.P99) / float64(l.P99),
			P999:  float64(p.P999) / float64(l.P999),
			Max:   float64(p.Max) / float64(l.Max),
		})
	}
}

func (r *Report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func (r *Report) writeTable(w io.Writer) error {
	t := text.NewWriter(w)
	c := r.Config
	t.Printf("%d writers, values of %s, one Update per key, %s; latency counts from when a write was due\n\n",
		c.Writers, text.Bytes(int64(c.ValueSize)), syncText(c.Sync))
	t.Columns(r.phaseRows())
	t.Printf("\n")
	for _, note := range r.notes(func(engine string) string { return engine }) {
		t.Printf("%s\n", note)
	}
	if len(r.Ratios) > 0 {
		t.Printf("\nplain Badger's latency as a multiple of badgerspill's\n\n")
		t.Columns(r.ratioRows())
	}
	for _, e := range r.Engines {
		if e.Layer != nil {
			t.Printf("\nwhat the layer did\n\n")
			t.Columns(layerRows(e))
		}
	}
	t.Printf("\nreopened and checked\n\n")
	for _, e := range r.Engines {
		r.verification(t, e)
	}
	return t.Err()
}

func (r *Report) phaseRows() [][]string {
	rows := [][]string{{"phase", "engine", "offered", "achieved", "p50", "p99", "p99.9", "max", "unsent", "failed"}}
	for _, p := range r.Config.phases() {
		for _, e := range r.Engines {
			res := e.phase(p.Name)
			if res == nil {
				continue
			}
			rows = append(rows, []string{
				res.Phase, e.Engine, text.Rate(res.OfferedRate), text.Rate(res.AchievedRate),
				text.Duration(res.P50), text.Duration(res.P99), text.Duration(res.P999), text.Duration(res.Max),
				text.Count(res.Unsent), text.Count(res.Failed),
			})
		}
	}
	return rows
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
				"no percentile counts them.", name(e.Engine), text.Count(unsent), r.Config.Backlog)
		}
		if e.WriteError != "" {
			note("%s: %s writes failed, the first with: %s", name(e.Engine), text.Count(e.failed()), e.WriteError)
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
			note("%s: of each latency, this much is the median lateness of the load generator itself: %s.", name(e.Engine), late[2:])
		}
	}
	return notes
}

func (r *Report) ratioRows() [][]string {
	rows := [][]string{{"phase", "p50", "p99", "p99.9", "max"}}
	for _, x := range r.Ratios {
		rows = append(rows, []string{x.Phase, ratioText(x.P50), ratioText(x.P99), ratioText(x.P999), ratioText(x.Max)})
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
	return [][]string{
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
		{"spill empty", e.Spill.text()},
	}
}

func (s *SpillTimes) text() string {
	switch {
	case s == nil || !s.Used:
		return "never used"
	case s.Empty == 0:
		return "not before the close"
	}
	where := fmt.Sprintf("%s after the end of the burst phase", text.Seconds(s.AfterBurst))
	if s.AfterBurst < 0 {
		where = fmt.Sprintf("%s before the end of the burst phase", text.Seconds(-s.AfterBurst))
	}
	if s.Drained {
		where += ", drained because the time was up"
	}
	return where
}

func (r *Report) verification(t *text.Writer, e *EngineResult) {
	t.Printf("  %-12s %s\n", e.Engine, e.verificationText())
	if e.Verified.OK() {
		return
	}
	for _, example := range e.Verified.Examples {
		t.Printf("  %-12s   %s\n", "", example)
	}
	t.Printf("  %-12s   the databases are kept in %s\n", "", r.Evidence)
}

func (r *EngineResult) verificationText() string {
	v := r.Verified
	if v.OK() {
		return fmt.Sprintf("all %s acknowledged keys are there with their values (peak disk %s)", text.Count(v.Checked), text.Bytes(r.PeakDisk))
	}
	return fmt.Sprintf("of %s acknowledged keys %s are missing, %s wrong, %s unreadable",
		text.Count(v.Checked), text.Count(v.Missing), text.Count(v.Wrong), text.Count(v.Unreadable))
}

func ratioText(x float64) string {
	if x == 0 {
		return "-"
	}
	return text.Digits(x) + "x"
}

func timesText(n int64) string {
	if n == 1 {
		return "once"
	}
	return text.Count(n) + " times"
}

func syncText(sync bool) string {
	if sync {
		return "SyncWrites on"
	}
	return "SyncWrites off"
}
