package badgerspill

import (
	"sync/atomic"
	"time"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/wbm"
)

// counters of a database, beside those of the pipeline.
type counters struct {
	replayedBytes, replayedEntries atomic.Int64
	coalesced                      atomic.Int64
	noSpace                        atomic.Int64
}

// SpillStats is what DB.SpillStats returns. Counters start at 0 with Open, those of the budget when
// its manager was made. Sizes are in bytes. Each field but the two errors is a metric, too: see
// Metrics, where each is explained.
type SpillStats struct {
	State     string           // "direct" or "spilling": where commits go now
	StateTime [2]time.Duration // in each state, by RouterState
	Tier      wbm.Tier         // of the budget, which several databases may share

	TierEntered [4]int64         // how often each tier was entered, by wbm.Tier
	TierTime    [4]time.Duration // in each tier, by wbm.Tier

	MemoryUsage, MemoryLimit int64 // of the whole budget
	MemoryInFlight           int64 // this database's commits on their way to Badger
	MemoryMemtables          int64 // in Badger's memtables, not in an SSTable yet
	MemorySpillIndex         int64 // the index of this database's spill, and its cache
	// in memtables that are flushed and held by open iterators; not counted in the usage
	MemoryPinned int64

	CommitsDirect  int64 // acknowledged by Badger
	CommitsHedged  int64 // sent to Badger, acknowledged by the spill
	CommitsSpilled int64 // appended to the spill
	CommitsBlocked int64 // waited for room
	CommitsSlowed  int64 // waited for their turn because the spill is filled beyond ReplayHighWater
	BlockedNow     int64 // wait for room now
	SlowedNow      int64 // wait for their turn now

	BlockedTime   time.Duration // that commits waited for room, summed
	SlowedTime    time.Duration // that commits waited for their turn, summed
	BlocksAvoided int64         // commits that the spill took when memory was short
	BlockTimeouts int64         // commits that failed with ErrWriteBlocked
	NoSpace       int64         // commits that failed with ErrNoSpace

	Stalls      int64            // how often the oldest commit in flight passed StallThreshold
	HandOvers   int64            // turns back to Badger
	SpillStarts map[string]int64 // turns to the spill by cause

	BytesSpilled    int64 // as written to segments, hedges included
	BytesReplayed   int64 // before compression
	EntriesReplayed int64 // that Badger got
	// left out of the replay, since a newer version had made them invisible to everybody
	EntriesCoalesced int64

	SpillBytes int64 // on disk now, files held by readers included
	// of SpillBytes, what is replayed and kept only by open transactions and their iterators
	SpillHeld int64
	// since when the oldest of them has kept such files; 0 = there is none. It is at least that old
	// itself
	OldestHolder  time.Duration
	SpillCapacity int64 // what SpillBytes may reach; 0 = no spill
	// commits in the spill that are not replayed; 0 = empty. Those of a chunk count until all of it
	// is
	SpillPending int64
	// of segments, on disk, that are not replayed; what of a chunk is in Badger does not count
	BytesPending  int64
	Segments      int           // that hold such commits
	OldestSpilled time.Duration // age of the oldest segment with such commits

	Append wbm.Latency // from the end of encoding to the acknowledgement by the spill

	// "idle", "waiting", "replaying", "paused", "backoff", "stopped" or "halted"
	ReplayState     string
	ReplayStateTime [7]time.Duration // in each state, by replay.State

	Health      HealthState // whether replay can go on
	HealthError error       // as DB.Health returns it

	// since Open: of Badger or of the spill, while replaying; each is tried again unless Health is
	// HealthStopped
	ReplayErrors int64
	ReplayError  error // the latest of them, nil if there was none

	// bytes per second before compression, pauses included, of the run under way, or the last one
	ReplayRate float64
	// share of its time that replay works at most, so that the foreground does not suffer; 1 = all
	ReplayDuty float64
	// that replay has paused in all: for memory, for the foreground, for ReplayMaxRate
	ReplayPausedTime time.Duration

	WriteRate float64 // bytes per second
	QuietRate float64 // below which it is quiet, in bytes per second, as configured or as learned
	// WriteRate has been below QuietRate for QuietWindow, and CommitRate below half of SpillRate
	Quiet bool

	CommitRate float64 // commits per second; 0 where SpillRate does not matter

	Subscribers int // calls of Subscribe that are under way
	// memory of updates that wait for the one that is furthest behind, or are in the hands of its
	// callback
	SubscriberBacklog int64
	SubscriberWaits   int64 // commits that waited for a subscriber

	Tree TreeInfo // the shape of Badger's tree, as DB.Tree returns it

	EventsDropped int64 // that the EventListener was too slow for
}

