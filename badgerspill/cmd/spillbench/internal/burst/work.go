package burst

import (
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/usage"
)

// PhaseAfter is the time after the last phase, until the database was closed.
const PhaseAfter = "after"

// PhaseWork is what the process of an engine did during a phase, the load generator's part
// included. Background work that a phase has caused may fall into a later one. The last phase is
// over with its last answer if that comes early. What the platform does not tell is nil.
type PhaseWork struct {
	Phase   string         `json:"phase"` // or PhaseAfter
	CPU     *time.Duration `json:"cpu_ns,omitempty"`
	Written *int64         `json:"written_bytes,omitempty"` // to storage, see usage.Work
	// commits that waited for room; nil without a layer
	Blocked *int64 `json:"commits_blocked,omitempty"`
	// commits that were acknowledged by Badger, and commits that were by the spill, hedged ones
	// included; nil without a layer
	Direct  *int64 `json:"commits_direct,omitempty"`
	Spilled *int64 `json:"commits_spilled,omitempty"`

	Allocated int64 `json:"allocated_bytes"` // on the heap, freed or not
	// PeakHeap is the most that objects took on the heap, those included that are not swept yet. It
	// is looked at ten times a second, as long as there is load.
	PeakHeap int64 `json:"peak_heap_bytes"`
}

// meter measures phase by phase.
type meter struct {
	schedule *openloop.Schedule
	phases   []string
	work     []PhaseWork // of the phases that are over
	before   reading
	peakHeap int64 // since the phase began
}

// reading is what is counted since the process was started.
type reading struct {
	work             usage.Work
	hasCPU, hasFiles bool
	blocked          int64
	direct, spilled  int64
	heap             usage.Heap
}

func newMeter(schedule *openloop.Schedule, phases []openloop.Phase) *meter {
	m := &meter{schedule: schedule}
	for _, p := range phases {
		if p.Duration > 0 {
			m.phases = append(m.phases, p.Name)
		}
	}
	return m
}

func (m *meter) begin() { m.before = read(nil) }

// look is called now and then.
func (m *meter) look() { m.peakHeap = max(m.peakHeap, usage.InHeap().InUse) }

// next returns when the phase that is on is over, counted from the begin of the load.
func (m *meter) next() time.Duration {
	if len(m.work) == len(m.phases) {
		return 24 * time.Hour // longer than any load
	}
	return m.schedule.EndOf(m.phases[len(m.work)])
}

// endPhase is called when the phase that is on is over, with what the layer counts, nil without
// one.
func (m *meter) endPhase(layer *engine.Layer) { m.end(m.phases[len(m.work)], layer) }

// endLoad is called when every write is answered, which may be before the last phase is over.
func (m *meter) endLoad(layer *engine.Layer) {
	for len(m.work) < len(m.phases) {
		m.endPhase(layer)
	}
}

// finish is called when the database is closed.
func (m *meter) finish(layer *engine.Layer) []PhaseWork {
	m.end(PhaseAfter, layer)
	return m.work
}

func (m *meter) end(phase string, layer *engine.Layer) {
	now := read(layer)
	w := PhaseWork{
		Phase:     phase,
		Allocated: now.heap.Allocated - m.before.heap.Allocated,
		PeakHeap:  max(m.peakHeap, now.heap.InUse),
	}
	did := now.work.Sub(m.before.work)
	if now.hasCPU {
		w.CPU = &did.CPU
	}
	if now.hasFiles {
		w.Written = &did.Written
	}
	if layer != nil {
		blocked, direct, spilled := now.blocked-m.before.blocked, now.direct-m.before.direct, now.spilled-m.before.spilled
		w.Blocked, w.Direct, w.Spilled = &blocked, &direct, &spilled
	}
	m.work = append(m.work, w)
	m.before, m.peakHeap = now, 0
}

func read(layer *engine.Layer) reading {
	// An error is a platform that does not tell. CPU time comes first.
	work, err := usage.Now()
	r := reading{work: work, hasCPU: work.CPU > 0, hasFiles: err == nil, heap: usage.InHeap()}
	if layer != nil {
		r.blocked, r.direct, r.spilled = layer.CommitsBlocked, layer.CommitsDirect, layer.CommitsHedged+layer.CommitsSpilled
	}
	return r
}

// work returns what was measured of a phase, nil if nothing was.
func (r *EngineResult) work(phase string) *PhaseWork {
	for i := range r.Work {
		if r.Work[i].Phase == phase {
			return &r.Work[i]
		}
	}
	return nil
}

// direct returns how many of the commits of a phase Badger acknowledged, and of how many; false if
// that was not counted, or there were none.
func (r *EngineResult) direct(phase string) (direct, all int64, ok bool) {
	w := r.work(phase)
	if w == nil || w.Direct == nil || w.Spilled == nil {
		return 0, 0, false
	}
	direct, all = *w.Direct, *w.Direct+*w.Spilled
	return direct, all, all > 0
}

// cpu returns what the process took of the processors from the begin of the load until the database
// was closed, 0 if the platform does not tell.
func (r *EngineResult) cpu() (sum time.Duration) {
	for _, w := range r.Work {
		if w.CPU != nil {
			sum += *w.CPU
		}
	}
	return sum
}
