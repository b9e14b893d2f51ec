package badgerspill

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

const (
	// mergedTables is how many tables of level 0 that overlap nothing below are too many: Badger
	// merges four at least within level 0, and one more may be waiting to get there.
	mergedTables = 3
	// mergeAge is when a table of level 0 counts: Badger merges none within level 0 before it is
	// twice as old.
	mergeAge = 5 * time.Second
	// levelZeroInterval is how often Badger's list of SSTables, which may be long, is asked for at
	// most, in nanoseconds. It leaves seconds until a table that came meanwhile is old enough.
	levelZeroInterval = int64(time.Second)
)

// sortLevelZero puts Badger's level 0 into the order of keys, as Badger itself does whenever it
// merges tables within level 0. An open database begins with the order of file numbers instead.
// That is not the order of age: what was merged within level 0 has a higher number than a younger
// table that was left out. Level 0 is compacted from its front, as long as tables overlap what was
// taken before. So in the order of numbers a tombstone can leave level 0, and be dropped where
// nothing lies below, while the value that it covers is in a later table: the key would be back. In
// the order of keys it cannot. If two tables have a key in common, all between them begin within
// the first one, or at its end, so none of them ends what is taken together.
//
// Badger has no call for it, but a StreamWriter sorts all levels when it is flushed, and that is
// all it does if nothing was written.
func sortLevelZero(inner *badger.DB) error {
	// of two, the second overlaps the first or has no key in common with it
	if levelZeroTables(inner) < 3 {
		return nil
	}
	defer func() {
		// At its end Flush resumes what Prepare has stopped, and panics because there was no
		// Prepare.
		if r := recover(); r != nil {
			if _, ok := r.(runtime.Error); !ok {
				panic(r)
			}
		}
	}()
	return inner.NewStreamWriter().Flush()
}

func levelZeroTables(inner *badger.DB) int {
	for _, l := range inner.Levels() {
		if l.Level == 0 {
			return l.NumTables
		}
	}
	return 0
}

// levelZero is what the watcher knows of level 0. It is the watcher's own, and Open's before.
type levelZero struct {
	looked int64 // when Badger was last asked for its tables, in nanoseconds of DB.now
	// a merge within level 0 could lose a tombstone, now or when tables are old enough
	pending bool
}

// guardLevelZero keeps Badger from discarding anything while a merge within level 0 could lose a
// tombstone. Such a merge drops it if no lower level overlaps what is merged. But it leaves out
// what is on its way to the base level already, and tables that are large, and those may have the
// value that it covers: the key would be back. It takes four tables; if all but two of those in
// level 0 overlap a lower level each, it keeps its tombstones. So this holds only for a new
// database and for keys beyond all older ones, and only when level 0 is not compacted for a while.
// Older versions are then discarded by the next compaction. It returns whether it has looked just
// now, or need not.
func (db *DB) guardLevelZero() bool {
	l := &db.levelZero
	n := 0
	if levelZeroTables(db.inner) >= mergedTables {
		now := db.now()
		if l.looked > 0 && now-l.looked < levelZeroInterval {
			return false
		}
		l.looked = now
		uncovered := uncoveredTables(db.inner.Tables())
		for _, id := range uncovered {
			if db.tableAge(id) >= mergeAge {
				n++
			}
		}
		l.pending = len(uncovered) >= mergedTables
	} else {
		l.pending = false
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if risky := n >= mergedTables; risky != db.mergeHold {
		db.mergeHold = risky
		if db.opt.managed { // otherwise the watcher tells Badger
			db.tellDiscard()
		}
	}
	return true
}

// tableAge returns the age of an SSTable as Badger sees it.
func (db *DB) tableAge(id uint64) time.Duration {
	if db.opt.InMemory {
		return mergeAge // Badger takes them for old
	}
	info, err := os.Stat(table.NewFilename(id, db.opt.Dir))
	if errors.Is(err, fs.ErrNotExist) { // compacted since
		return 0
	}
	if err != nil {
		return mergeAge
	}
	return time.Since(info.ModTime())
}

// tellDiscard tells Badger in managed mode what it may discard. Needs mu, or what was told last
// need not be what holds.
func (db *DB) tellDiscard() {
	var ts uint64
	if db.discardHold == 0 && !db.mergeHold {
		ts = db.orc.discardTs
	}
	db.inner.SetDiscardTs(ts)
}

// uncoveredTables returns the numbers of the tables of level 0 whose range of keys no table of a
// lower level overlaps.
func uncoveredTables(tables []badger.TableInfo) (ids []uint64) {
	for _, a := range tables {
		if a.Level > 0 {
			continue
		}
		left, right := y.ParseKey(a.Left), y.ParseKey(a.Right)
		covered := false
		for i := range tables {
			b := &tables[i]
			if b.Level > 0 && bytes.Compare(left, y.ParseKey(b.Right)) <= 0 && bytes.Compare(y.ParseKey(b.Left), right) <= 0 {
				covered = true
				break
			}
		}
		if !covered {
			ids = append(ids, a.ID)
		}
	}
	return ids
}
