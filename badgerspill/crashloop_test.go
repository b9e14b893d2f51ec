package badgerspill

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
)

// emptyMemLog is the log of a memtable in which nothing was written yet, as Badger makes it.
func emptyMemLog(t *testing.T, opt badger.Options) []byte {
	t.Helper()
	dir := t.TempDir()
	db, err := badger.OpenManaged(opt.WithDir(dir).WithValueDir(dir))
	require.NoError(t, err)
	numbers, err := host.MemNumbers(dir)
	require.NoError(t, err)
	log, err := os.ReadFile(host.MemPath(dir, numbers[0]))
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return log
}

// TestCrashLoopKeepsUnflushedLogs: a process that is killed over and over, each time before Badger
// has flushed what it found in the logs of the first, leaves a gap in their numbers. Badger removes
// the log of a memtable in which nothing was written, and goes on with the next number. What lies
// before such a gap is not flushed.
func TestCrashLoopKeepsUnflushedLogs(t *testing.T) {
	for _, row := range []struct {
		name  string
		plain bool // who opened it last
		logs  []int
	}{
		{"killed twice", false, []int{2}},
		{"killed three times", false, []int{3}},
		{"the last times under plain Badger", true, []int{3}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := open(t)
			f.put("k", "v")
			numbers, err := host.MemNumbers(f.opt.Dir)
			require.NoError(t, err)
			dir := crash(t, f.opt.Dir)
			for _, n := range row.logs { // what those that followed have left
				require.NoError(t, os.WriteFile(host.MemPath(dir, numbers[0]+n-1), emptyMemLog(t, f.opt.Badger()), 0o600))
			}
			lock := filepath.Join(dir, marker.LockName)
			text := []byte("4711\n")
			if !row.plain {
				text = fmt.Appendf(text, string(marker.Opened)+"\n", numbers[0]+row.logs[0]-1)
			}
			require.NoError(t, os.WriteFile(lock, text, 0o600))
			g := openAt(t, dir)
			require.Equal(t, "v", g.get("k"))
		})
	}
}

// TestOpenTouchesNothingOfALiveDatabase: another process has it open, and has just made a log that
// has no length yet.
func TestOpenTouchesNothingOfALiveDatabase(t *testing.T) {
	for _, policy := range []SpillPolicy{Auto, Never} {
		dir := t.TempDir()
		other, err := badger.Open(testOptions(dir).Badger())
		require.NoError(t, err)
		fresh := host.MemPath(dir, 7)
		require.NoError(t, os.WriteFile(fresh, nil, 0o600))
		lock := filepath.Join(dir, marker.LockName)
		require.NoError(t, os.WriteFile(lock, []byte("4711\nbadgerspill: memtables from 5\n"), 0o600))
		_, err = tryOpen(t, dir, func(opt *Options) { opt.SpillPolicy = policy })
		require.ErrorContains(t, err, "Another process is using this Badger database")
		require.FileExists(t, fresh)
		text, err := os.ReadFile(lock)
		require.NoError(t, err)
		require.Contains(t, string(text), "4711\nbadgerspill: memtables from 5\n")
		require.NoError(t, os.Remove(fresh))
		require.NoError(t, other.Close())
	}
}

// TestDroppedKeysDoNotComeBackFromAHeldLog: an iterator keeps the log of its memtable beyond a
// drop, and the process is killed before it is closed.
func TestDroppedKeysDoNotComeBackFromAHeldLog(t *testing.T) {
	for name, drop := range map[string]func(db *DB) error{
		"all":    (*DB).DropAll,
		"prefix": func(db *DB) error { return db.DropPrefix([]byte("k")) },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			f.put("k", "v")
			require.NoError(t, f.View(func(txn *Txn) error {
				it := txn.NewIterator(DefaultIteratorOptions)
				defer it.Close()
				it.Rewind()
				require.True(t, it.Valid())
				require.NoError(t, drop(f.DB))
				f.put("other", "1")
				numbers, err := host.MemNumbers(f.opt.Dir)
				require.NoError(t, err)
				require.Len(t, numbers, 2, "the iterator holds one")
				g := openAt(t, crash(t, f.opt.Dir))
				require.Equal(t, absent, g.get("k"))
				require.Equal(t, "1", g.get("other"))
				return nil
			}))
		})
	}
}

// TestReadOnlyKeepsTheNotes: who only reads what a kill late in Close has left changes nothing of
// what the next who writes has to know.
func TestReadOnlyKeepsTheNotes(t *testing.T) {
	f := open(t)
	f.put("k", "v")
	require.NoError(t, f.Close())
	dir := f.opt.Dir
	// of one that an iterator has held; Badger reads only logs that are cut to what they hold
	held := emptyMemLog(t, f.opt.Badger())[:host.MemLogHeader]
	require.NoError(t, os.WriteFile(host.MemPath(dir, 7), held, 0o600))
	lock, text := filepath.Join(dir, marker.LockName), fmt.Sprintf("4711\n"+string(marker.Opened)+"\n", 5)
	require.NoError(t, os.WriteFile(lock, []byte(text), 0o600))
	g := openAt(t, dir, func(opt *Options) { opt.ReadOnly = true })
	require.Equal(t, "v", g.get("k"))
	require.NoError(t, g.Close())
	after, err := os.ReadFile(lock)
	require.NoError(t, err)
	require.Equal(t, text, string(after))
}
