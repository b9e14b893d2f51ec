package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4/table"
)

// Errors that say why Badger gets no writes.
var (
	// ErrHeld matches what a Guard has found. It ends when the cause is gone.
	//
	//lint:ignore ST1005 Badger is a name
	ErrHeld = errors.New("Badger gets no writes for now")
	// ErrFailed matches what Guard.Fail was told.
	//
	//lint:ignore ST1005 Badger is a name
	ErrFailed = errors.New("Badger gets no writes any more until the database is opened again")
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
	// valueLogMade is how long Badger may take to make a file of the value log that it does not
	// count yet, in nanoseconds.
	valueLogMade = int64(30 * time.Second)
)

// Guard keeps writes from Badger that it would not survive. It cannot make its next memtable, or
// the tables of a compaction, or the next file of the value log, where names are in the way or
// descriptors have run out; what it does then see State and LostTables. A Guard looks for that, and
// says whether Badger may get writes. Bytes and inodes are not its affair.
//
// What is under way in Badger goes on, and so do its compactions, which nobody can stop.
//
// All methods are safe for concurrent use. mu is held over a look, over looks at the file system
// and Env.Changed.
type Guard struct {
	env    GuardEnv
	last   atomic.Int64 // when it was looked at last, as Env.Now tells it
	given  atomic.Int64 // bytes that Give has counted since then
	held   atomic.Pointer[heldError]
	failed atomic.Pointer[failedError]
	mu     sync.Mutex // one look at a time
	// what has the name of the next file of the value log, and since when; needs mu
	valueLog struct {
		path  string
		since int64
	}
}

// GuardEnv is what a Guard needs of what is around it.
type GuardEnv struct {
	Off          bool   // nothing is on disk, or nothing is written: it looks for nothing
	Dir          string // Badger's
	ValueDir     string // Badger's
	MemTableSize int64  // in bytes

	// Numbers returns what knows Badger's numbers. It is called by looks only, which need an open
	// Badger.
	Numbers func() Numbers
	// Now is a clock in nanoseconds.
	Now func() int64
	// DescriptorsFree reports whether n more files could be open.
	DescriptorsFree func(dir string, n int) bool
	// Changed says that Badger is held, and why, or, with nil, that it is not any more. It must not
	// call back but for Blocked and Failed.
	Changed func(held error)
}

// Numbers are those of the files that Badger makes next. *State is one.
type Numbers interface {
	// NextMemtable returns the number of the memtable that Badger makes next, if it is known.
	NextMemtable() (n int, known bool)
	// NextValueLog returns the number of the next file of its value log, if it is known. It is 0 as
	// long as the one before it has no values.
	NextValueLog() (n uint32, known bool)
	// NextTable returns the number of its next table, 0 if it is not known.
	NextTable() uint64
	// RaiseTable makes that at least next.
	RaiseTable(next uint64)
}

// heldError is why Badger gets no writes for now.
type heldError struct{ cause string }

func (e *heldError) Error() string { return fmt.Sprintf("badgerspill: %v: %s", ErrHeld, e.cause) }

func (e *heldError) Is(target error) bool { return target == ErrHeld }

// failedError is why Badger gets no writes until the next Open.
type failedError struct{ cause error }

func (e *failedError) Error() string {
	return fmt.Sprintf("badgerspill: %v: %v", ErrFailed, e.cause)
}

func (e *failedError) Unwrap() []error { return []error{ErrFailed, e.cause} }

// NewGuard returns a Guard that has not looked yet: the first Refresh does.
func NewGuard(env GuardEnv) *Guard {
	g := &Guard{env: env}
	g.last.Store(-guardInterval)
	return g
}

// Fail says that Badger has failed for good. Only the first time counts, which it returns.
func (g *Guard) Fail(cause error) (first bool) {
	return g.failed.CompareAndSwap(nil, &failedError{cause})
}

// Failed returns nil, or what Fail was told, as an error that matches ErrFailed. It does not block.
func (g *Guard) Failed() error {
	if err := g.failed.Load(); err != nil {
		return err
	}
	return nil
}

