package badgerspill

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
)

const (
	// minWatch keeps the watcher from spinning under a tiny StallThreshold, in nanoseconds.
	minWatch = int64(500 * time.Microsecond)
	// memtableInterval is how often Badger's memtable files are looked at while there is something
	// to see.
	memtableInterval = int64(25 * time.Millisecond)
	// pinnedInterval is the same while only memtables are left that open iterators hold.
	pinnedInterval = int64(time.Second)
	// reliefAfter is how long after the last commit the watcher asks for memory itself, if that is
	// still short. It is less than watchIdle.
	reliefAfter = int64(100 * time.Millisecond)
	// watchIdle is how long the watcher goes on without commits before it sleeps until the next
	// one.
	watchIdle = int64(time.Second)
)

// watcher is the one goroutine that looks at the clock: for stalls, for memtables that are gone,
// for what Badger may discard. It sleeps while nothing happens.
type watcher struct {
	db      *DB
	asleep  atomic.Bool
	wakeup  chan struct{}
	stop    chan struct{}
	stopped sync.WaitGroup

	// commits that Badger had answered when checkRate looked last; the goroutine's own
	lastDirect int64
}

func newWatcher(db *DB) *watcher {
	return &watcher{db: db, wakeup: make(chan struct{}, 1), stop: make(chan struct{})}
}

func (w *watcher) start() {
	w.stopped.Add(1)
	go func() {
		defer w.stopped.Done()
		w.run()
	}()
}

// wake makes a sleeping watcher look. It costs an atomic load if the watcher is awake.
func (w *watcher) wake() {
	if w.asleep.Load() {
		w.hurry()
	}
}

// hurry makes the watcher look now. It never blocks.
func (w *watcher) hurry() {
	select {
	case w.wakeup <- struct{}{}:
	default:
	}
}

func (w *watcher) close() {
	close(w.stop)
	w.stopped.Wait()
}

func (w *watcher) run() {
	db := w.db
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var lastMemtables, lastActive int64
	var lastCommits, lastDiscard uint64
	for {
		guarded := false
		wait := max(int64(db.pipe.CheckStall()), minWatch)
		w.checkRate()
		if db.log != nil {
			db.narrator.look()
		}
		now := db.now()

		commits, discard := db.pipe.Progress()
		if commits != lastCommits {
			lastCommits, lastActive = commits, now
		}
		if discard != lastDiscard {
			lastDiscard = discard
			if !db.opt.managed {
				db.discarded.Store(discard)
				db.inner.SetDiscardTs(discard)
			}
		}
		// Commits ask for memory. Where none comes any more somebody else has to: what Badger has
		// answered late may count for a memtable after the one that it is in.
		if now-lastMemtables >= memtableInterval && now-lastActive >= reliefAfter && !db.pipe.InFlight() &&
			db.manager.Usage() >= db.manager.SoftLimit() {
			db.memtables.AskRelief()
		}
		if db.memtables.ReliefAsked() || now-lastMemtables >= memtableInterval {
			lastMemtables = now
			if db.memtables.Look() {
				db.sealMemtable()
			}
			guarded = db.guardLevelZero()
		}
		if now-lastActive >= watchIdle && guarded && !db.memtables.Flushing() && !db.pipe.InFlight() {
			var pinned <-chan time.Time
			if db.memtables.Pinned() || db.levelZero.Pending() {
				timer.Reset(time.Duration(pinnedInterval))
				pinned = timer.C
			}
			w.asleep.Store(true)
			// Look once more: what happened before asleep was seen will not wake us.
			if commits, discard := db.pipe.Progress(); commits == lastCommits && discard == lastDiscard && !db.pipe.InFlight() {
				select {
				case <-w.wakeup:
					lastActive = db.now()
				case <-pinned:
				case <-w.stop:
					return
				}
			}
			w.asleep.Store(false)
			continue
		}
		if db.opt.StallThreshold < 0 || wait > memtableInterval || db.routerState() == Spilling {
			wait = memtableInterval
		}
		timer.Reset(time.Duration(wait))
		select {
		case <-timer.C:
		case <-w.wakeup:
		case <-w.stop:
			return
		}
	}
}

// guardLevelZero keeps Badger from discarding anything while a merge within level 0 could lose a
// tombstone. It returns whether it has looked just now, or need not. Only the watcher calls it, and
// Open before.
func (db *DB) guardLevelZero() (fresh bool) {
	risk, fresh := db.levelZero.Look()
	if fresh {
		db.pipe.HoldDiscard(risk)
	}
	return fresh
}

// checkRate turns to the spill if commits come at SpillRate or faster. What the first of them would
// wait for on disk is made before, in the background: Badger keeps up, so there is no hurry.
func (w *watcher) checkRate() {
	db := w.db
	if db.commits == nil {
		return
	}
	direct := db.pipe.Counters.Direct.Load()
	going := direct != w.lastDirect // the rate tells of the past
	w.lastDirect = direct
	if !going || db.commits.Rate() < db.opt.Tuning.SpillRate || db.turning.Load() || db.spill.IsSpilloverFull(0, 0) {
		return
	}
	if !db.pipe.HoldDirect() {
		return
	}
	db.turning.Store(true)
	go func() {
		defer db.background.Done()
		defer db.turning.Store(false)
		err := errors.Join(db.interlock.Set(), db.log.Prepare())
		if err != nil {
			db.room.SpillFailed()
			err = errors.Join(err, db.interlock.Drop())
			db.events.backgroundError("prepare the spill", err, "commits go to Badger, and it is tried again; look at the disk of SpillDir")
			return
		}
		db.ledger.Refresh()
		if db.pipe.TurnToSpill(pipeline.CauseRate) != nil {
			_ = db.interlock.Drop() // Close does it again
			db.log.Relieve()        // of the index that nobody will use
		}
	}()
}
