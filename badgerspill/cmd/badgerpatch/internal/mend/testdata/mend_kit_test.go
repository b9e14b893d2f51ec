package badger

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mendOptions are small, and leave compaction to the test.
func mendOptions(dir string) Options {
	return DefaultOptions(dir).WithLogger(nil).WithMemTableSize(1 << 20).WithBaseTableSize(256 << 10).
		WithBaseLevelSize(1 << 20).WithValueThreshold(64 << 10).WithNumCompactors(0).WithCompactL0OnClose(false)
}

func mendOpen(t *testing.T, opt Options) *DB {
	db, err := Open(opt)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func mendKey(i int) []byte { return []byte(fmt.Sprintf("key%08d", i)) }

func mendValue(i int) []byte { return []byte(fmt.Sprintf("%0*d", 1000, i)) }

// mendSet writes keys from to to-1, a transaction for ten of them.
func mendSet(db *DB, from, to int) error {
	for i := from; i < to; i += 10 {
		if err := db.Update(func(txn *Txn) error {
			for j := i; j < min(i+10, to); j++ {
				if err := txn.Set(mendKey(j), mendValue(j)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func mendHolds(t *testing.T, db *DB, from, to int) {
	t.Helper()
	require.NoError(t, db.View(func(txn *Txn) error {
		for i := from; i < to; i++ {
			item, err := txn.Get(mendKey(i))
			if err != nil {
				return fmt.Errorf("key %d: %w", i, err)
			}
			value, err := item.ValueCopy(nil)
			if err != nil || string(value) != string(mendValue(i)) {
				return fmt.Errorf("key %d: wrong value, %v", i, err)
			}
		}
		return nil
	}))
}

// mendFlush makes a table of level 0 of what is in the memtable.
func mendFlush(t *testing.T, db *DB) {
	t.Helper()
	db.lock.Lock()
	full := db.mt
	next, err := db.newMemTable()
	require.NoError(t, err)
	db.flushChan <- full
	db.imm = append(db.imm, full)
	db.mt = next
	db.lock.Unlock()
	require.Eventually(t, func() bool {
		db.lock.RLock()
		defer db.lock.RUnlock()
		return len(db.imm) == 0
	}, 10*time.Second, time.Millisecond)
}

// mendCompact compacts a level, as often as there is something to compact.
func mendCompact(db *DB, level int) error {
	for {
		err := db.lc.doCompact(0, compactionPriority{level: level, score: 1.7, t: db.lc.levelTargets()})
		if err == errFillTables {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