// Blocked returns why Badger must get nothing, as it was last known: nil, or an error that matches
// ErrHeld or ErrFailed. It does not block.
func (g *Guard) Blocked() error {
	if err := g.failed.Load(); err != nil {
		return err
	}
	if err := g.held.Load(); err != nil {
		return err
	}
	return nil
}

// Refresh is Blocked after a look, if one is due. It may block for the file system.
func (g *Guard) Refresh() error {
	if now, last := g.env.Now(), g.last.Load(); !g.env.Off && now-last >= guardInterval && g.last.CompareAndSwap(last, now) {
		g.look()
	}
	return g.Blocked()
}

// Look is Blocked after a look now, for who is about to write much.
func (g *Guard) Look() error {
	if !g.env.Off {
		g.look()
	}
	return g.Blocked()
}

// Give counts bytes that Badger is about to get, and reports whether it has got half a memtable
// since the last look: then there is to be one.
func (g *Guard) Give(bytes int64) (much bool) { return g.given.Add(bytes) >= g.env.MemTableSize/2 }

func (g *Guard) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last.Store(g.env.Now())
	g.given.Store(0)
	numbers := g.env.Numbers()
	g.skipTables(numbers)
	cause := g.nameInTheWay(numbers)
	if cause == "" {
		cause = g.valueLogInTheWay(numbers)
	}
	if cause == "" && !g.env.DescriptorsFree(g.env.Dir, spareDescriptors) {
		cause = fmt.Sprintf("fewer than %d file descriptors are free, and without them it loses what it compacts; "+
			"raise the limit of the process (ulimit -n), or have it hold fewer open", spareDescriptors)
	}
	switch was := g.held.Load(); {
	case cause != "" && (was == nil || was.cause != cause):
		err := &heldError{cause}
		g.held.Store(err)
		g.env.Changed(err)
	case cause == "" && was != nil:
		g.held.Store(nil)
		g.env.Changed(nil)
	}
}

// nameInTheWay looks for what Badger would meet when it makes its next memtables.
func (g *Guard) nameInTheWay(numbers Numbers) string {
	next, known := numbers.NextMemtable()
	if !known { // Badger is at it, or dropping: what was known holds
		if was := g.held.Load(); was != nil {
			return was.cause
		}
		return ""
	}
	for n := next; n < next+memtablesAhead; n++ {
		path := MemPath(g.env.Dir, n)
		info, err := os.Lstat(path)
		// it takes an empty one over
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			continue
		}
		// Its own, if it has just been made.
		if now, known := numbers.NextMemtable(); !known || now > n {
			continue
		}
		if err != nil {
			return fmt.Sprintf("the name of its next memtable cannot be looked up: %v", err)
		}
		return fmt.Sprintf("%s has the name of its next memtable, and it has not made that; find out whose it is, and give it another name", path)
	}
	return ""
}

// valueLogInTheWay looks for what Badger would meet when its value log begins the next file. Then
// each commit with a value fails, and the file before it grows all the same. Needs mu.
func (g *Guard) valueLogInTheWay(numbers Numbers) string {
	met := &g.valueLog
	next, known := numbers.NextValueLog()
	if known {
		path := ValuePath(g.env.ValueDir, next)
		info, err := os.Lstat(path)
		switch now, _ := numbers.NextValueLog(); {
		case next == 0 || errors.Is(err, fs.ErrNotExist) || now > next:
			met.path = ""
			return ""
		case met.path != path:
			met.path, met.since = path, g.env.Now()
			if err == nil && !info.Mode().IsRegular() {
				met.since -= valueLogMade // it is not Badger's
			}
		}
	}
	if met.path == "" || g.env.Now()-met.since < valueLogMade {
		return ""
	}
	return fmt.Sprintf("%s has the name of the next file of its value log, and it has not made that; find out whose it is, and give it another name", met.path)
}

// skipTables lets the numbers of Badger's tables go on above files that have the next ones.
func (g *Guard) skipTables(numbers Numbers) {
	next := numbers.NextTable()
	for n, end := next, next+tablesAhead; next > 0 && n < end; n++ {
		if _, err := os.Lstat(table.NewFilename(n, g.env.Dir)); err == nil {
			numbers.RaiseTable(n + 1)
			end = n + 1 + tablesAhead
		}
	}
}
