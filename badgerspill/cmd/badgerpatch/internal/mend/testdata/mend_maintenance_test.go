package badger

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// All that stops compactions beside each other, and a Close in the middle. Two sets of compactors
// work on the same tables without the mend, and delete them twice.
func TestMendMaintenance(t *testing.T) {
	for round := 0; round < 4; round++ {
		db := mendOpen(t, mendOptions(t.TempDir()).WithNumCompactors(2).WithNumLevelZeroTables(1).
			WithValueThreshold(100).WithValueLogFileSize(1<<20))
		var wg sync.WaitGroup
		end := time.Now().Add(1500 * time.Millisecond)
		beside := func(call func(i int) error) {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := 0; time.Now().Before(end); i++ {
					if err := call(i); err != nil {
						t.Logf("%v", err)
					}
				}
			}()
		}
		beside(func(i int) error {
			err := mendSet(db, i%20*100, i%20*100+100)
			if err == ErrBlockedWrites {
				return nil
			}
			return err
		})
		beside(func(int) error { return db.Flatten(2) })
		beside(func(int) error { return db.Flatten(1) })
		beside(func(int) error {
			if err := db.RunValueLogGC(0.01); err != nil && err != ErrNoRewrite && err != ErrRejected {
				return err
			}
			return nil
		})
		beside(func(i int) error {
			time.Sleep(20 * time.Millisecond)
			return db.DropPrefix(mendKey(i % 20 * 100)[:9])
		})
		wg.Wait()
		require.NoError(t, mendSet(db, 0, 100))
		mendHolds(t, db, 0, 100)
		require.NoError(t, db.DropAll())
		require.NoError(t, mendSet(db, 0, 100))
		mendHolds(t, db, 0, 100)
		go db.Flatten(1)
		require.NoError(t, db.Close())
	}
}
