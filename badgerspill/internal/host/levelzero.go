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
func LevelZeroTables(inner *badger.DB) int {
	for _, l := range inner.Levels() {
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
