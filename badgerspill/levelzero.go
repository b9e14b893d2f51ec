package badgerspill

import (
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
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
	if host.LevelZeroTables(db.inner) >= mergedTables {
		now := db.now()
		if l.looked > 0 && now-l.looked < levelZeroInterval {
			return false
		}
		l.looked = now
		uncovered := host.UncoveredTables(db.inner.Tables())
		for _, id := range uncovered {
			// in memory Badger takes them for old
			if db.opt.InMemory || host.TableAge(db.opt.Dir, id) >= mergeAge {
				n++
			}
		}
		l.pending = len(uncovered) >= mergedTables
	} else {
		l.pending = false
	}
	db.pipe.HoldDiscard(n >= mergedTables)
	return true
}
