package openloop

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// PhaseResult is what became of the writes that were due in one phase, whenever they were sent, or
// of the reads: then acknowledged is answered with the right value, and failed also answered with
// another one, or with none.
//
// Every write that was due is exactly one of acknowledged, failed and unsent. The percentiles are
// over the acknowledged ones: a write that was never sent has no latency, and calling its age one
// would be an invention. They must therefore be read together with Unsent and Failed. Max is exact,
// percentiles are rounded up to a microsecond and then exact to four digits.
type PhaseResult struct {
	Phase    string        `json:"phase"`
	Duration time.Duration `json:"duration_ns"`

	Due    int64 `json:"due"`
	Acked  int64 `json:"acknowledged"`
	Failed int64 `json:"failed"`
	Unsent int64 `json:"unsent"`

	// AchievedRate counts only writes that were due in the phase and acknowledged before it was
	// over. A backlog that is worked off later does not improve it, and a phase that begins with a
	// backlog of the one before suffers for it.
	OfferedRate  float64 `json:"offered_per_s"`
	AchievedRate float64 `json:"achieved_per_s"`

	P50   time.Duration `json:"p50_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p999_ns"`
	P9999 time.Duration `json:"p9999_ns"`
	Max   time.Duration `json:"max_ns"`

	// WokeLate is the generator's own part in the latencies: how late a writer that waited for its
	// slot woke up.
	WokeLateP50 time.Duration `json:"woke_late_p50_ns"`
	WokeLateP99 time.Duration `json:"woke_late_p99_ns"`
}

// Results sums the writes up, one result a phase.
func (r *Run) Results() []PhaseResult { return r.results(false) }

// ReadResults sums the reads up, one result a phase; nil without reads.
func (r *Run) ReadResults() []PhaseResult {
	if r.reads == nil {
		return nil
	}
	return r.results(true)
}

func (r *Run) results(reads bool) []PhaseResult {
	var results []PhaseResult
	for i := range r.cfg.Schedule.spans {
		results = append(results, r.result(&r.cfg.Schedule.spans[i], reads))
	}
	return results
}

// ResultBetween sums up the writes that were due from from until to, counted from the begin of the
// run: a part of one phase. It may be asked for after Do has returned.
func (r *Run) ResultBetween(from, to time.Duration) PhaseResult {
	part := *r.cfg.Schedule.spanAt(from)
	part.last = min(part.last, r.cfg.Schedule.firstFrom(to))
	part.first = min(max(part.first, r.cfg.Schedule.firstFrom(from)), part.last)
	part.begin, part.end = from, to
	part.Duration = to - from
	return r.result(&part, false)
}

func (r *Run) result(sp *span, reads bool) PhaseResult {
	res := PhaseResult{Phase: sp.Name, Duration: sp.Duration}
	latency, woke := newWindow(), newWindow()
	inPhase := int64(0)
	for slot := sp.first; slot < sp.last; slot++ {
		if r.reading(slot) != reads {
			continue
		}
		res.Due++
		if ns := r.wokeNs[slot]; ns > 0 {
			woke.record(time.Duration(ns))
		}
		o := r.outcome[slot].Load()
		switch o {
		case outcomeUnsent:
			res.Unsent++
			continue
		case outcomeFailed:
			res.Failed++
			continue
		}
		res.Acked++
		took := time.Duration(o)
		latency.record(took)
		res.Max = max(res.Max, took)
		if r.cfg.Schedule.Due(slot)+took <= sp.end {
			inPhase++
		}
	}
	if sp.Duration > 0 {
		res.OfferedRate = float64(res.Due) / sp.Duration.Seconds()
		res.AchievedRate = float64(inPhase) / sp.Duration.Seconds()
	}
	// The histogram answers with the upper end of a bucket, which may lie above every value in it.
	percentile := func(percent float64) time.Duration { return min(latency.quantile(percent), res.Max) }
	res.P50, res.P99, res.P999, res.P9999 = percentile(50), percentile(99), percentile(99.9), percentile(99.99)
	res.WokeLateP50, res.WokeLateP99 = woke.quantile(50), woke.quantile(99)
	return res
}

// window is a histogram of durations in microseconds.
type window struct{ h *hdrhistogram.Histogram }

// windowMax is above any latency that a run can see: an hour of each phase and an hour of backlog.
const windowMax = 24 * time.Hour

func newWindow() *window {
	return &window{hdrhistogram.New(1, windowMax.Microseconds(), 4)}
}

func (w *window) reset() { w.h.Reset() }

func (w *window) record(d time.Duration) {
	us := (d + time.Microsecond - 1) / time.Microsecond
	// The only error is a value out of range.
	_ = w.h.RecordValue(min(int64(us), windowMax.Microseconds()))
}

func (w *window) quantile(percent float64) time.Duration {
	if w.h.TotalCount() == 0 {
		return 0
	}
	return time.Duration(w.h.ValueAtQuantile(percent)) * time.Microsecond
}
