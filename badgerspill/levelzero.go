package badgerspill

import (
	"runtime"

	"github.com/dgraph-io/badger/v4"
)

// sortLevelZero puts Badger's level 0 into the order of keys, as Badger itself does whenever it merges tables within level 0. An open database begins with
// the order of file numbers instead. That is not the order of age: what was merged within level 0 has a higher number than a younger table that was left out.
// Level 0 is compacted from its front, as long as tables overlap what was taken before. So in the order of numbers a tombstone can leave level 0, and be
// dropped where nothing lies below, while the value that it covers is in a later table: the key would be back. In the order of keys it cannot. If two tables have a
// key in common, all between them begin within the first one, or at its end, so none of them ends what is taken together.
//
// Badger has no call for it, but a StreamWriter sorts all levels when it is flushed, and that is all it does if nothing was written.
func sortLevelZero(inner *badger.DB) (err error) {
	if levelZeroTables(inner) < 3 { // of two, the second overlaps the first or has no key in common with it
		return nil
	}
	defer func() {
		// At its end Flush resumes what Prepare has stopped, and panics because there was no Prepare.
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
