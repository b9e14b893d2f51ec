package badger

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func mendIDs(db *DB, level int) []uint64 {
	var ids []uint64
	for _, t := range db.lc.levels[level].tables {
		ids = append(ids, t.ID())
	}
	slices.Sort(ids)
	return ids
}

// Keys in order overlap nothing: tables go down as they are, and are there after an open, too.
func TestMendMove(t *testing.T) {
	opt := mendOptions(t.TempDir())
	db := mendOpen(t, opt)
	last := len(db.lc.levels) - 1
	compact := func(level int) {
		t.Helper()
		targets := db.lc.levelTargets()
		targets.baseLevel = last - 2
		require.NoError(t, db.lc.doCompact(1, compactionPriority{level: level, score: 1.7, t: targets}))
	}
	require.NoError(t, mendSet(db, 0, 200))
	mendFlush(t, db)
	before := mendIDs(db, 0)
	require.Len(t, before, 1)
	compact(0)
	require.Empty(t, mendIDs(db, 0))
	require.Equal(t, before, mendIDs(db, last-2))
	require.NoError(t, mendSet(db, 100, 200)) // overlaps what is there: merged
	mendFlush(t, db)
	compact(0)
	merged := mendIDs(db, last-2)
	require.NotContains(t, merged, before[0])
	compact(last - 2)
	require.Subset(t, merged, mendIDs(db, last-1))
	mendHolds(t, db, 0, 200)
	moved := mendIDs(db, last-1)
	require.NotEmpty(t, moved)
	require.NoError(t, db.Close())

	db = mendOpen(t, opt)
	require.Equal(t, moved, mendIDs(db, last-1))
	mendHolds(t, db, 0, 200)
	compact(last - 1) // into the last level all is written again
	for _, id := range moved {
		require.NotContains(t, mendIDs(db, last), id)
	}
	mendHolds(t, db, 0, 200)
}
