package badgerspill

import (
	"fmt"
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/notify"
	"github.com/badgerspill/badgerspill/replay"
)

// narrator writes the lines by which the log alone tells what a burst did. They say that it began,
// how large it was, that writers wait or are slowed, that the spill is full, that replay is done,
// and how far Close is. Each kind comes at most once in notify.LineInterval, and a database at rest
// has none. It hears of what happens from the queue of events, so no lock of the commit path is
// held. Of waits it hears from those who wait. Thousands may be under way: they would fill the
// queue, and the listener would be blamed for it.
type narrator struct {
	db    *DB
	log   Logger
	lines notify.Limiter

	mu sync.Mutex
	// Guarded by mu. What the counters were when the burst began, and whether its end was told.
	burst struct {
		begun          time.Time
		commits, bytes int64
		over           bool
	}
	waits waitCount

	slowed, full bool // as of the watcher's last look; its own
}

func newNarrator(db *DB, log Logger) *narrator {
	n := &narrator{db: db, log: log, lines: notify.Limiter{Most: 1}}
	n.burst.over = true
	return n
}

// listener is what the narrator wants to hear of; nothing without a logger.
func (n *narrator) listener() *EventListener {
	if n.log == nil {
		return nil
	}
	return &EventListener{ReplayBegin: n.replayBegin}
}

func (n *narrator) info(kind, format string, args ...any) {
	if more, ok := n.lines.Allow(kind); ok {
		n.log.Infof("badgerspill: "+format+"%s\n", append(args, more)...)
	}
}

func (n *narrator) warn(kind, format string, args ...any) {
	if more, ok := n.lines.Allow(kind); ok {
		n.log.Warningf("badgerspill: "+format+"%s\n", append(args, more)...)
	}
}

// taken returns how many commits the spill has taken since Open, and their bytes.
func (n *narrator) taken() (commits, bytes int64) {
	c := &n.db.pipe.Counters
	return c.Spilled.Load() + c.Hedged.Load(), c.SpilledBytes.Load()
}

// turned says that commits go to the spill, and turnedBack that they do not any more. Both count
// what there was until then now, and queue the line. They do not block, and are called under the
// commit lock.
func (n *narrator) turned(cause SpillCause) {
	if n.log != nil {
		commits, bytes := n.taken()
		notify.Deliver(n.db.events.Queue, n.spillBegin, burstBegin{cause, time.Now(), commits, bytes}, notify.Rare)
	}
}

func (n *narrator) turnedBack(i HandOverInfo) {
	if n.log != nil {
		commits, bytes := n.taken()
		notify.Deliver(n.db.events.Queue, n.handOver, burstEnd{i, commits, bytes}, notify.Rare)
	}
}

// burstBegin and burstEnd are the turns of the router, and what the counters were at that moment.
type burstBegin struct {
	cause          SpillCause
	at             time.Time
	commits, bytes int64
}

type burstEnd struct {
	HandOverInfo
	commits, bytes int64
}

func (n *narrator) spillBegin(b burstBegin) {
	n.mu.Lock()
	n.burst.begun, n.burst.over = b.at, false
	n.burst.commits, n.burst.bytes = b.commits, b.bytes
	n.mu.Unlock()
	switch b.cause {
	case CausePolicy:
	case CauseRecovery:
		n.info("burst", "commits go to the spill, which holds some from before")
	default:
		n.info("burst", "a burst begins: commits go to the spill, cause %v", b.cause)
	}
}

// size returns how much of the burst there was until the counters were as given, and when it began.
func (n *narrator) size(commits, bytes int64) (int64, sizeOf, time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return commits - n.burst.commits, sizeOf(bytes - n.burst.bytes), n.burst.begun
}

// over reports whether this is the end of a burst, and says so to whoever asks next.
func (n *narrator) over() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	over := !n.burst.over
	n.burst.over = true
	return over
}

