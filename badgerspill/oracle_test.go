package badgerspill

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// inBothStates runs a test with commits that go to Badger, to the spill, and across the turn to it.
func inBothStates(t *testing.T, test func(t *testing.T, f *fixture, turn func())) {
	t.Run("direct", func(t *testing.T) { test(t, open(t), func() {}) })
	t.Run("spilling", func(t *testing.T) {
		f := open(t)
		f.spillOne("turn", "0")
		test(t, f, func() {})
	})
	t.Run("direct to spilling", func(t *testing.T) {
		f := open(t)
		test(t, f, func() { f.spillOne("turn", "0") })
	})
	t.Run("spilling to direct", func(t *testing.T) {
		f := open(t)
		f.spillOne("turn", "0")
		test(t, f, func() { f.drained(); f.direct() })
	})
}

func TestWriteSkewIsRefused(t *testing.T) {
	inBothStates(t, func(t *testing.T, f *fixture, turn func()) {
		f.put("x", "1")
		f.put("y", "1")
		a, b := f.NewTransaction(true), f.NewTransaction(true)
		defer a.Discard()
		defer b.Discard()
		for _, c := range []struct {
			txn         *Txn
			read, write string
		}{{a, "x", "y"}, {b, "y", "x"}} {
			v, err := read(c.txn, c.read)
			require.NoError(t, err)
			require.Equal(t, "1", v)
			require.NoError(t, c.txn.Set([]byte(c.write), []byte("0")))
		}
		turn()
		require.NoError(t, a.Commit())
		require.ErrorIs(t, b.Commit(), ErrConflict)
		require.Equal(t, "1", f.get("x"))
		require.Equal(t, "0", f.get("y"))
	})
}

func TestReadsThatConflict(t *testing.T) {
	for _, c := range []struct {
		name     string
		read     func(t *testing.T, txn *Txn)
		conflict bool
	}{
		{"a key that was found", func(t *testing.T, txn *Txn) { mustRead(t, txn, "k") }, true},
		{"blind write", func(t *testing.T, txn *Txn) {}, false},
		{"another key", func(t *testing.T, txn *Txn) { mustRead(t, txn, "other") }, false},
		{"own write", func(t *testing.T, txn *Txn) {
			require.NoError(t, txn.Set([]byte("k"), []byte("own")))
			mustRead(t, txn, "k")
		}, false},
		{"iteration with Item", func(t *testing.T, txn *Txn) { iterate(txn, true) }, true},
		{"iteration without Item", func(t *testing.T, txn *Txn) { iterate(txn, false) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBothStates(t, func(t *testing.T, f *fixture, turn func()) {
				f.put("k", "1")
				txn := f.NewTransaction(true)
				defer txn.Discard()
				c.read(t, txn)
				require.NoError(t, txn.Set([]byte("result"), []byte("r")))
				turn()
				f.put("k", "2")
				if c.conflict {
					require.ErrorIs(t, txn.Commit(), ErrConflict)
					require.Equal(t, absent, f.get("result"))
					return
				}
				require.NoError(t, txn.Commit())
				require.Equal(t, "r", f.get("result"))
			})
		})
	}
}

func mustRead(t *testing.T, txn *Txn, key string) {
	t.Helper()
	_, err := read(txn, key)
	require.NoError(t, err)
}

func iterate(txn *Txn, items bool) {
	it := txn.NewIterator(DefaultIteratorOptions)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if items {
			_ = it.Item()
		}
	}
}

func TestMissingKeyConflictsAndPhantomDoesNot(t *testing.T) {
	inBothStates(t, func(t *testing.T, f *fixture, turn func()) {
		missing, phantom := f.NewTransaction(true), f.NewTransaction(true)
		defer missing.Discard()
		defer phantom.Discard()
		mustRead(t, missing, "new")
		iterate(phantom, true)
		require.NoError(t, missing.Set([]byte("a"), nil))
		require.NoError(t, phantom.Set([]byte("b"), nil))
		f.put("new", "1")
		turn()
		require.ErrorIs(t, missing.Commit(), ErrConflict)
		if v := f.get("turn"); v == absent {
			require.NoError(t, phantom.Commit())
		}
	})
}

// TestConflictWithACommitInFlight: what has its timestamp and no answer yet counts.
func TestConflictWithACommitInFlight(t *testing.T) {
	f := open(t)
	f.put("k", "1")
	txn := f.NewTransaction(true)
	defer txn.Discard()
	mustRead(t, txn, "k")
	require.NoError(t, txn.Set([]byte("k"), []byte("mine")))
	f.stub.hold()
	other := f.putAsync("k", "2")
	eventually(t, "the other commit is in flight", func() bool { return f.stub.waiting() == 1 })
	require.ErrorIs(t, receive(t, "the outcome", async(txn.Commit)), ErrConflict)
	require.Equal(t, 1, f.stub.waiting())
	f.stub.release()
	require.NoError(t, receive(t, "the other commit", other))
}

// TestConflictMapIsBounded: only read-write transactions make the oracle remember; it forgets with
// the oldest of them.
func TestConflictMapIsBounded(t *testing.T) {
	f := open(t)
	f.put("first", "1")
	remembered := func() (keys, commits int) {
		s := f.pipe.Status()
		return s.Remembered, s.Recent
	}
	write := func(from, n int) {
		for i := range n {
			f.put(key(from+i), "v")
		}
	}
	reader := f.NewTransaction(false)
	mustRead(t, reader, "first")
	write(0, 300)
	keys, commits := remembered()
	require.LessOrEqual(t, keys, 4, "a read-only transaction never commits")
	require.LessOrEqual(t, commits, 4)

	old := f.NewTransaction(true)
	mustRead(t, old, key(1))
	write(300, 100)
	newer := f.NewTransaction(true)
	mustRead(t, newer, key(1))
	write(400, 100)
	keys, _ = remembered()
	require.Equal(t, 200, keys)
	old.Discard()
	write(500, 1)
	keys, commits = remembered()
	require.LessOrEqual(t, keys, 104)
	require.LessOrEqual(t, commits, 104)
	require.GreaterOrEqual(t, keys, 101, "still needed by the newer one")
	newer.Discard()
	write(501, 1)
	keys, commits = remembered()
	require.LessOrEqual(t, keys+commits, 4)
	reader.Discard()
}

// TestForgetKeepsNewerCommitsOfAKey: a key that was committed twice is forgotten with its last
// commit only.
func TestForgetKeepsNewerCommitsOfAKey(t *testing.T) {
	f := open(t)
	f.put("k", "1")
	old := f.NewTransaction(true)
	mustRead(t, old, "other")
	f.put("k", "2")
	txn := f.NewTransaction(true)
	defer txn.Discard()
	mustRead(t, txn, "k")
	require.NoError(t, txn.Set([]byte("result"), nil))
	f.put("k", "3")
	old.Discard()
	for i := range 3 {
		f.put(fmt.Sprint(i), "v") // forgets what is at or below the read timestamp of txn
	}
	require.ErrorIs(t, txn.Commit(), ErrConflict)
}
