package badgerspill

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/notify"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// SpillCause says why the router turned to the spill.
type SpillCause int

// The causes.
const (
	CauseMemory   = SpillCause(pipeline.CauseMemory)   // the memory tier is Spill
	CauseStall    = SpillCause(pipeline.CauseStall)    // the oldest in flight passed StallThreshold
	CauseQueue    = SpillCause(pipeline.CauseQueue)    // too many commits are in flight to Badger
	CauseRecovery = SpillCause(pipeline.CauseRecovery) // Open found commits in the spill
	CausePolicy   = SpillCause(pipeline.CausePolicy)   // SpillPolicy is Always
	CauseSpace    = SpillCause(pipeline.CauseSpace)    // Badger's volume is low, the spill's is not
	CauseRate     = SpillCause(pipeline.CauseRate)     // commits come at SpillRate or faster
	CauseHeld     = SpillCause(pipeline.CauseHeld)     // Badger gets no writes: see ErrBadgerHeld
	causes        = SpillCause(pipeline.Causes)
)

// String returns the cause in a word.
func (c SpillCause) String() string {
	return [...]string{"memory", "stall", "queue", "recovery", "policy", "space", "rate", "held"}[c]
}

// StallCause says what held Badger up.
type StallCause int

// The causes, the most exact last.
const (
	// memtables have room: compaction, or somebody else, has the CPU or the disk
	StallBusy = StallCause(host.Busy)
	// all memtables are full, and the flusher is behind
	StallMemtables = StallCause(host.MemtablesFull)
	// and the flusher waits for compaction: level 0 has NumLevelZeroTablesStall tables
	StallLevelZero = StallCause(host.LevelZeroFull)
)

// String returns the cause in a word.
func (c StallCause) String() string {
	return [...]string{"busy", "memtables", "level-0"}[c]
}

// EventListener is told of what the layer does. Every field may be nil; nothing is computed for one
// that is.
//
// Events are delivered one at a time, in the order in which things happened, by a goroutine of the
// layer that holds no locks. So a listener may use the database, SpillStats, commits and Drain
// included, and may block. It must not call Close, which waits until all events are delivered;
// after Close has returned there are none. The first may come before Open has returned.
//
// Nothing waits for a listener: one that is slower than the events gets them late, and when 4,096
// wait for it, further ones are left out: what comes in numbers (segments, ReplayProgress,
// WriterBlocked) already when half as many wait. Of events that come in pairs both are left out or
// neither. SpillStats.EventsDropped counts them.
type EventListener struct {
	// TierChange: the budget went from one tier to another. Up to some thousand times a second when
	// usage swings around a limit. Of a budget that databases share each of them is told.
	TierChange func(TierChangeInfo)

	// StallBegin and StallEnd come in pairs, with nothing but other events between: the oldest
	// commit in flight to Badger passed StallThreshold while commits went to Badger, and Badger has
	// answered all that was in flight. Seldom more than once a second, since commits go to the
	// spill in between.
	StallBegin func(StallInfo)
	StallEnd   func(StallInfo)

	// SpillBegin and HandOver alternate. SpillBegin: commits go to the spill from here on; once
	// each time, and at Open if the spill holds commits. HandOver: they go to Badger again. A
	// database that is closed before has no HandOver.
	SpillBegin func(SpillBeginInfo)
	HandOver   func(HandOverInfo)
	// OpenProgress: how far Open has come. For each of its phases one at its begin, at most ten a
	// second, and one with Done; a phase that fails has none.
	OpenProgress func(OpenProgressInfo)
	// DrainProgress: how far replay has come while somebody waits for it: Drain, Close, and what
	// else replays first. At most ten a second, and one with Done when nothing is left.
	DrainProgress func(DrainProgressInfo)

	// SegmentCreated: a segment of the spill took its first commit. SegmentSealed: it takes no
	// more. SegmentDropped: all of it is in Badger, synced, or was dropped by the user.
	// SegmentRemoved: its file is gone, which readers may put off. Each once a segment, in this
	// order; at the rate of writes divided by the size of a segment. Of segments that Open finds
	// only what happens to them later is told.
	SegmentCreated func(SegmentInfo)
	SegmentSealed  func(SegmentInfo)
	SegmentDropped func(SegmentInfo)
	SegmentRemoved func(SegmentInfo)

	// ReplayBegin and ReplayEnd come in pairs: a run of replay began and ended, for whatever
	// reason; after an error, up to ten a second. ReplayProgress comes between them, after each
	// batch: up to some hundred times a second.
	ReplayBegin    func(replay.Run)
	ReplayProgress func(replay.Run)
	ReplayEnd      func(replay.Run)

	// WriterBlocked and WriterReleased come in pairs that carry the same Writer: a commit begins to
	// wait because memory and the spill are both exhausted, and its wait is over, whether it found
	// room or not. Once for each such wait, of which thousands may be under way. A commit that
	// BlockTimeout tells not to wait, or that is merely slowed (CommitsSlowed), has none.
	WriterBlocked  func(WriterBlockedInfo)
	WriterReleased func(WriterReleasedInfo)

	// HealthChange: replay cannot go on, or can again; see HealthState. Once each time.
	HealthChange func(HealthInfo)

	// BackgroundError: something failed that no caller waits for, or that callers got in another
	// form. It is tried again, or done without. Each failure, up to ten a second; the layer also
	// logs it, though not each time.
	BackgroundError func(BackgroundErrorInfo)
}

