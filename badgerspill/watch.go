package badgerspill

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// minWatch keeps the watcher from spinning under a tiny StallThreshold, in nanoseconds.
	minWatch = int64(500 * time.Microsecond)
	// memtableInterval is how often Badger's memtable files are looked at while there is something
	// to see.
	memtableInterval = int64(25 * time.Millisecond)
	// pinnedInterval is the same while only memtables are left that open iterators hold.
	pinnedInterval = int64(time.Second)
	// tablesInterval is how often Badger's list of SSTables, which may be long, is asked for at
	// most.
	tablesInterval = int64(100 * time.Millisecond)
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
		wait := db.checkStall()
		db.checkRate()
		if db.log != nil {
			db.narrator.look()
		}
		now := db.now()

		commits, discard := db.progress()
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
		if db.memtables.relief.Load() || now-lastMemtables >= memtableInterval {
			lastMemtables = now
			db.memtables.look()
			guarded = db.guardLevelZero()
		}
		if now-lastActive >= watchIdle && guarded && !db.memtables.flushing() && !db.inFlight() {
			var pinned <-chan time.Time
			if db.memtables.pinned() || db.levelZero.pending {
				timer.Reset(time.Duration(pinnedInterval))
				pinned = timer.C
			}
			w.asleep.Store(true)
			// Look once more: what happened before asleep was seen will not wake us.
			if commits, discard := db.progress(); commits == lastCommits && discard == lastDiscard && !db.inFlight() {
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

// progress returns the last timestamp assigned and what Badger may discard, 0 for nothing new. In
// managed mode that is the caller's to say.
func (db *DB) progress() (commits, discard uint64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if !db.opt.managed && db.discardHold == 0 && !db.mergeHold {
		discard = db.orc.discardable()
	}
	return db.orc.nextTs, discard
}

func (db *DB) inFlight() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.router.open > 0
}

func (db *DB) routerState() RouterState {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.router.state
}
