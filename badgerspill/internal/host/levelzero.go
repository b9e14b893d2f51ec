package host

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
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

// LevelZero tells when Badger must not discard anything, because a merge within level 0 could lose
// a tombstone. Such a merge drops it if no lower level overlaps what is merged. But it leaves out
// what is on its way to the base level already, and tables that are large, and those may have the
// value that it covers: the key would be back. It takes four tables; if all but two of those in
// level 0 overlap a lower level each, it keeps its tombstones. So there is a risk only in a new
// database and for keys beyond all older ones, and only when level 0 is not compacted for a while.
// Older versions are then discarded by the next compaction.
//
// It has no lock: one goroutine at a time uses it.
type LevelZero struct {
	tree    Tree
	opt     badger.Options
	now     func() int64
	looked  int64 // when tree was last asked for its tables, as now tells it; 0 = never
	pending bool
}

// NewLevelZero returns what has not looked yet. now is a clock in nanoseconds.
func NewLevelZero(tree Tree, now func() int64) *LevelZero {
	return &LevelZero{tree: tree, opt: tree.Opts(), now: now}
}

// Look returns whether a merge could lose a tombstone now, of which nothing is known unless fresh:
// a look that costs more comes once a second at most.
func (l *LevelZero) Look() (risk, fresh bool) {
	if LevelZeroTables(l.tree) < mergedTables {
		l.pending = false
		return false, true
	}
	now := l.now()
	if l.looked > 0 && now-l.looked < levelZeroInterval {
		return false, false
	}
	l.looked = now
	uncovered := UncoveredTables(l.tree.Tables())
	old := 0
	for _, id := range uncovered {
		// in memory Badger takes them for old
		if l.opt.InMemory || TableAge(l.opt.Dir, id) >= mergeAge {
			old++
		}
	}
	l.pending = len(uncovered) >= mergedTables
	return old >= mergedTables, true
}

// Pending reports whether the last Look has found a risk, now or when tables are old enough.
func (l *LevelZero) Pending() bool { return l.pending }

// SortLevelZero puts Badger's level 0 into the order of keys, as Badger itself does whenever it
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
func SortLevelZero(inner *badger.DB) error {
	// of two, the second overlaps the first or has no key in common with it
	if LevelZeroTables(inner) < 3 {
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

// LevelZeroTables returns how many tables level 0 has.
func LevelZeroTables(tree Tree) int {
	for _, l := range tree.Levels() {
		if l.Level == 0 {
			return l.NumTables
		}
	}
	return 0
}

// TableAge returns the age of an SSTable as Badger sees it, 0 for one that is gone. One whose age
// is not known is old.
func TableAge(dir string, id uint64) time.Duration {
	info, err := os.Stat(table.NewFilename(id, dir))
	if errors.Is(err, fs.ErrNotExist) { // compacted since
		return 0
	}
	if err != nil {
		return math.MaxInt64
	}
	return time.Since(info.ModTime())
}

// UncoveredTables returns the numbers of the tables of level 0 whose range of keys no table of a
// lower level overlaps.
func UncoveredTables(tables []badger.TableInfo) (ids []uint64) {
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