// TierChangeInfo belongs to EventListener.TierChange.
type TierChangeInfo struct {
	Old, New     wbm.Tier // of the whole budget, which several databases may share
	Usage, Limit int64    // of the budget in bytes; Usage as it was a moment later
}

// StallInfo belongs to EventListener.StallBegin and StallEnd.
type StallInfo struct {
	// Cause is as far as it was known when the stall was seen; that of StallEnd may be more exact.
	Cause    StallCause
	Commits  int           // in flight to Badger when the stall was seen
	Duration time.Duration // since the oldest of them was sent
}

// SpillBeginInfo belongs to EventListener.SpillBegin.
type SpillBeginInfo struct {
	Cause  SpillCause // why
	Hedged int        // commits in flight to Badger that were appended to the spill as well
}

// HandOverInfo belongs to EventListener.HandOver.
type HandOverInfo struct {
	Held    time.Duration // how long writers were held up by it
	Spilled time.Duration // since SpillBegin
	// Dropped: the spill is empty because what it held was to be dropped, by DropAll for instance.
	Dropped bool
	// Err: the spill could not take its first commits, and Badger has got them instead. nil
	// otherwise.
	Err error
}

// SegmentInfo belongs to the events of segments.
type SegmentInfo struct {
	Segment uint64 // its number
	Path    string // of its file
	Bytes   int64  // its size on disk at that moment, the index aside
}

// WriterBlockedInfo belongs to EventListener.WriterBlocked.
type WriterBlockedInfo struct {
	Writer  uint64 // numbers the wait, from 1
	Bytes   int64  // of the memory budget that the commit needs, if it goes to Badger
	Waiting int64  // how many commits wait, this one included
}

// WriterReleasedInfo belongs to EventListener.WriterReleased.
type WriterReleasedInfo struct {
	Writer  uint64        // as WriterBlocked had it
	Bytes   int64         // likewise
	Waiting int64         // how many commits still wait
	Waited  time.Duration // how long this one did
	Spilled bool          // the room that it found is in the spill, not in memory
	// Err is nil if there was room. It is ErrWriteBlocked after BlockTimeout, and ErrBlockedWrites
	// if the database was closed. It matches ErrNoSpace if a disk got low, when the commit may
	// still go to a spill on another one, and ErrReplayStopped if replay stopped, when it still
	// takes what room there is.
	Err error
}

// BackgroundErrorInfo belongs to EventListener.BackgroundError.
type BackgroundErrorInfo struct {
	Op  string // what failed, as "replay"
	Err error  // why
}

// TeeEventListener returns a listener that passes each event to a, then to b. Either may be nil.
// Both are read when it is made.
func TeeEventListener(a, b *EventListener) *EventListener {
	if a == nil {
		a = &EventListener{}
	}
	tee := *a
	if b == nil {
		return &tee
	}
	fields := reflect.ValueOf(&tee).Elem()
	for i := range fields.NumField() {
		first, second := reflect.ValueOf(*a).Field(i), reflect.ValueOf(*b).Field(i)
		switch {
		case second.IsNil():
		case first.IsNil():
			fields.Field(i).Set(second)
		default:
			fields.Field(i).Set(reflect.MakeFunc(first.Type(), func(info []reflect.Value) []reflect.Value {
				first.Call(info)
				return second.Call(info)
			}))
		}
	}
	return &tee
}

