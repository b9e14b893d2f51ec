package badger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func mendGone(t *testing.T, db *DB, i int) {
	t.Helper()
	require.NoError(t, db.View(func(txn *Txn) error {
		_, err := txn.Get(mendKey(i))
		require.Equal(t, ErrKeyNotFound, err, "key %d", i)
		return nil
	}))
}

func mendDelete(t *testing.T, db *DB, i int) {
	t.Helper()
	require.NoError(t, db.Update(func(txn *Txn) error { return txn.Delete(mendKey(i)) }))
}

// mendOld makes the tables of level 0 older than 10 s.
func mendOld(db *DB) {
	l := db.lc.levels[0]
	l.Lock()
	defer l.Unlock()
	for _, t := range l.tables {
		t.CreatedAt = time.Now().Add(-time.Minute)
	}
}

// A merge within level 0 leaves a large table out, and must keep the tombstones over what is in it.
func TestMendLevelZeroTombstones(t *testing.T) {
	db := mendOpen(t, mendOptions(t.TempDir()))
	require.NoError(t, mendSet(db, 0, 500))
	mendFlush(t, db)
	mendDelete(t, db, 3)
	for i := 0; i < 4; i++ {
		require.NoError(t, mendSet(db, 100*i, 100*i+2))
		require.NoError(t, mendSet(db, 498, 499))
		mendDelete(t, db, 3)
		mendFlush(t, db)
	}
	mendOld(db)
	mendGone(t, db, 3)
	require.Eventually(t, func() bool { return db.orc.discardAtOrBelow() == db.MaxVersion() }, time.Second, time.Millisecond)
	cd := compactDef{compactorId: 0, t: db.lc.levelTargets(), thisLevel: db.lc.levels[0]}
	cd.t.fileSz[0] = cd.thisLevel.tables[0].Size() / 2 // so the first one is too large
	require.True(t, db.lc.fillTablesL0ToL0(&cd))
	require.Len(t, cd.top, 4)
	require.NoError(t, db.lc.runCompactDef(0, 0, cd))
	db.lc.cstatus.delete(cd)
	mendGone(t, db, 3)
}

// After an open level 0 is sorted by number. The table of the tombstone is first, and the value
// lies in one behind it that does not overlap what is between them.
func TestMendLevelZeroOrder(t *testing.T) {
	db := mendOpen(t, mendOptions(t.TempDir()))
	require.NoError(t, mendSet(db, 0, 10))
	mendFlush(t, db)
	mendDelete(t, db, 3)
	mendFlush(t, db)
	require.NoError(t, mendSet(db, 50, 60))
	mendFlush(t, db)
	l := db.lc.levels[0]
	l.Lock()
	l.tables[0], l.tables[1], l.tables[2] = l.tables[1], l.tables[2], l.tables[0]
	l.Unlock()
	mendGone(t, db, 3)
	for i := 0; i < 3; i++ {
		err := db.lc.doCompact(0, compactionPriority{level: 0, score: 1.7, t: db.lc.levelTargets()})
		if err == errFillTables {
			break
		}
		require.NoError(t, err)
		mendGone(t, db, 3)
	}
	mendHolds(t, db, 0, 3)
	mendHolds(t, db, 50, 60)
}
