package badger

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dgraph-io/badger/v4/table"
)

// A name that is taken is the easiest way to have no table. One of the inputs is lost without the
// mend.
func TestMendCompaction(t *testing.T) {
	db := mendOpen(t, mendOptions(t.TempDir()))
	require.NoError(t, mendSet(db, 0, 500))
	mendFlush(t, db)
	taken := table.NewFilename(db.lc.nextFileID.Load(), db.opt.Dir)
	require.NoError(t, os.WriteFile(taken, []byte("taken"), 0600))

	err := mendCompact(db, 0)
	mendHolds(t, db, 0, 500)
	require.Error(t, err)

	require.NoError(t, os.Remove(taken))
	require.NoError(t, mendCompact(db, 0))
	mendHolds(t, db, 0, 500)
}

// More errors than anybody takes must not hold the workers up, and one that a worker was told of is
// still an error of the compaction.
func TestMendCompactionManyErrors(t *testing.T) {
	db := mendOpen(t, mendOptions(t.TempDir()).WithBaseTableSize(16<<10))
	for round := 0; round < 3; round++ {
		require.NoError(t, mendSet(db, 0, 800))
		mendFlush(t, db)
		first := db.lc.nextFileID.Load()
		for id := first; id < first+200; id++ {
			require.NoError(t, os.WriteFile(table.NewFilename(id, db.opt.Dir), []byte("taken"), 0600))
		}
		err := mendCompact(db, 0)
		require.Error(t, err)
		for id := first; id < first+200; id++ {
			require.NoError(t, os.Remove(table.NewFilename(id, db.opt.Dir)))
		}
		mendHolds(t, db, 0, 800)
		require.NoError(t, mendCompact(db, 0))
		mendHolds(t, db, 0, 800)
	}
}
