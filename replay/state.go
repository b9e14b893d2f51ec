package replay

import (
	"fmt"
	"time"
)

// State is what the replayer is doing.
type State int32

//	         Wake, data             trigger
//	Idle ─────────────► Waiting ──────────────► Replaying ◄──────► Paused
//	 ▲                   ▲ ▲  ▲                   │  │   MayReplay    │
//	 │ nothing pending   │ │  └───────────────────┘  │                │
//	 └───────────────────┘ │   end of run: drained,  │ error          │ reason gone,
//	                       │   or reason gone        ▼                │ drained elsewhere
//	                       ├───────────────────── Backoff             │
//	                       │      delay over         │ a lasting error│
//	                       │                         ▼                │
//	                       ├────────────────────── Halted             │
//	                       │      Resume                              │
//	                       └──────────────────────────────────────────┘
//
// A run is the stay in Replaying and Paused between two stays elsewhere. It ends with a
// checkpoint, however it ends. Stop leads out of every state.
const (
	// Idle is an empty spill: nothing runs, not even a timer, until Wake or Drain.
	Idle State = iota
	// Waiting is a spill with data, and the time to replay it has not come.
	Waiting
	// Replaying is a run under way.
	Replaying
	// Paused is a run that waits for memory. The short rests that it takes to give way to the
	// foreground are part of Replaying.
	Paused
	// Backoff is the delay after an error.
	Backoff
	// Stopped is after Stop.
	Stopped
	// Halted is after an error that does not pass by itself, until Resume.
	Halted
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Idle:
		return "idle"
	case Waiting:
		return "waiting"
	case Replaying:
		return "replaying"
	case Paused:
		return "paused"
	case Backoff:
		return "backoff"
	case Stopped:
		return "stopped"
	case Halted:
		return "halted"
	default:
		return fmt.Sprintf("state(%d)", int32(s))
	}
}

// Reason is why a run goes on.
type Reason int

// The reasons, the weakest first.
const (
	// ReasonNone is no reason to replay.
	ReasonNone Reason = iota
	// ReasonQuiet is a write rate that stayed low. A burst ends the run.
	ReasonQuiet
	// ReasonAge is data older than MaxSpillAge.
	ReasonAge
	// ReasonHighWater is a spill filled beyond HighWater.
	ReasonHighWater
	// ReasonSlowed is a spill filled beyond HighWater, for which commits wait.
	ReasonSlowed
	// ReasonFull is a spill that takes no more.
	ReasonFull
	// ReasonUnfinished is an empty spill whose hand-over or checkpoint failed before.
	ReasonUnfinished
	// ReasonDrain is a caller of Drain.
	ReasonDrain
)

// String returns the reason's name in lower case.
func (r Reason) String() string {
	switch r {
	case ReasonNone:
		return "none"
	case ReasonQuiet:
		return "quiet"
	case ReasonAge:
		return "age"
	case ReasonHighWater:
		return "high-water"
	case ReasonSlowed:
		return "slowed"
	case ReasonFull:
		return "full"
	case ReasonUnfinished:
		return "unfinished"
	case ReasonDrain:
		return "drain"
	default:
		return fmt.Sprintf("reason(%d)", int(r))
	}
}

// Run describes one run, so far or as a whole.
type Run struct {
	// Reason is the one for which the run goes on, at its begin the one that started it.
	Reason Reason
	// Bytes, before compression, and Entries went to Badger.
	Bytes, Entries int64
	// Duration includes pauses.
	Duration time.Duration
	// Drained tells that the run ended because the spill is empty and handed over, or was caught up
	// with where it is not handed over (see Log.HandOver).
	Drained bool
	// Err is the error that ended the run, nil if none did.
	Err error
}

// Rate returns the run's mean throughput in bytes per second, 0 before the first batch.
func (r Run) Rate() float64 {
	if r.Duration <= 0 {
		return 0
	}
	return float64(r.Bytes) / r.Duration.Seconds()
}

// Stats is a snapshot of what the replayer has done since it was made.
type Stats struct {
	// State is what the replayer is doing.
	State State
	// StateTime is how long each state has lasted in all, indexed by State, the present one up to
	// now.
	StateTime [Halted + 1]time.Duration
	// Bytes, before compression, and Entries went to Badger.
	Bytes, Entries int64
	// Runs were begun, Pauses are how often one waited for memory.
	Runs, Pauses int64
	// PausedTime is how long runs paused in all: for memory, for the foreground, for the ceiling.
	PausedTime time.Duration
	// Duty is the share of its time, above 0 and at most 1, that the latest batch's run was to
	// work for the foreground's sake. The ceiling, if there is one, may have left it less.
	Duty float64
	// Checkpoints and HandOvers that succeeded.
	Checkpoints, HandOvers int64
	// Errors is how often an operation failed.
	Errors int64
	// LastError is the latest of them. It stays after the operation has succeeded again.
	LastError error
	// Halted is the error for which the state is Halted, or will be as soon as the run has ended;
	// nil if there is none.
	Halted error
	// Run is the run under way, or the last one.
	Run Run
}