func (e *events) tier(old, new wbm.Tier, m *wbm.WriteBufferManager) {
	if e.to.TierChange != nil {
		notify.Deliver(e.Queue, e.to.TierChange, TierChangeInfo{old, new, m.Usage(), m.Limit()}, notify.Rare)
	}
}

func (e *events) stallBegin(s *pipeline.Stall) {
	s.Told = notify.Begin(e.Queue, e.to.StallBegin, stallInfo(s), e.to.StallEnd != nil, notify.Rare)
}

func (e *events) stallEnd(s *pipeline.Stall) {
	info := stallInfo(s)
	e.recent.note("StallEnd", info)
	notify.End(e.Queue, e.to.StallEnd, info, s.Told)
}

func stallInfo(s *pipeline.Stall) StallInfo {
	return StallInfo{StallCause(s.Cause), s.Commits, s.Lasted}
}

func (e *events) spillBegin(cause SpillCause, hedged int) {
	info := SpillBeginInfo{cause, hedged}
	e.recent.note("SpillBegin", info)
	notify.Deliver(e.Queue, e.to.SpillBegin, info, notify.Rare)
}

func (e *events) handOver(info HandOverInfo) {
	e.recent.note("HandOver", info)
	notify.Deliver(e.Queue, e.to.HandOver, info, notify.Rare)
}

func (e *events) segment(ev spillfile.Event) {
	var f func(SegmentInfo)
	switch ev.Kind {
	case spillfile.SegmentCreated:
		f = e.to.SegmentCreated
	case spillfile.SegmentSealed:
		f = e.to.SegmentSealed
	case spillfile.SegmentDropped:
		f = e.to.SegmentDropped
	case spillfile.SegmentRemoved:
		f = e.to.SegmentRemoved
	}
	notify.Deliver(e.Queue, f, SegmentInfo{ev.Segment, ev.File, ev.Bytes}, notify.Often)
}

// replayBegin and the other two are called by the replayer's goroutine only.
func (e *events) replayBegin(r replay.Run) {
	e.recent.note("ReplayBegin", r)
	e.replayTold = notify.Begin(e.Queue, e.to.ReplayBegin, r, e.to.ReplayEnd != nil, notify.Rare)
}

func (e *events) replayProgress(r replay.Run) {
	notify.Deliver(e.Queue, e.to.ReplayProgress, r, notify.Often)
}

func (e *events) replayEnd(r replay.Run) {
	e.recent.note("ReplayEnd", r)
	notify.End(e.Queue, e.to.ReplayEnd, r, e.replayTold)
}

func (e *events) healthChange(info HealthInfo) {
	e.recent.note("HealthChange", info)
	notify.Deliver(e.Queue, e.to.HealthChange, info, notify.Rare)
}

// writerBlocked returns what is to be told at the end of the wait, nil if nobody listens.
func (e *events) writerBlocked(bytes, waiting int64) (released func(WriterReleasedInfo)) {
	if e.to.WriterBlocked == nil && e.to.WriterReleased == nil {
		return nil
	}
	writer := e.writers.Add(1)
	told := notify.Begin(e.Queue, e.to.WriterBlocked, WriterBlockedInfo{writer, bytes, waiting}, e.to.WriterReleased != nil, notify.Often)
	return func(info WriterReleasedInfo) {
		info.Writer, info.Bytes = writer, bytes
		notify.End(e.Queue, e.to.WriterReleased, info, told)
	}
}

// writerBlocked is wbm.SpilloverOptions.OnBlocked.
func (db *DB) writerBlocked(r wbm.Request, waiting int64) func(time.Duration, int64, wbm.Outcome, error) {
	db.narrator.writerBlocked()
	released := db.events.writerBlocked(r.Memory, waiting)
	return func(took time.Duration, waiting int64, way wbm.Outcome, err error) {
		db.narrator.writerReleased(took, err)
		if released == nil {
			return
		}
		if err != nil {
			low, stopped := db.room.Low(), db.health.stopped()
			switch {
			case errors.Is(err, wbm.ErrClosed), db.closing.Load():
				err = ErrBlockedWrites
			case errors.Is(err, context.Canceled) && low != nil:
				err = low
			case errors.Is(err, context.Canceled) && stopped != nil:
				err = stopped
			}
		}
		released(WriterReleasedInfo{Waiting: waiting, Waited: took, Spilled: err == nil && way == wbm.Spilled, Err: err})
	}
}
