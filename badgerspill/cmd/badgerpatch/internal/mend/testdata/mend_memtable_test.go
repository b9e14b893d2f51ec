package badger

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// mendNoNext has the next memtables fail until undo is called.
func mendNoNext(t *testing.T, db *DB) (undo func()) {
	var taken []string
	db.lock.Lock()
	first := db.nextMemFid
	db.lock.Unlock()
	for fid := first; fid < first+8; fid++ {
		name := db.mtFilePath(fid)
		require.NoError(t, os.WriteFile(name, []byte("this is in the way of a memtable"), 0600))
		taken = append(taken, name)
	}
	return func() {
		for _, name := range taken {
			require.NoError(t, os.Remove(name))
		}
	}
}

func TestMendMemtable(t *testing.T) {
	opt := mendOptions(t.TempDir())
	db := mendOpen(t, opt)
	require.NoError(t, mendSet(db, 0, 100))
	undo := mendNoNext(t, db)
	done, err := 100, error(nil)
	for ; err == nil && done < 5000; done += 10 {
		err = mendSet(db, done, done+10)
	}
	done -= 10
	require.Error(t, err)
	mendHolds(t, db, 0, done)
	require.Error(t, mendSet(db, done, done+10), "as long as there is none")
	mendHolds(t, db, 0, done)

	undo()
	require.NoError(t, mendSet(db, done, 3000))
	mendHolds(t, db, 0, 3000)
	require.NoError(t, db.Close())
	mendHolds(t, mendOpen(t, opt), 0, 3000)
}

func TestMendMemtableDrop(t *testing.T) {
	for name, drop := range map[string]func(db *DB) error{
		"DropAll":    func(db *DB) error { return db.DropAll() },
		"DropPrefix": func(db *DB) error { return db.DropPrefix([]byte("key0000")) },
	} {
		t.Run(name, func(t *testing.T) {
			opt := mendOptions(t.TempDir())
			db := mendOpen(t, opt)
			require.NoError(t, mendSet(db, 0, 1500))
			undo := mendNoNext(t, db)
			require.Error(t, drop(db))
			mendHolds(t, db, 0, 1500)
			undo()
			require.NoError(t, mendSet(db, 1500, 3500))
			mendHolds(t, db, 0, 3500)
			require.NoError(t, drop(db))
			require.NoError(t, db.View(func(txn *Txn) error {
				if _, err := txn.Get(mendKey(7)); err != ErrKeyNotFound {
					return fmt.Errorf("after the drop: %v", err)
				}
				return nil
			}))
			require.NoError(t, mendSet(db, 0, 100))
			require.NoError(t, db.Close())
			mendHolds(t, mendOpen(t, opt), 0, 100)
		})
	}
}
