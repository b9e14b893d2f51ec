package badgerspill

import (
	"fmt"
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/notify"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/wbm"
)

// progressLines is how often a run of replay that goes on is worth a line.
const progressLines = 10 * time.Second

// NewLoggingListener returns a listener that logs events through a logger, Options.Logger for
// instance, for who wants to know more than the few lines of each burst that the layer logs by
// itself:
//
//   - a budget that gets to the tiers Spill and Block, and back to Normal;
//   - the end of a stall, the turn to the spill with what was in flight, the hand-over with how
//     long it held writers up;
//   - the begin and end of a run of replay, and every ten seconds how far it is.
//
// Segments are left out, and so is what the layer logs whether or not somebody listens:
// BackgroundError, HealthChange, commits that wait. Of each kind at most five lines pass in ten
// seconds; the next one says how many did not. Lines are at level info. A nil logger gives a
// listener of nothing. One listener may serve several databases, but then their lines are limited
// together. NewSlogListener logs all events, with attributes.
func NewLoggingListener(logger Logger) *EventListener {
	if logger == nil {
		return &EventListener{}
	}
	return (&eventLogger{to: logger, notable: notable{now: time.Now}}).listener()
}

// notable tells which events are worth a line at level info.
type notable struct {
	now   func() time.Time
	lines notify.Limiter

	mu sync.Mutex // several databases may share the listener
	// Guarded by mu.
	progressed time.Time // when the last line of progress came
}

// tierChange leaves out the tier Flush, from which usage goes back and forth.
func (n *notable) tierChange(i TierChangeInfo) bool {
	return i.New != wbm.Flush && (i.New != wbm.Normal || i.Old != wbm.Flush)
}

func (n *notable) replayBegan() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.progressed = n.now()
}

// replayProgress lets one pass in progressLines.
func (n *notable) replayProgress() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	due := now.Sub(n.progressed) >= progressLines
	if due {
		n.progressed = now
	}
	return due
}

type eventLogger struct {
	notable

	to Logger
}

func (l *eventLogger) listener() *EventListener {
	return &EventListener{
		TierChange:     l.tier,
		StallEnd:       l.stallEnd,
		SpillBegin:     l.spillBegin,
		HandOver:       l.handOver,
		ReplayBegin:    l.replayBegin,
		ReplayProgress: l.progress,
		ReplayEnd:      l.replayEnd,
	}
}

func (l *eventLogger) info(kind, format string, args ...any) {
	if more, ok := l.lines.Allow(kind); ok {
		l.to.Infof("badgerspill: "+format+"%s\n", append(args, more)...)
	}
}

func (l *eventLogger) tier(i TierChangeInfo) {
	if !l.tierChange(i) {
		return
	}
	l.info("tier", "memory tier %v, was %v: %v of %v in use", i.New, i.Old, sizeOf(i.Usage), sizeOf(i.Limit))
}

func (l *eventLogger) stallEnd(i StallInfo) {
	l.info("stall", "Badger stalled for %v, cause %v, with %d commits in flight", round(i.Duration), i.Cause, i.Commits)
}

func (l *eventLogger) spillBegin(i SpillBeginInfo) {
	l.info("spill", "commits go to the spill, cause %v; %d that were in flight are hedged", i.Cause, i.Hedged)
}

func (l *eventLogger) handOver(i HandOverInfo) {
	why := "all of the spill is in Badger"
	switch {
	case i.Err != nil:
		why = "the spill could not be written"
	case i.Dropped:
		why = "what the spill held was dropped"
	}
	l.info("hand-over", "commits go to Badger again after %v: %s; writers were held up for %v", round(i.Spilled), why, round(i.Held))
}

func (l *eventLogger) replayBegin(r replay.Run) {
	l.replayBegan()
	l.info("replay begin", "replay begins, reason %v", r.Reason)
}

func (l *eventLogger) progress(r replay.Run) {
	if l.replayProgress() {
		l.info("replay progress", "replay goes on, reason %v: %v and %d entries in %v, %v/s", r.Reason, sizeOf(r.Bytes), r.Entries, round(r.Duration), sizeOf(int64(r.Rate())))
	}
}

func (l *eventLogger) replayEnd(r replay.Run) {
	how := "the spill holds more"
	switch {
	case r.Err != nil:
		how = "it failed"
	case r.Drained:
		how = "the spill is empty"
	}
	l.info("replay end", "replay ends, %s: %v and %d entries in %v, %v/s", how, sizeOf(r.Bytes), r.Entries, round(r.Duration), sizeOf(int64(r.Rate())))
}

// sizeOf prints bytes for people: "512 B", "1.5 MiB".
type sizeOf int64

func (n sizeOf) String() string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", int64(n))
	}
	v, unit := float64(n), 0
	for v >= 1<<10 && unit < 4 {
		v /= 1 << 10
		unit++
	}
	digits := 1
	if v >= 100 || v == float64(int64(v)) {
		digits = 0
	}
	return fmt.Sprintf("%.*f %s", digits, v, [...]string{"", "KiB", "MiB", "GiB", "TiB"}[unit])
}

// round leaves three digits or so of a duration.
func round(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for unit < time.Second && d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit)
}