func (n *narrator) replayBegin(r replay.Run) {
	if r.Reason != replay.ReasonQuiet || n.db.policy() == Always || !n.over() {
		return
	}
	commits, bytes, begun := n.size(n.taken())
	if commits == 0 {
		return
	}
	n.info("burst over", "the burst is over: the spill has taken %d commits, %v in %v; replay begins", commits, bytes, round(time.Since(begun)))
}

func (n *narrator) handOver(e burstEnd) {
	n.over()
	commits, bytes, _ := n.size(e.commits, e.bytes)
	switch {
	case e.Err != nil:
		n.info("replay done", "commits go to Badger: the spill could not be written")
	case e.Dropped:
		n.info("replay done", "commits go to Badger again: what the spill held was dropped")
	default:
		n.info("replay done", "replay is done, commits go to Badger again after %v: the spill has taken %d commits, %v", round(e.Spilled), commits, bytes)
	}
}

// draining queues the line of how far Close is. A drain before Close has none, however late it is
// told.
func (n *narrator) draining(i DrainProgressInfo) {
	if n.log != nil && n.db.closing.Load() && !i.Done && i.TotalBytes > 0 {
		notify.Deliver(n.db.events.Queue, n.drainProgress, i, notify.Often)
	}
}

func (n *narrator) drainProgress(i DrainProgressInfo) {
	left := ""
	if d := i.TimeLeft(); d > 0 {
		left = ", about " + d.Round(time.Second).String() + " to go"
	}
	n.info("close", "Close replays the spill: %v of %v are done%s", sizeOf(i.Bytes), sizeOf(i.TotalBytes), left)
}

// writerBlocked is called by a commit that begins to wait, which holds no lock.
func (n *narrator) writerBlocked() {
	if !n.waits.begin() {
		return
	}
	n.db.events.recent.note("WriterBlocked", "memory and spill are exhausted: commits begin to wait for room")
	if n.log != nil {
		n.warn("blocked", "memory and spill are exhausted, commits wait for room: raise MemoryLimit or SpillCapacity, or write less")
	}
}

func (n *narrator) writerReleased(took time.Duration, err error) {
	waited, failed, longest, last := n.waits.end(took, err)
	if !last {
		return
	}
	n.db.events.recent.note("WriterReleased",
		fmt.Sprintf("no commit waits for room any more: %d did, for %v at most, and %d found none", waited, round(longest), failed))
	if n.log != nil {
		n.warn("released", "no commit waits for room any more: %d did, for %v at most, and %d found none", waited, round(longest), failed)
	}
}

// look is the watcher's, while commits go to the spill.
func (n *narrator) look() {
	if n.log == nil {
		return
	}
	spill := n.db.spill
	capacity := spill.Capacity()
	was := n.full
	if n.full = capacity > 0 && spill.Usage() >= capacity-n.db.spillPiece()/4; n.full && !was {
		n.warn("full", "the spill is full, %v of %v: commits wait for what replay frees", sizeOf(spill.Usage()), sizeOf(capacity))
	}
	was = n.slowed
	if n.slowed = spill.Slowed() > 0; n.slowed && !was {
		n.info("slowed", "commits are slowed to what replay frees: the spill takes %v of %v", sizeOf(spill.Usage()), sizeOf(capacity))
	}
}

// waitCount counts commits that wait for room. Its zero value is ready. It is safe for concurrent
// use.
type waitCount struct {
	mu      sync.Mutex
	now     int // as far as it was told
	all     int // since now was 0 last
	failed  int // likewise, with an error
	longest time.Duration
}

// begin counts a wait, and reports whether it is the first.
func (w *waitCount) begin() (first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now == 0 {
		w.all, w.failed, w.longest = 0, 0, 0
	}
	w.now++
	w.all++
	return w.now == 1
}

// end counts its end, and reports whether it was the last, and what there was since the first.
func (w *waitCount) end(took time.Duration, err error) (all, failed int, longest time.Duration, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now--
	w.longest = max(w.longest, took)
	if err != nil {
		w.failed++
	}
	return w.all, w.failed, w.longest, w.now == 0
}
