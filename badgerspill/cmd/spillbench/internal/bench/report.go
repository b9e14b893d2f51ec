package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// Report is the result of all pairs of a case, as --json prints it.
type Report struct {
	OK     bool   `json:"ok"` // every acknowledged key was there with its value
	Case   string `json:"case"`
	Config Config `json:"config"`
	// Sustained is how many writes a second plain Badger sustained before the pairs, where the case
	// asks for that.
	Sustained float64 `json:"sustained_per_s,omitempty"`
	Pairs     []Pair  `json:"pairs"`
	// Median has the median of each column over the pairs; that of the ratios is not the ratio of
	// the other two.
	Median []Row `json:"median"`

	figures []Figure
}

// Pair is one run of each engine, in the order of the runs.
type Pair struct {
	Engines []*EngineResult `json:"engines"`
	Figures []Row           `json:"figures"`
}

// EngineResult is what one engine did in one pair.
type EngineResult struct {
	Engine   string                `json:"engine"`
	Figures  map[string]float64    `json:"figures"` // in seconds, bytes, a second, or counts
	Verified openloop.Verification `json:"verified"`
	// of the last stage that has some
	LayerStats json.RawMessage `json:"layer_stats,omitempty"`
	// Evidence is the directory that was kept because the verification failed.
	Evidence string `json:"evidence,omitempty"`
}

// add takes in what another stage found.
func (e *EngineResult) add(s *StageResult) {
	maps.Copy(e.Figures, s.Figures)
	addTo(&e.Verified, s.Verified)
	if s.LayerStats != nil {
		e.LayerStats = s.LayerStats
	}
}

// addTo adds what another verification found.
func addTo(v *openloop.Verification, found openloop.Verification) {
	v.Checked += found.Checked
	v.PointReads += found.PointReads
	v.Missing += found.Missing
	v.Wrong += found.Wrong
	v.Unreadable += found.Unreadable
	v.Examples = append(v.Examples, found.Examples...)
}

func (p *Pair) value(name, figure string) *float64 {
	for _, e := range p.Engines {
		if v, found := e.Figures[figure]; found && e.Engine == name {
			return &v
		}
	}
	return nil
}

func (p *Pair) compare(figures []Figure, against, name string) {
	for _, f := range figures {
		row := newRow(f, p.value(against, f.Key), p.value(name, f.Key))
		row.judge(f.Wanted)
		p.Figures = append(p.Figures, row)
	}
}

func (r *Report) sum() {
	for i, f := range r.figures {
		var rows []Row
		for _, p := range r.Pairs {
			rows = append(rows, p.Figures[i])
		}
		r.Median = append(r.Median, medians(f, rows))
	}
}

func (r *Report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// writePair writes one pair of several.
func (r *Report) writePair(w io.Writer, n int) error {
	t := text.NewWriter(w)
	first := r.Pairs[n].Engines[0].Engine
	if len(r.Pairs[n].Engines) > 1 {
		first += " first"
	}
	t.Printf("pair %d, %s\n\n", n+1, first)
	t.Columns(rows(r.Pairs[n].Figures, r.Config, false))
	t.Printf("\n")
	return t.Err()
}

func (r *Report) writeTable(w io.Writer) error {
	t := text.NewWriter(w)
	what := r.Config.worth()
	if len(r.Pairs) > 1 {
		what = "median of " + what
	}
	against := r.Config.Against
	if against == engine.Badger {
		against = "plain Badger"
	}
	t.Printf("%s: %s; the ratio is %s's value by %s's\n\n", r.Case, what, r.Config.Engine, against)
	t.Columns(rows(r.Median, r.Config, true))
	if r.Sustained > 0 {
		t.Printf("\nplain Badger sustains %s\n", text.Rate(r.Sustained))
	}
	t.Printf("\nchecked\n\n")
	for n, p := range r.Pairs {
		for _, e := range p.Engines {
			verification(t, n, e)
		}
	}
	return t.Err()
}

func rows(figures []Row, cfg Config, judged bool) [][]string {
	table := [][]string{{"figure", cfg.Against, cfg.Engine, "ratio"}}
	if judged {
		table[0] = append(table[0], "wanted", "met")
	}
	for _, f := range figures {
		row := []string{f.name, f.cell(f.Badger), f.cell(f.Badgerspill), "-"}
		if f.Ratio != nil {
			row[3] = ratioText(*f.Ratio)
		}
		if judged {
			row = append(row, f.Wanted, f.met())
		}
		table = append(table, row)
	}
	return table
}

func (r *Row) cell(value *float64) string {
	if value == nil {
		return "-"
	}
	return r.Unit.text(*value)
}

func (r *Row) met() string {
	switch {
	case r.Met == nil:
		return ""
	case *r.Met:
		return "yes"
	default:
		return "no"
	}
}

func verification(t *text.Writer, pair int, e *EngineResult) {
	who := fmt.Sprintf("pair %d, %s", pair+1, e.Engine)
	v := e.Verified
	if v.OK() {
		t.Printf("  %-20s  all %s keys looked for are there with a right value\n", who, text.Count(v.Checked))
		return
	}
	t.Printf("  %-20s  of %s keys looked for %s are missing, %s wrong, %s unreadable\n", who,
		text.Count(v.Checked), text.Count(v.Missing), text.Count(v.Wrong), text.Count(v.Unreadable))
	for _, example := range v.Examples {
		t.Printf("  %-20s    %s\n", "", example)
	}
	t.Printf("  %-20s    the database is kept in %s\n", "", e.Evidence)
}