// SpillStats returns what the layer does and has done. It does not block and is safe for concurrent
// use.
func (db *DB) SpillStats() SpillStats {
	sp := db.spill.Stats()
	s := SpillStats{
		Tier:              db.manager.Tier(),
		TierEntered:       db.manager.TierEntered(),
		TierTime:          db.manager.TierTime(),
		MemoryUsage:       db.manager.Usage(),
		MemoryLimit:       db.manager.Limit(),
		MemoryInFlight:    db.account.UsageByKind(wbm.InFlight),
		MemoryMemtables:   db.account.UsageByKind(wbm.Memtable),
		MemorySpillIndex:  db.account.UsageByKind(wbm.SpillIndex),
		MemoryPinned:      db.account.Pinned(),
		CommitsDirect:     db.pipe.Counters.Direct.Load(),
		CommitsHedged:     db.pipe.Counters.Hedged.Load(),
		CommitsSpilled:    db.pipe.Counters.Spilled.Load(),
		CommitsBlocked:    sp.WritersBlocked,
		CommitsSlowed:     sp.CommitsSlowed,
		BlockedNow:        sp.Parked,
		SlowedNow:         sp.Slowed,
		BlockedTime:       sp.BlockedTime,
		SlowedTime:        sp.SlowedTime,
		BlocksAvoided:     sp.BlocksAvoided,
		BlockTimeouts:     sp.BlockTimeouts + db.pipe.Counters.BlockTimeouts.Load(),
		NoSpace:           db.counters.noSpace.Load(),
		Stalls:            db.pipe.Counters.Stalls.Load(),
		HandOvers:         db.pipe.Counters.HandOvers.Load(),
		SpillStarts:       map[string]int64{},
		BytesSpilled:      db.pipe.Counters.SpilledBytes.Load(),
		BytesReplayed:     db.counters.replayedBytes.Load(),
		EntriesReplayed:   db.counters.replayedEntries.Load(),
		EntriesCoalesced:  db.counters.coalesced.Load(),
		SpillCapacity:     db.spill.Capacity(),
		Append:            sp.AppendLatency,
		ReplayState:       replay.Idle.String(),
		WriteRate:         db.rate.Rate(),
		QuietRate:         db.rate.QuietRate(),
		Quiet:             db.rate.Quiet() && (db.commits == nil || db.commits.Quiet()),
		Subscribers:       int(db.publisher.count.Load()),
		SubscriberBacklog: db.publisher.backlog(),
		SubscriberWaits:   db.publisher.waits.Load(),
		Tree:              db.tree,
		EventsDropped:     db.events.Dropped(),
	}
	if e := db.health.now.Load(); e != nil {
		s.Health, s.HealthError = e.State, e
	}
	if db.commits != nil {
		s.CommitRate = db.commits.Rate()
	}
	state, spent := db.pipe.StateTime()
	s.State, s.StateTime = RouterState(state).String(), spent
	for c := range causes {
		if n := db.pipe.Counters.SpillStarts[c].Load(); n > 0 {
			s.SpillStarts[c.String()] = n
		}
	}
	if db.replayer != nil {
		st := db.replayer.Stats()
		s.ReplayState, s.ReplayStateTime = st.State.String(), st.StateTime
		s.ReplayErrors, s.ReplayError = st.Errors, st.LastError
		s.ReplayRate, s.ReplayDuty, s.ReplayPausedTime = st.Run.Rate(), st.Duty, st.PausedTime
	}
	if db.log != nil {
		st := db.log.State()
		if db.replayer != nil {
			s.BytesPending = db.feed.BytesPending(st.LiveBytes)
		}
		s.SpillBytes, s.SpillPending, s.Segments = st.DiskBytes, st.LiveBatches, st.LiveSegments
		s.SpillHeld = st.HeldBytes
		if st.HeldBytes > 0 {
			s.OldestHolder = time.Since(st.HeldSince)
		}
		if !st.OldestCreated.IsZero() {
			s.OldestSpilled = time.Since(st.OldestCreated)
		}
	}
	return s
}
