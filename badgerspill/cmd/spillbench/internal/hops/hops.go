package hops

import (
	"bytes"
	"fmt"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/google/pprof/profile"
)

// Hop is a step.
type Hop string

// The steps, in the order of a write's way.
const (
	Commit  Hop = "commit"  // transactions, admission, order, waiting; of the load, too
	Spill   Hop = "spill"   // append to the spill, and its index
	Keep    Hop = "keep"    // what the spill does in the background: indexes, syncs, removal
	Replay  Hop = "replay"  // read the spill, merge it, give it to Badger
	Intake  Hop = "intake"  // log and memtable of the store
	Flush   Hop = "flush"   // memtables to tables
	Compact Hop = "compact" // tables to tables
	Runtime Hop = "runtime" // garbage collection and scheduling that no step can be named for
	Other   Hop = "other"
)

// Hops returns all steps.
func Hops() []Hop { return []Hop{Commit, Spill, Keep, Replay, Intake, Flush, Compact, Runtime, Other} }

// rules say which step a function belongs to. Those of one function come from the most special to
// the most general.
var rules = []struct {
	part string // of the function's name
	hop  Hop
}{
	{"spillfile.(*Log).backgroundWork", Keep},
	{"spillfile.(*Log).lead", Spill},
	{"spillfile.(*Log).Commit", Spill},
	{"spillfile.(*Log).Enqueue", Spill},
	{"spillfile.(*Batch).", Spill},
	{"spillfile.(*window).", Replay},
	{"spillfile.(*Merge).", Replay},
	{"replay.(*Replayer).", Replay},
	{"badger/v4.(*DB).writeRequests", Intake},
	{"badger/v4.(*DB).doWrites", Intake},
	{"badger/v4.(*DB).flushMemtable", Flush},
	{"badger/v4.(*DB).handleMemTableFlush", Flush},
	{"badger/v4.(*levelsController).", Compact},
	// of flushes, too: they run in goroutines of their own
	{"badger/v4/table.(*Builder).handleBlock", Compact},
	{"pebble/v2.(*DB).flush", Flush},
	{"pebble/v2.(*DB).compact", Compact},
	{"pebble/v2/record.(*LogWriter).", Intake},
	{"pebble/v2.(*DB).commitApply", Intake},
	{"pebble/v2.(*DB).commitWrite", Intake},
	{"pebble/v2.(*DB).", Commit},
	{"badgerspill/badgerspill.(*DB).", Commit},
	{"badger/v4.(*Txn).", Commit},
	{"spillbench/internal/closedloop.", Commit},
	{"spillbench/internal/openloop.", Commit},
	{"runtime.gcBgMarkWorker", Runtime},
	{"runtime.bgsweep", Runtime},
	{"runtime.bgscavenge", Runtime},
	{"runtime.mcall", Runtime},
	{"runtime.mstart", Runtime},
}

// Of returns the step of a stack of functions, the innermost first.
func Of(stack []string) Hop {
	for _, function := range stack {
		for _, r := range rules {
			if strings.Contains(function, r.part) {
				return r.hop
			}
		}
	}
	return Other
}

// Record begins to take a profile of this process, of which there can be one at a time. stop ends
// it and returns the CPU time of each step; their sum is what the profiler has seen.
func Record() (stop func() (map[Hop]time.Duration, error), err error) {
	var raw bytes.Buffer
	if err := pprof.StartCPUProfile(&raw); err != nil {
		return nil, err
	}
	return func() (map[Hop]time.Duration, error) {
		pprof.StopCPUProfile()
		return split(&raw)
	}, nil
}

func split(raw *bytes.Buffer) (map[Hop]time.Duration, error) {
	p, err := profile.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("CPU profile: %w", err)
	}
	spent := map[Hop]time.Duration{}
	var stack []string
	for _, s := range p.Sample {
		stack = stack[:0]
		for _, l := range s.Location {
			for _, line := range l.Line {
				stack = append(stack, line.Function.Name)
			}
		}
		spent[Of(stack)] += time.Duration(s.Value[len(s.Value)-1]) // nanoseconds
	}
	return spent, nil
}
