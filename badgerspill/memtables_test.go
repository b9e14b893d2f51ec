package badgerspill

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/wbm"
)

// fillWrites transactions of 64 KiB fill a memtable of 1 MiB, and seal it. How much fits varies
// with the random heights of Badger's skip list.
const fillWrites = 22

// fillMemtable writes what fills one memtable of 1 MiB, not two.
func fillMemtable(t *testing.T, db *DB, prefix string) {
	t.Helper()
	for i := range fillWrites {
		writeSome(t, db, fmt.Sprintf("%s/%02d", prefix, i), 64<<10)
	}
}

// writeSome writes about so many bytes of budget in one transaction, to keys of its own.
func writeSome(t *testing.T, db *DB, prefix string, bytes int) {
	t.Helper()
	require.NoError(t, db.Update(func(txn *Txn) error { return some(txn, prefix, bytes) }))
}

func some(txn *Txn, prefix string, bytes int) error {
	value := make([]byte, 900)
	for i := range bytes / 1000 {
		if err := txn.Set(fmt.Appendf(nil, "%s/%04d", prefix, i), value); err != nil {
			return err
		}
	}
	return nil
}

func noSpill(opt *Options) { opt.SpillPolicy = Never }

// giveSpill turns the spill on.
func (f *fixture) giveSpill(capacity int64) error {
	return errors.Join(f.SetSpillCapacity(capacity), f.SetSpillPolicy(Auto))
}

// pin opens an iterator, which holds the memtables that Badger has now.
func pin(t *testing.T, db *DB) (release func()) {
	t.Helper()
	txn := db.NewTransaction(false)
	it := txn.NewIterator(DefaultIteratorOptions)
	it.Rewind()
	return func() {
		it.Close()
		txn.Discard()
	}
}

func TestPinnedMemtableIsReportedAndNotCounted(t *testing.T) {
	f := open(t, small)
	f.put("first", "1")
	release := pin(t, f.DB)
	fillMemtable(t, f.DB, "a")
	fillMemtable(t, f.DB, "b")
	f.drained()
	eventually(t, "the flushed memtable is pinned", func() bool {
		f.watch.hurry()
		f.memtables.AskRelief()
		return f.SpillStats().MemoryPinned > 900<<10
	})
	eventually(t, "only the active one counts", func() bool {
		f.relieve()
		return f.manager.Usage() < 1<<20
	})
	release()
	eventually(t, "nothing is pinned", func() bool { f.relieve(); return f.SpillStats().MemoryPinned == 0 })
	require.Zero(t, f.manager.Leaks())
}

// TestIteratorDoesNotBlockItsWriter: the goroutine that writes holds an iterator over the memtable
// that its own writes fill. Nothing that it does can free that memtable, so it must not count once
// it is flushed.
func TestIteratorDoesNotBlockItsWriter(t *testing.T) {
	f := open(t, small, noSpill)
	f.put("first", "1")
	defer pin(t, f.DB)()
	done := async(func() error {
		for i := range 80 { // 5 MiB through a budget of 2
			if err := f.Update(func(txn *Txn) error { return some(txn, fmt.Sprintf("k/%02d", i), 64<<10) }); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, receive(t, "end of the writes", done))
}

// TestPinnedMemtableIsNotCountedWhenIdle: a memtable that was flushed just before the writes ended,
// and is pinned, is recognized although no later memtable goes after it.
func TestPinnedMemtableIsNotCountedWhenIdle(t *testing.T) {
	f := open(t, small)
	f.put("first", "1")
	defer pin(t, f.DB)()
	fillMemtable(t, f.DB, "a")
	eventually(t, "an SSTable", func() bool { return len(f.inner.Tables()) > 0 })
	eventually(t, "the flushed memtable is reported as pinned", func() bool {
		f.relieve()
		return f.SpillStats().MemoryPinned > 0
	})
}

func shared(t *testing.T, limit int64) (*wbm.WriteBufferManager, func(*Options)) {
	t.Helper()
	m, err := wbm.New(wbm.Options{Limit: limit})
	require.NoError(t, err)
	return m, func(opt *Options) { opt.WriteBufferManager = m }
}

// TestReliefSealsTheIdleHolder is RocksDB's issue 11780: the biggest holder gets no writes, and
// another database waits.
func TestReliefSealsTheIdleHolder(t *testing.T) {
	m, on := shared(t, 8<<20)
	idle := open(t, small, noSpill, on, func(opt *Options) { opt.MemTableSize = 4 << 20 })
	busy := openAt(t, t.TempDir(), small, noSpill, on)
	fillMemtable(t, idle.DB, "a")
	require.Empty(t, idle.inner.Tables())
	held := idle.account.Usage()
	require.Greater(t, held, int64(1<<20))

	require.NoError(t, m.SetLimit(held+4096))
	done := async(func() error {
		for i := range 8 {
			if err := busy.Update(func(txn *Txn) error { return some(txn, fmt.Sprint(i), 8<<10) }); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, receive(t, "the writer of the other database", done))
	require.Equal(t, 1, idle.stub.seals())
	require.NotEmpty(t, idle.inner.Tables())
	require.Zero(t, busy.stub.seals())
	require.Equal(t, string(make([]byte, 900)), get(t, idle.DB, "a/00/0000"))
	var n int
	require.NoError(t, idle.View(func(txn *Txn) error {
		it := txn.NewIterator(DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		return nil
	}))
	require.Equal(t, fillWrites*((64<<10)/1000), n, "the seal leaves no trace")
	require.Zero(t, m.Leaks())
}

// TestReliefOfAHolderWithAPinnedMemtable is the same, but the idle database has a flushed memtable
// that a reader pins.
func TestReliefOfAHolderWithAPinnedMemtable(t *testing.T) {
	m, on := shared(t, 8<<20)
	idle := open(t, small, noSpill, on)
	busy := openAt(t, t.TempDir(), small, noSpill, on)
	idle.put("first", "1")
	defer pin(t, idle.DB)()
	fillMemtable(t, idle.DB, "a")
	eventually(t, "an SSTable", func() bool { return len(idle.inner.Tables()) > 0 })
	require.NoError(t, m.SetLimit(m.Usage()+4096))
	done := async(func() error {
		for i := range 8 {
			if err := busy.Update(func(txn *Txn) error { return some(txn, fmt.Sprint(i), 8<<10) }); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, receive(t, "the writer of the other database", done))
}

// TestOneWriterSeveralDatabases: the budget that one goroutine holds in one database must come free
// while it waits in another.
func TestOneWriterSeveralDatabases(t *testing.T) {
	m, on := shared(t, 3<<20)
	bounded(t)
	var dbs []*fixture
	for range 3 {
		dbs = append(dbs, openAt(t, t.TempDir(), small, noSpill, on))
	}
	done := async(func() error {
		for i := range 30 {
			for _, f := range dbs {
				if err := f.Update(func(txn *Txn) error { return some(txn, fmt.Sprintf("%02d", i), 96<<10) }); err != nil {
					return err
				}
			}
		}
		return nil
	})
	require.NoError(t, receive(t, "end of 9 MiB of writes", done))
	for _, f := range dbs {
		require.Equal(t, string(make([]byte, 900)), f.get("29/0000"))
	}
	require.Zero(t, m.Leaks())
	require.LessOrEqual(t, m.Usage(), m.Limit())
}
