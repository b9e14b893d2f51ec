package host

import (
	"math"
	"os"
	"reflect"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
)

// openEngine opens a Badger of small memtables in managed mode.
func openEngine(t *testing.T, change ...func(*badger.Options)) (*Engine, *badger.DB) {
	t.Helper()
	opt := badger.DefaultOptions(t.TempDir()).WithLogger(nil).WithMemTableSize(1 << 20).WithValueThreshold(64 << 10).WithNumCompactors(0)
	for _, c := range change {
		c(&opt)
	}
	db, err := badger.OpenManaged(opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return NewEngine(db, NewState(db), nil), db
}

func inMemory(opt *badger.Options) { *opt = opt.WithInMemory(true).WithDir("").WithValueDir("") }

// commit sends a commit, and returns Badger's answer.
func commit(t *testing.T, e *Engine, c *pipeline.Commit) error {
	t.Helper()
	answer := make(chan error)
	e.Send(c, func(err error) { answer <- err })
	require.Nil(t, c.Prepared)
	return <-answer
}

func entry(key, value string, version uint64, meta byte) spillfile.Entry {
	return spillfile.Entry{Key: []byte(key), Value: []byte(value), Version: version, Meta: meta}
}

// stored is a version of a key, as an iteration over all of them finds it.
type stored struct {
	key, value string
	version    uint64
	deleted    bool
	discard    bool
}

func all(t *testing.T, db *badger.DB) (found []stored) {
	t.Helper()
	txn := db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	opt := badger.DefaultIteratorOptions
	opt.AllVersions = true
	it := txn.NewIterator(opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		value, err := item.ValueCopy(nil)
		require.NoError(t, err)
		found = append(found, stored{string(item.Key()), string(value), item.Version(), item.IsDeletedOrExpired(), item.DiscardEarlierVersions()})
	}
	return found
}

// TestCommitIsWritten at its timestamp, whether its transaction was built before or not.
func TestCommitIsWritten(t *testing.T) {
	for name, prepared := range map[string]bool{"prepared": true, "built when it is sent": false} {
		t.Run(name, func(t *testing.T) {
			e, db := openEngine(t, inMemory)
			c := &pipeline.Commit{Ts: 7, Entries: []spillfile.Entry{
				entry("a", "1", 0, 0), entry("b", "", 0, spillfile.MetaDelete), entry("c", "3", 0, spillfile.MetaDiscardEarlier),
			}}
			if prepared {
				require.NoError(t, e.Prepare(c))
				require.NotNil(t, c.Prepared)
			}
			require.NoError(t, commit(t, e, c))
			require.Equal(t, []stored{{"a", "1", 7, false, false}, {"b", "", 7, true, false}, {"c", "3", 7, false, true}}, all(t, db))
		})
	}
}

// TestCommitThatBadgerRefuses: the error comes as an answer if nothing was prepared.
func TestCommitThatBadgerRefuses(t *testing.T) {
	e, db := openEngine(t, inMemory)
	c := &pipeline.Commit{Ts: 7, Entries: []spillfile.Entry{entry("a", "1", 0, 0), entry("", "1", 0, 0)}}
	require.ErrorIs(t, e.Prepare(c), badger.ErrEmptyKey)
	require.Nil(t, c.Prepared)
	require.ErrorIs(t, commit(t, e, c), badger.ErrEmptyKey)
	require.Empty(t, all(t, db))
}

// TestRawCommit: entries that have a version keep it, the others get the commit's, and the commit's
// own entries are not changed.
func TestRawCommit(t *testing.T) {
	e, db := openEngine(t, inMemory)
	c := &pipeline.Commit{Ts: 7, Raw: true, Entries: []spillfile.Entry{entry("a", "1", 3, 0), entry("b", "2", 0, 0)}}
	require.NoError(t, e.Prepare(c))
	require.Nil(t, c.Prepared)
	require.NoError(t, commit(t, e, c))
	require.Equal(t, []stored{{"a", "1", 3, false, false}, {"b", "2", 7, false, false}}, all(t, db))
	require.Zero(t, c.Entries[1].Version)
}

// TestLoadKeepsEverything that an entry has beside its key.
func TestLoadKeepsEverything(t *testing.T) {
	e, db := openEngine(t, inMemory)
	require.NoError(t, e.Load(nil))
	given := entry("a", "1", 3, spillfile.MetaDiscardEarlier)
	given.UserMeta, given.ExpiresAt = 9, math.MaxInt64
	require.NoError(t, e.Load([]spillfile.Entry{given, entry("b", "", 5, spillfile.MetaDelete), entry("b", "2", 4, 0)}))
	require.Equal(t, []stored{{"a", "1", 3, false, true}, {"b", "", 5, true, false}, {"b", "2", 4, false, false}}, all(t, db))
	txn := db.NewTransactionAt(3, false)
	defer txn.Discard()
	item, err := txn.Get([]byte("a"))
	require.NoError(t, err)
	require.Equal(t, byte(9), item.UserMeta())
	require.Equal(t, uint64(math.MaxInt64), item.ExpiresAt())
}

// TestSealLeavesNoTrace: the active memtable is another one, and nobody sees what filled the log.
func TestSealLeavesNoTrace(t *testing.T) {
	e, db := openEngine(t)
	require.NoError(t, e.Load([]spillfile.Entry{entry("a", "1", 3, 0)}))
	before, err := MemNumbers(db.Opts().Dir)
	require.NoError(t, err)
	require.Len(t, before, 1)
	require.NoError(t, e.Seal())
	after, err := MemNumbers(db.Opts().Dir)
	require.NoError(t, err)
	require.Equal(t, before[0]+1, after[len(after)-1])
	require.Equal(t, []stored{{"a", "1", 3, false, false}}, all(t, db))
}

// TestSyncOfSealedMemtables: every log is synced, those of sealed memtables, too, unless Badger has
// synced each write. One that goes meanwhile is flushed.
func TestSyncOfSealedMemtables(t *testing.T) {
	for name, row := range map[string]struct {
		syncWrites bool
		target     string
		fails      bool
	}{
		"a log that cannot be synced":   {false, ".", true},
		"a log that is gone":            {false, "gone", false},
		"every write is synced already": {true, ".", false},
	} {
		t.Run(name, func(t *testing.T) {
			e, db := openEngine(t, func(opt *badger.Options) { opt.SyncWrites = row.syncWrites })
			path := MemPath(db.Opts().Dir, 0)
			if err := os.Symlink(row.target, path); err != nil {
				t.Skip(err)
			}
			err := e.Sync()
			require.NoError(t, os.Remove(path))
			if !row.fails {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, path)
			require.NoError(t, e.Sync())
		})
	}
	e, _ := openEngine(t, inMemory)
	require.NoError(t, e.Sync())
}

// TestSyncIsBadgers: the active memtable's log and the newest file of the value log are synced, by
// the call that Badger would use.
func TestSyncIsBadgers(t *testing.T) {
	e, _ := openEngine(t)
	newest := reach(e.state.values, "filesMap").MapIndex(reach(e.state.values, "maxFid"))
	for name, log := range map[string]reflect.Value{"memtable": reach(e.state.active.Elem(), "wal"), "value log": newest} {
		t.Run(name, func(t *testing.T) {
			mapped := mappedBy(log)
			data := mapped.Data
			if mapped.Data = data[1:]; z.Msync(mapped.Data) == nil { // not where a page begins
				t.Skip("this system syncs no mapped file, or any")
			}
			var told []error
			e.unsynced = NewUnsynced(func(err error) { told = append(told, err) })
			err := e.Sync()
			mapped.Data = data
			require.Error(t, err)
			require.Len(t, told, 1)
			require.ErrorIs(t, e.Sync(), ErrFailed, "no later one makes it good")
			require.Len(t, told, 1)
		})
	}
}

// TestSyncWithoutAMemtable: Badger's Sync would panic, and keep its lock.
func TestSyncWithoutAMemtable(t *testing.T) {
	e, db := openEngine(t)
	require.NoError(t, e.Load([]spillfile.Entry{entry("a", "1", 3, 0)}))
	active := reflect.ValueOf(e.state.active.Interface())
	e.state.active.SetZero()
	require.NoError(t, e.Sync())
	e.state.Mend()
	require.NoError(t, e.Sync())
	e.state.lock.Lock()
	e.state.active.Set(active)
	e.state.lock.Unlock()
	require.Equal(t, []stored{{"a", "1", 3, false, false}}, all(t, db))
}
