package badgerspill

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4/table"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
)

const (
	// guardInterval is how often a look is taken at most while commits go on, in nanoseconds.
	guardInterval = int64(100 * time.Millisecond)
	// spareDescriptors must be free for Badger to get writes. It keeps one for each table and log,
	// and a compaction makes tables, in up to five parts, before it gives up those that it
	// replaces.
	spareDescriptors = 32
	// memtablesAhead is for how many memtables the names must be free. Between two looks Badger
	// makes few.
	memtablesAhead = 4
	// tablesAhead is the same for tables, of which one compaction makes many.
	tablesAhead = 32
)

// guard keeps writes from Badger that it would not survive. It cannot make its next memtable, or
// the tables of a compaction, where names are in the way or descriptors have run out; what it does
// then see host.State and host.LostTables. Bytes and inodes are what package room looks after.
//
// While Badger is held commits go to the spill, whatever the tier, and fail with ErrBadgerHeld
// where it takes none. Replay pauses. What is under way in Badger goes on, and so do its
// compactions, which nobody can stop.
type guard struct {
	db     *DB
	off    bool         // nothing is on disk, or nothing is written
	last   atomic.Int64 // when it was looked at last, in nanoseconds of DB.now
	given  atomic.Int64 // bytes that replay has given Badger since then
	held   atomic.Pointer[heldError]
	failed atomic.Pointer[failedError] // for good: see badgerFailed
	mu     sync.Mutex                  // one look at a time
}

// heldError is why Badger gets no writes for now.
type heldError struct{ cause string }

func (e *heldError) Error() string { return fmt.Sprintf("badgerspill: %v: %s", ErrBadgerHeld, e.cause) }

func (e *heldError) Is(target error) bool { return target == ErrBadgerHeld }

// failedError is why Badger gets no writes until the next Open.
type failedError struct{ cause error }

func (e *failedError) Error() string {
	return fmt.Sprintf("badgerspill: %v: %v", ErrBadgerFailed, e.cause)
}

func (e *failedError) Unwrap() []error { return []error{ErrBadgerFailed, e.cause} }

func newGuard(db *DB) *guard {
	g := &guard{db: db, off: db.opt.InMemory || db.opt.ReadOnly}
	g.last.Store(-guardInterval)
	return g
}

// badgerFailed says that Badger has failed for good. Only the first time counts.
func (db *DB) badgerFailed(cause error) {
	err := &failedError{cause}
	if !db.guard.failed.CompareAndSwap(nil, err) {
		return
	}
	db.setHealth(nil)
	db.voidPlace() // what it says is in Badger may be what is lost
	db.events.backgroundError("write to Badger", err, "replay stops, and commits go to the spill while it has room")
}

// cause is blocked for health: it may be asked before there is a guard.
func (g *guard) cause() error {
	if g == nil {
		return nil
	}
	return g.blocked()
}

// blocked returns why Badger must get nothing, as it was last known: nil, or an error that matches
// ErrBadgerHeld or ErrBadgerFailed. It does not block.
func (g *guard) blocked() error {
	if err := g.failed.Load(); err != nil {
		return err
	}
	if err := g.held.Load(); err != nil {
		return err
	}
	return nil
}

// refresh is blocked after a look, if one is due. It may block for the file system.
func (g *guard) refresh() error {
	if now, last := g.db.now(), g.last.Load(); !g.off && now-last >= guardInterval && g.last.CompareAndSwap(last, now) {
		g.look()
	}
	return g.blocked()
}

// pauses is refresh for replay, which an unfinished drop holds up, too.
func (g *guard) pauses() error {
	if u := g.db.unfinished.Load(); u != nil {
		return u.err
	}
	return g.refresh()
}

// replays is pauses for a batch of so many bytes: there is a look, too, where Badger has got half a
// memtable since the last.
func (g *guard) replays(bytes int64) error {
	if g.given.Add(bytes) >= g.db.opt.MemTableSize/2 {
		return g.check()
	}
	return g.pauses()
}

// check is pauses after a look now, for who is about to write much.
func (g *guard) check() error {
	if u := g.db.unfinished.Load(); u != nil {
		return u.err
	}
	return g.room()
}

// room is check for a drop.
func (g *guard) room() error {
	if !g.off {
		g.look()
	}
	return g.blocked()
}

func (g *guard) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last.Store(g.db.now())
	g.given.Store(0)
	g.skipTables()
	cause := g.nameInTheWay()
	if cause == "" && !g.db.opt.system().descriptorsFree(g.db.opt.Dir, spareDescriptors) {
		cause = fmt.Sprintf("fewer than %d file descriptors are free, and without them it loses what it compacts; "+
			"raise the limit of the process (ulimit -n), or have it hold fewer open", spareDescriptors)
	}
	switch was := g.held.Load(); {
	case cause != "" && (was == nil || was.cause != cause):
		err := &heldError{cause}
		g.held.Store(err)
		g.db.setHealth(nil)
		g.db.events.backgroundError("write to Badger", err, "replay pauses, and commits go to the spill while it has room")
	case cause == "" && was != nil:
		g.held.Store(nil)
		g.db.setHealth(nil)
		g.db.opt.Infof("badgerspill: Badger gets writes again: what was in the way is gone\n")
		g.db.wakeReplay()
	}
}

// nameInTheWay looks for what Badger would meet when it makes its next memtables.
func (g *guard) nameInTheWay() string {
	next, known := g.db.badger.NextMemtable()
	if !known { // Badger is at it, or dropping: what was known holds
		if was := g.held.Load(); was != nil {
			return was.cause
		}
		return ""
	}
	for n := next; n < next+memtablesAhead; n++ {
		path := host.MemPath(g.db.opt.Dir, n)
		info, err := os.Lstat(path)
		// it takes an empty one over
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			continue
		}
		// Its own, if it has just been made.
		if now, known := g.db.badger.NextMemtable(); !known || now > n {
			continue
		}
		if err != nil {
			return fmt.Sprintf("the name of its next memtable cannot be looked up: %v", err)
		}
		return fmt.Sprintf("%s has the name of its next memtable, and it has not made that; find out whose it is, and give it another name", path)
	}
	return ""
}

// skipTables lets the numbers of Badger's tables go on above files that have the next ones.
func (g *guard) skipTables() {
	next := g.db.badger.NextTable()
	for n, end := next, next+tablesAhead; next > 0 && n < end; n++ {
		if _, err := os.Lstat(table.NewFilename(n, g.db.opt.Dir)); err == nil {
			g.db.badger.RaiseTable(n + 1)
			end = n + 1 + tablesAhead
		}
	}
}

// rescued handles a panic of a read of Badger. It returns if that is to be tried again: Badger had
// no memtable for a moment, which is mended by now.
func (db *DB) rescued(panicked any) {
	const patience, step = time.Second, time.Millisecond
	if _, ok := panicked.(runtime.Error); ok {
		for waited := time.Duration(0); waited < patience; waited += step {
			if db.badger.MendedLately() {
				return
			}
			time.Sleep(step)
		}
	}
	panic(panicked)
}
