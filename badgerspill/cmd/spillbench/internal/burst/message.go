package burst

import (
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// Job is what a child is told, as one JSON value on its standard input. The child ends when that is
// closed.
type Job struct {
	Engine string `json:"engine"`
	Dir    string `json:"dir"` // exists, and is empty or holds a copy of the base
	Config Config `json:"config"`
	Live   bool   `json:"live,omitempty"` // serve the engine's page, if it has one
	Fill   bool   `json:"fill,omitempty"` // make the base, and do nothing else
}

// Message is a line of JSON on a child's standard output: one of its fields is set.
type Message struct {
	Progress *Progress     `json:"progress,omitempty"`
	Result   *EngineResult `json:"result,omitempty"`
	Error    string        `json:"error,omitempty"`
	// Live is the address, on this machine, at which the child serves the engine's page.
	Live string `json:"live,omitempty"`
}

// Progress is sent once a second.
type Progress struct {
	Engine string         `json:"engine"`
	Stage  string         `json:"stage"`
	At     time.Duration  `json:"at_ns"`          // since the load began
	Tick   *openloop.Tick `json:"tick,omitempty"` // while there is load
	Layer  *engine.Layer  `json:"layer,omitempty"`
	Left   time.Duration  `json:"left_ns,omitempty"` // of the replay, 0 if that is not known
}

// The stages of a child.
const (
	stageFill   = "fill" // the base
	stageLoad   = "load"
	stageReplay = "replay" // the load is over, the spill is not empty
	stageClose  = "close"
	stageVerify = "verify"
)

// EngineResult is what one engine did.
type EngineResult struct {
	Engine string                 `json:"engine"`
	Run    int                    `json:"run"` // of Config.Pairs, from 1
	Phases []openloop.PhaseResult `json:"phases"`
	Reads  []openloop.PhaseResult `json:"reads,omitempty"` // by phase
	// until the last answer, and until the spill was empty
	Seconds  []Second              `json:"seconds"`
	Work     []PhaseWork           `json:"work"`
	Layer    *engine.Layer         `json:"layer,omitempty"`
	Spill    *SpillTimes           `json:"spill,omitempty"`
	Verified openloop.Verification `json:"verified"`
	// LastAnswer is when the last write was acknowledged, counted from the begin of the load.
	LastAnswer time.Duration `json:"last_answer_ns"`
	// WriteError is the first error that a write failed with.
	WriteError string `json:"write_error,omitempty"`
	// ReadError is the first error of a read: an acknowledged key that was not there, had another
	// value, or could not be read.
	ReadError string `json:"read_error,omitempty"`
	// sampled once a second, 0 if the platform does not tell
	PeakDisk int64         `json:"peak_disk_bytes"`
	Took     time.Duration `json:"took_ns"` // open, load, close and verification
}

// SpillTimes says when the spill was in use, counted from the begin of the load and sampled ten
// times a second.
type SpillTimes struct {
	Used  bool          `json:"used"` // false: the other fields are 0
	First time.Duration `json:"first_ns"`
	Empty time.Duration `json:"empty_ns"` // last time that it became empty
	// AfterBurst is Empty counted from the end of the burst phase, below 0 if it was empty before
	// that.
	AfterBurst time.Duration `json:"empty_after_burst_ns"`
	// By is what began the replay that emptied it, or the last one before the close, as
	// replay.Reason has it; empty if none began. Begun is when, and BegunAfterBurst the same
	// counted from the end of the burst phase.
	By              string        `json:"replay_by,omitempty"`
	Begun           time.Duration `json:"replay_begun_ns"`
	BegunAfterBurst time.Duration `json:"replay_begun_after_burst_ns"`
	// Drained tells that the time for replay was up and the rest was replayed at once.
	Drained bool `json:"drained"`
}

func (r *EngineResult) phase(name string) *openloop.PhaseResult { return phaseOf(r.Phases, name) }

func phaseOf(phases []openloop.PhaseResult, name string) *openloop.PhaseResult {
	for i := range phases {
		if phases[i].Phase == name {
			return &phases[i]
		}
	}
	return nil
}

// failed counts the writes that failed.
func (r *EngineResult) failed() int64 { return failures(r.Phases) }

// failedReads counts the reads that failed.
func (r *EngineResult) failedReads() int64 { return failures(r.Reads) }

func failures(phases []openloop.PhaseResult) int64 {
	n := int64(0)
	for _, p := range phases {
		n += p.Failed
	}
	return n
}
