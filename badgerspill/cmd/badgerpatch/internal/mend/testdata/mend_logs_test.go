//go:build linux

package badger

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dgraph-io/badger/v4/y"
)

// 8,000 pages of log are not 8,000 page faults.
func TestMendLogs(t *testing.T) {
	if mendRace {
		t.Skip("the race detector has pages of its own")
	}
	db := mendOpen(t, mendOptions(t.TempDir()).WithMemTableSize(64<<20))
	write := func(from int) {
		batch := db.NewWriteBatch()
		defer batch.Cancel()
		for i := from; i < from+16<<10; i++ {
			require.NoError(t, batch.Set(mendKey(i), mendValue(i)))
		}
		require.NoError(t, batch.Flush())
	}
	write(0)
	before := mendFaults(t)
	write(16 << 10)
	// The skiplist's own memory is new, too. It was 5,700 with the mend, and 12,000 without.
	faults := mendFaults(t) - before
	t.Logf("%d page faults", faults)
	require.Less(t, faults, int64(9000))
	mendHolds(t, db, 0, 32<<10)
}

// What is acknowledged is in the files: a copy of them has it, as after a kill.
func TestMendLogsKeepWhatIsAcknowledged(t *testing.T) {
	for _, opt := range []Options{
		mendOptions(""),
		mendOptions("").WithSyncWrites(true),
		mendOptions("").WithValueThreshold(100),
		mendOptions("").WithEncryptionKey([]byte("0123456789abcdef")).WithIndexCacheSize(1 << 20),
	} {
		// no flush takes a log away
		opt = opt.WithDir(t.TempDir()).WithMemTableSize(8 << 20).WithValueLogFileSize(4 << 20)
		opt.ValueDir = opt.Dir
		db := mendOpen(t, opt)
		for i := 0; i < 10; i++ {
			require.NoError(t, mendSet(db, 200*i, 200*i+200))
			copied := t.TempDir()
			require.NoError(t, os.RemoveAll(copied))
			require.NoError(t, os.CopyFS(copied, os.DirFS(opt.Dir)))
			after := opt
			after.Dir, after.ValueDir = copied, copied
			other, err := Open(after)
			require.NoError(t, err)
			mendHolds(t, other, max(0, 200*i-1000), 200*i+200)
			require.NoError(t, other.Close())
			require.NoError(t, os.RemoveAll(copied))
		}
	}
}

// A log that cannot be written is an error. Nothing of it is there, and the next write may succeed.
func TestMendLogsFail(t *testing.T) {
	opt := mendOptions(t.TempDir()).WithMemTableSize(64 << 20)
	db := mendOpen(t, opt)
	require.NoError(t, mendSet(db, 0, 2000))
	var was syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: was.Max}))
	err := mendSet(db, 2000, 2010)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was))
	require.Error(t, err)
	none := func(db *DB) {
		t.Helper()
		require.NoError(t, db.View(func(txn *Txn) error {
			if _, err := txn.Get(mendKey(2000)); err != ErrKeyNotFound {
				return fmt.Errorf("of what failed: %v", err)
			}
			return nil
		}))
	}
	none(db)
	require.NoError(t, mendSet(db, 3000, 3100))
	none(db)
	mendHolds(t, db, 0, 2000)
	mendHolds(t, db, 3000, 3100)
	require.NoError(t, db.Close())
	left, err := filepath.Glob(filepath.Join(opt.Dir, "*.mem"))
	require.NoError(t, err)
	require.Empty(t, left)
	db = mendOpen(t, opt)
	none(db)
	mendHolds(t, db, 0, 2000)
	mendHolds(t, db, 3000, 3100)
}

// Of transactions that wait together those whose group was written are acknowledged, and of the
// others nothing is there, after a kill either.
func TestMendLogsFailInTheMiddle(t *testing.T) {
	opt := mendOptions(t.TempDir()).WithMemTableSize(64 << 20)
	db := mendOpen(t, opt)
	require.NoError(t, mendSet(db, 0, 100))
	newRequest := func(key string, n int) *request {
		r := &request{Entries: []*Entry{{Key: y.KeyWithTs([]byte(key), 1000), Value: make([]byte, n)}}}
		r.Ptrs = make([]valuePointer, 1)
		r.Wg.Add(1)
		return r
	}
	reqs := []*request{newRequest("a", 60<<10), newRequest("b", 60<<10), newRequest("c", 1000), newRequest("d", 1000)}
	var was syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was))
	end := uint64(db.mt.wal.writeAt) + 61<<10 + 500 // the first is whole, the second is not
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: end, Max: was.Max}))
	err := db.writeRequests(reqs)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was))
	require.Error(t, err)
	copied := t.TempDir()
	require.NoError(t, os.RemoveAll(copied))
	require.NoError(t, os.CopyFS(copied, os.DirFS(opt.Dir)))
	other := opt
	other.Dir, other.ValueDir = copied, copied
	for name, db := range map[string]*DB{"now": db, "after a kill": mendOpen(t, other)} {
		for i, r := range reqs {
			vs, err := db.get(r.Entries[0].Key)
			require.NoError(t, err)
			require.Equal(t, i == 0, vs.Version == 1000, "%s, %d", name, i)
			require.Equal(t, i == 0, r.Err == nil, "%d", i)
		}
	}
}
