package burst

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// Ratio is plain Badger's latency as a multiple of badgerspill's: above 1, badgerspill was faster.
// It is the median over the runs. A percentile that one of the engines does not have in any run,
// because it acknowledged nothing in the phase, makes it 0.
type Ratio struct {
	Phase string  `json:"phase"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	P9999 float64 `json:"p9999"`
	Max   float64 `json:"max"`
}

// Multiple compares two engines in the burst phase, or in the first phase that there is: what the
// one has as a multiple of what the other has, below 1 if it is faster or takes less. It is the
// median over the runs of the ratio in each; 0 if there is none.
type Multiple struct {
	Engine     string  `json:"engine"`
	Of         string  `json:"of"`         // the other engine
	Operations string  `json:"operations"` // writes or reads, that the latencies are of
	P50        float64 `json:"p50"`
	P99        float64 `json:"p99"`
	P9999      float64 `json:"p9999"`
	Max        float64 `json:"max"`

	// Of the processes, whatever the operations. CPU is that of all phases until the database is
	// closed.
	CPU       float64 `json:"cpu"`
	Allocated float64 `json:"allocated"`
	PeakHeap  float64 `json:"peak_heap"`
}

const (
	writes = "writes"
	reads  = "reads"
)

// compare fills in Ratios and Multiples.
func (r *Report) compare() {
	ran := r.first()
	has := func(name string) bool {
		return slices.ContainsFunc(ran, func(e *EngineResult) bool { return e.Engine == name })
	}
	if has(Badger) && has(Badgerspill) {
		for _, p := range ran[0].Phases {
			r.Ratios = append(r.Ratios, r.ratio(p.Phase))
		}
	}
	if has(Badgerspill) {
		for _, e := range ran {
			if e.Engine != Badgerspill {
				r.addMultiples(Badgerspill, e.Engine)
			}
		}
	}
	if has(Badger) {
		for _, e := range ran {
			if e.Engine != Badgerspill && e.Engine != Badger {
				r.addMultiples(e.Engine, Badger)
			}
		}
	}
}

func (r *Report) ratio(phase string) Ratio {
	of := func(value func(*openloop.PhaseResult) time.Duration) float64 {
		return r.medianRatio(Badger, Badgerspill, func(e *EngineResult) float64 { return latency(e.phase(phase), value) })
	}
	return Ratio{Phase: phase, P50: of(p50), P99: of(p99), P999: of(p999), P9999: of(p9999), Max: of(slowest)}
}

func (r *Report) addMultiples(name, other string) {
	phase := r.mainPhase()
	of := func(value func(*EngineResult) float64) float64 { return r.medianRatio(name, other, value) }
	add := func(operations string, phases func(*EngineResult) []openloop.PhaseResult) {
		lat := func(value func(*openloop.PhaseResult) time.Duration) float64 {
			return of(func(e *EngineResult) float64 { return latency(phaseOf(phases(e), phase), value) })
		}
		r.Multiples = append(r.Multiples, Multiple{
			Engine: name, Of: other, Operations: operations,
			P50: lat(p50), P99: lat(p99), P9999: lat(p9999), Max: lat(slowest),
			CPU: of(func(e *EngineResult) float64 { return float64(e.cpu()) }),
			Allocated: of(func(e *EngineResult) float64 {
				if w := e.work(phase); w != nil {
					return float64(w.Allocated)
				}
				return 0
			}),
			PeakHeap: of(func(e *EngineResult) float64 {
				if w := e.work(phase); w != nil {
					return float64(w.PeakHeap)
				}
				return 0
			}),
		})
	}
	add(writes, func(e *EngineResult) []openloop.PhaseResult { return e.Phases })
	if r.Config.Reads > 0 {
		add(reads, func(e *EngineResult) []openloop.PhaseResult { return e.Reads })
	}
}

func p50(p *openloop.PhaseResult) time.Duration     { return p.P50 }
func p99(p *openloop.PhaseResult) time.Duration     { return p.P99 }
func p999(p *openloop.PhaseResult) time.Duration    { return p.P999 }
func p9999(p *openloop.PhaseResult) time.Duration   { return p.P9999 }
func slowest(p *openloop.PhaseResult) time.Duration { return p.Max }

func latency(p *openloop.PhaseResult, value func(*openloop.PhaseResult) time.Duration) float64 {
	if p == nil || p.Acked == 0 {
		return 0
	}
	return float64(value(p))
}

// medianRatio returns the median over the runs of what one engine has by what the other has in the
// same run. Runs in which either has nothing do not count; 0 if none does.
func (r *Report) medianRatio(name, other string, value func(*EngineResult) float64) float64 {
	var ratios []float64
	for run := 0; run <= r.Config.Pairs; run++ {
		a, b := r.result(name, run), r.result(other, run)
		if a == nil || b == nil {
			continue
		}
		if x, y := value(a), value(b); x > 0 && y > 0 {
			ratios = append(ratios, x/y)
		}
	}
	return median(ratios)
}

func (r *Report) result(name string, run int) *EngineResult {
	for _, e := range r.Engines {
		if e.Engine == name && e.Run == run {
			return e
		}
	}
	return nil
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// mainPhase is the burst phase, or the first phase that there is.
func (r *Report) mainPhase() string {
	if r.Config.Burst == 0 {
		for _, p := range r.Config.phases() {
			if p.Duration > 0 {
				return p.Name
			}
		}
	}
	return PhaseBurst
}

// showsMultiples is false where the ratios by phase say the same.
func (r *Report) showsMultiples() bool {
	return len(r.Multiples) > 0 && (r.Config.Pairs > 1 || r.Config.Reads > 0 || len(r.first()) != 2 || len(r.Ratios) == 0)
}

func (r *Report) medianText() string {
	if r.Config.Pairs > 1 {
		return fmt.Sprintf(", median of %d runs", r.Config.Pairs)
	}
	return ""
}

func (r *Report) multipleRows() [][]string {
	rows := [][]string{{"engine", "of", "latency of", "p50", "p99", "p99.99", "max", "CPU", "allocated", "peak heap"}}
	for _, m := range r.Multiples {
		row := []string{m.Engine, m.Of, m.Operations}
		for _, x := range []float64{m.P50, m.P99, m.P9999, m.Max, m.CPU, m.Allocated, m.PeakHeap} {
			row = append(row, multipleText(x))
		}
		rows = append(rows, row)
	}
	return rows
}

func (r *Report) workRows() [][]string {
	phase := r.mainPhase()
	rows := [][]string{append(r.engineCells("phase", "engine", "run"), "CPU", "allocated", "peak heap", "CPU until closed")}
	for _, e := range r.byEngine() {
		w := e.work(phase)
		if w == nil {
			continue
		}
		cpu, all := "-", "-"
		if w.CPU != nil {
			cpu, all = text.Seconds(*w.CPU), text.Seconds(e.cpu())
		}
		rate := "-"
		if p := e.phase(phase); p != nil && p.Duration > 0 {
			rate = text.Bytes(int64(float64(w.Allocated)/p.Duration.Seconds())) + "/s"
		}
		rows = append(rows, append(r.engineCells(phase, e.Engine, fmt.Sprint(e.Run)), cpu, rate, text.Bytes(w.PeakHeap), all))
	}
	return rows
}

func ratioText(x float64) string {
	if x == 0 {
		return "-"
	}
	return text.Digits(x) + "x"
}

// multipleText shows three significant digits of numbers below 1, too.
func multipleText(x float64) string {
	if x <= 0 || x >= 0.9995 {
		return ratioText(x)
	}
	return strconv.FormatFloat(x, 'f', 2-int(math.Floor(math.Log10(x))), 64) + "x"
}
