package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// Behaviour of a database that is closed, read-only or partly banned, and where the layer does
// better than Badger.

// spilled keeps everything in the spill.
func spilled(o badgerspill.Options) badgerspill.Options { return sideModes[1].change(o) }

func openSpill(t *testing.T, o badgerspill.Options) *badgerspill.DB {
	t.Helper()
	db, err := badgerspill.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func layer(dir string) badgerspill.Options { return badgerspill.OptionsFrom(small(dir)) }

func set(t *testing.T, db *badgerspill.DB, k, v string) {
	t.Helper()
	require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte(k), []byte(v)) }))
}

// require that the database holds exactly the pairs.
func requireAll(t *testing.T, db *badgerspill.DB, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	require.NoError(t, db.View(func(txn *badgerspill.Txn) error {
		it := txn.NewIterator(badgerspill.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			v, err := it.Item().ValueCopy(nil)
			require.NoError(t, err)
			got[string(it.Item().Key())] = string(v)
		}
		for k, v := range want {
			i, err := txn.Get([]byte(k))
			require.NoError(t, err, k)
			require.NoError(t, i.Value(func(val []byte) error { require.Equal(t, v, string(val), k); return nil }))
		}
		return nil
	}))
	require.Equal(t, want, got)
}

var endings = []situation{
	{name: "closed", closes: true, play: func(tr *transcript, db side) {
		put(tr, db, "a", "1")
		open, blank, reader, batch, emptyBatch := db.Begin(true), db.Begin(true), db.Begin(false), db.NewBatch(), db.NewBatch()
		tr.err("set", func() error { return open.Set([]byte("b"), nil) })
		tr.err("batch", func() error { return batch.Set([]byte("c"), nil) })
		tr.note("closed", db.IsClosed())
		tr.err("close", db.Close)
		tr.err("close again", db.Close)
		tr.note("closed", db.IsClosed())
		tr.err("view", func() error { return db.View(func(sideTxn) error { return nil }) })
		tr.err("update", func() error { return db.Update(func(sideTxn) error { return nil }) })
		tr.try("iterator", func() any { return reader.Iter(badger.DefaultIteratorOptions) != nil })
		tr.try("key iterator", func() any { return reader.KeyIter([]byte("a"), badger.DefaultIteratorOptions) != nil })
		fresh := db.Begin(true)
		tr.note("read timestamp", fresh.ReadTs())
		tr.err("set", func() error { return fresh.Set([]byte("d"), nil) })
		tr.get(fresh, "d")
		tr.get(fresh, "")
		fresh.Discard()
		tr.err("batch set", func() error { return batch.Set([]byte("c"), nil) })
		batch.Cancel()
		emptyBatch.Cancel()
		tr.err("commit without writes", blank.Commit)
		reader.Discard()
		tr.err("commit", open.Commit)
		tr.err("second commit", open.Commit)
	}},
}

func TestBehaviourWhenClosed(t *testing.T) { compareAll(t, endings) }

func TestBehaviourReadOnly(t *testing.T) {
	play := func(tr *transcript, db side) {
		txn := db.Begin(true)
		tr.note("timestamps", txn.ReadTs(), db.MaxVersion())
		tr.err("set", func() error { return txn.Set([]byte("b"), nil) })
		tr.err("set of an empty key", func() error { return txn.Set(nil, nil) })
		tr.err("delete", func() error { return txn.Delete([]byte("a")) })
		tr.get(txn, "a")
		tr.get(txn, "b")
		tr.state(txn)
		tr.err("commit", txn.Commit)
		tr.err("set after commit", func() error { return txn.Set([]byte("b"), nil) })
		tr.err("update", func() error { return db.Update(func(txn sideTxn) error { return txn.Set([]byte("b"), nil) }) })
		tr.err("update without writes", func() error { return db.Update(func(sideTxn) error { return nil }) })
		wb := db.NewBatch()
		tr.err("batch set", func() error { return wb.Set([]byte("b"), nil) })
		tr.err("flush", wb.Flush)
		got := make(chan error)
		other := db.Begin(true)
		other.CommitWith(func(err error) { got <- err })
		tr.note("commit with", <-got)
		tr.err("close", db.Close)
	}
	dir := t.TempDir()
	fill := func(update func(i int)) {
		for i := range 5 {
			update(i)
		}
	}
	po := small(filepath.Join(dir, "plain"))
	p, err := badger.Open(po)
	require.NoError(t, err)
	fill(func(i int) {
		require.NoError(t, p.Update(func(txn *badger.Txn) error { return txn.Set([]byte{byte('a' + i)}, key(i)) }))
	})
	require.NoError(t, p.Close())
	p, err = badger.Open(po.WithReadOnly(true))
	require.NoError(t, err)
	want := &transcript{t: t}
	play(want, plainSideOf(p))

	for _, m := range sideModes {
		t.Run(m.name, func(t *testing.T) {
			so := m.change(layer(filepath.Join(dir, m.name)))
			s := openSpill(t, so)
			fill(func(i int) { set(t, s, string([]byte{byte('a' + i)}), string(key(i))) })
			require.NoError(t, s.Close())
			before := hashes(t, so.Dir)
			s = openSpill(t, so.WithReadOnly(true))
			// readers may share a directory, as in Badger
			second := openSpill(t, so.WithReadOnly(true))
			require.NoError(t, second.Close())
			got := &transcript{t: t}
			play(got, spillSideOf(s))
			got.equal(want)
			require.Equal(t, before, hashes(t, so.Dir), "a read-only database writes nothing")
		})
	}

	t.Run("beside a writer", func(t *testing.T) {
		so := layer(filepath.Join(dir, "writer"))
		s := openSpill(t, so)
		set(t, s, "a", "1")
		_, err := badgerspill.Open(so.WithReadOnly(true))
		require.Error(t, err)
		requireAll(t, s, map[string]string{"a": "1"})
	})
	t.Run("of nothing", func(t *testing.T) {
		_, err := badger.Open(po.WithDir(filepath.Join(dir, "none")).WithValueDir(filepath.Join(dir, "none")).WithReadOnly(true))
		require.Error(t, err)
		so := layer(filepath.Join(dir, "none too"))
		_, err = badgerspill.Open(so.WithReadOnly(true))
		require.Error(t, err)
		require.NoDirExists(t, so.Dir)
	})
	t.Run("of a spill that is not replayed", func(t *testing.T) {
		so := spilled(layer(filepath.Join(dir, "kept"))).WithDrainOnClose(false)
		s := openSpill(t, so.WithDrainOnClose(true))
		set(t, s, "a", "old")
		set(t, s, "b", "2")
		set(t, s, "large", strings.Repeat("v", 4<<10))
		require.NoError(t, s.Close())
		s = openSpill(t, so)
		set(t, s, "a", "new")
		require.NoError(t, s.Update(func(txn *badgerspill.Txn) error { return txn.Delete([]byte("b")) }))
		require.NoError(t, s.Close())
		t.Setenv("TMPDIR", t.TempDir())
		before := hashes(t, so.Dir)
		want := map[string]string{"a": "new", "large": strings.Repeat("v", 4<<10)}
		first := openSpill(t, so.WithReadOnly(true))
		second := openSpill(t, so.WithReadOnly(true))
		requireAll(t, first, want)
		requireAll(t, second, want)
		_, err := badgerspill.Open(so)
		require.Error(t, err, "readers keep writers out")
		_, err = first.Backup(io.Discard, 0)
		require.ErrorContains(t, err, filepath.Join(so.Dir, "spill"))
		require.ErrorIs(t, first.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte("a"), nil) }), badgerspill.ErrReadOnlyTxn)
		require.NoError(t, first.Close())
		requireAll(t, second, want)
		require.NoError(t, second.Close())
		require.Equal(t, before, hashes(t, so.Dir), "nothing is written")
		left, err := filepath.Glob(filepath.Join(os.TempDir(), "badgerspill-readonly-*"))
		require.NoError(t, err)
		require.Empty(t, left)
		requireAll(t, openSpill(t, so), want)
	})
}

func TestBehaviourOfBannedNamespaces(t *testing.T) {
	ns := func(n byte, rest string) string { return string([]byte{'n', 0, 0, 0, 0, 0, 0, 0, n}) + rest }
	dir := t.TempDir()
	play := func(tr *transcript, db side) {
		for _, k := range []string{ns(7, "a"), ns(8, "b"), ns(7, ""), ns(9, "b"), "n", ns(8, "")} {
			txn := db.Begin(true)
			tr.err("set "+k, func() error { return txn.Set([]byte(k), []byte("new")) })
			tr.err("delete "+k, func() error { return txn.Delete([]byte(k)) })
			tr.get(txn, k)
			txn.Discard()
			put(tr, db, k, "newer")
			tr.try("read "+k, func() any { return db.View(func(txn sideTxn) error { tr.get(txn, k); return nil }) })
		}
		txn := db.Begin(true)
		_ = txn.Set([]byte(ns(9, "own")), nil)
		tr.state(txn)
		txn.Discard()
	}
	prepare := func(dir string) badger.Options {
		o := small(dir).WithNamespaceOffset(1)
		p, err := badger.Open(o)
		require.NoError(t, err)
		require.NoError(t, p.Update(func(txn *badger.Txn) error {
			for n := range byte(3) {
				for _, rest := range []string{"", "a", "b"} {
					if err := txn.Set([]byte(ns(7+n, rest)), []byte("old")); err != nil {
						return err
					}
				}
			}
			return nil
		}))
		require.NoError(t, p.BanNamespace(8))
		require.NoError(t, p.Close())
		return o
	}
	p, err := badger.Open(prepare(filepath.Join(dir, "plain")))
	require.NoError(t, err)
	want := &transcript{t: t}
	play(want, plainSideOf(p))
	require.NoError(t, p.Close())
	for _, m := range sideModes {
		t.Run(m.name, func(t *testing.T) {
			s := openSpill(t, m.change(badgerspill.OptionsFrom(prepare(filepath.Join(dir, m.name)))))
			got := &transcript{t: t}
			play(got, spillSideOf(s))
			got.equal(want)
		})
	}
}

// in fails the test if fn does not return in time: it guards what hangs in Badger.
func in(t *testing.T, d time.Duration, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s hangs", what)
	}
}

func TestBetterThanBadger(t *testing.T) {
	for _, m := range sideModes {
		t.Run(m.name, func(t *testing.T) {
			open := func(t *testing.T) *badgerspill.DB { return openSpill(t, m.change(layer(t.TempDir()))) }

			t.Run("closed", func(t *testing.T) {
				db := open(t)
				set(t, db, "a", "1")
				txn, reader, wb := db.NewTransaction(true), db.NewTransaction(false), db.NewWriteBatch()
				used := db.NewTransaction(false)
				_, err := used.Get([]byte("a"))
				require.NoError(t, err)
				require.NoError(t, txn.Set([]byte("b"), nil))
				require.NoError(t, wb.Set([]byte("c"), nil))
				require.NoError(t, db.Close())
				require.ErrorIs(t, txn.Commit(), badgerspill.ErrBlockedWrites)
				in(t, 10*time.Second, "a transaction after a failed commit", func() {
					after := db.NewTransaction(true)
					_, err := after.Get([]byte("a"))
					require.ErrorIs(t, err, badgerspill.ErrDBClosed)
					after.Discard()
				})
				in(t, 10*time.Second, "Flush", func() { require.ErrorIs(t, wb.Flush(), badgerspill.ErrDBClosed) })
				in(t, 10*time.Second, "a second Flush", func() { require.Error(t, wb.Flush()) })
				in(t, 10*time.Second, "Cancel", wb.Cancel)
				late := db.NewWriteBatch()
				require.NoError(t, late.Set([]byte("d"), nil))
				in(t, 10*time.Second, "Flush of a late batch", func() { require.ErrorIs(t, late.Flush(), badgerspill.ErrDBClosed) })
				for _, r := range []*badgerspill.Txn{reader, used} {
					_, err = r.Get([]byte("a"))
					require.ErrorIs(t, err, badgerspill.ErrDBClosed)
					r.Discard()
				}
				require.ErrorIs(t, db.Sync(), badgerspill.ErrDBClosed)
				require.ErrorIs(t, db.Drain(context.Background()), badgerspill.ErrDBClosed)
				require.Equal(t, uint64(1), db.MaxVersion())
				db.Size()
				db.SpillStats()
				db.Opts()
			})

			t.Run("the caller's entry stays as it is and can be used again", func(t *testing.T) {
				db := open(t)
				k := append(make([]byte, 0, 64), "key"...)
				e := badgerspill.NewEntry(k, []byte("value")).WithMeta(3)
				for range 3 {
					require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return txn.SetEntry(e) }))
					require.Equal(t, "key", string(e.Key))
					require.Equal(t, make([]byte, 61), k[3:64], "bytes behind the caller's key")
					require.Equal(t, "value", string(e.Value))
				}
				requireAll(t, db, map[string]string{"key": "value"})
			})

			t.Run("sizes of a pending item", func(t *testing.T) {
				db := open(t)
				txn := db.NewTransaction(true)
				defer txn.Discard()
				require.NoError(t, txn.Set([]byte("key"), make([]byte, 100)))
				got, err := txn.Get([]byte("key"))
				require.NoError(t, err)
				it := txn.NewIterator(badgerspill.DefaultIteratorOptions)
				defer it.Close()
				it.Rewind()
				for _, i := range []*badgerspill.Item{got, it.Item()} {
					require.Equal(t, int64(100), i.ValueSize())
					require.Equal(t, int64(103), i.EstimatedSize())
					require.Equal(t, int64(3), i.KeySize())
				}
			})

			t.Run("buffers are the caller's again after a commit", func(t *testing.T) {
				db := open(t)
				k, v := make([]byte, 8), make([]byte, 300)
				want := map[string]string{}
				for i := range 200 {
					txn := db.NewTransaction(true)
					copy(k, fmt.Sprintf("%08d", i))
					for j := range v {
						v[j] = byte(i)
					}
					want[string(k)] = string(v)
					require.NoError(t, txn.SetEntry(badgerspill.NewEntry(k, v)))
					if i%2 == 0 {
						require.NoError(t, txn.Commit())
						clear(k)
						clear(v)
						continue
					}
					done := make(chan error)
					txn.CommitWith(func(err error) { done <- err })
					clear(k)
					clear(v)
					require.NoError(t, <-done)
				}
				requireAll(t, db, want)
				require.NoError(t, db.Drain(context.Background()))
				requireAll(t, db, want)
			})

			t.Run("commit below the discard timestamp", func(t *testing.T) {
				db, err := badgerspill.OpenManaged(m.change(layer(t.TempDir())))
				require.NoError(t, err)
				defer func() { require.NoError(t, db.Close()) }()
				at := func(ts uint64) error {
					txn := db.NewTransactionAt(ts, true)
					defer txn.Discard()
					require.NoError(t, txn.Set([]byte("a"), fmt.Append(nil, ts)))
					return txn.CommitAt(ts, nil)
				}
				require.NoError(t, at(10))
				db.SetDiscardTs(20)
				require.ErrorContains(t, at(15), "15")
				require.NoError(t, at(21))
				require.NoError(t, db.View(func(txn *badgerspill.Txn) error {
					i, err := txn.Get([]byte("a"))
					require.NoError(t, err)
					require.Equal(t, uint64(21), i.Version())
					return nil
				}))
			})

			t.Run("a list without versions", func(t *testing.T) {
				db := open(t)
				wb := db.NewWriteBatch()
				require.Error(t, wb.WriteList(&pb.KVList{Kv: []*pb.KV{{Key: []byte("a")}}}))
				require.NoError(t, wb.Flush())
			})
		})
	}

	t.Run("in memory, a value of exactly the threshold", func(t *testing.T) {
		db := openSpill(t, badgerspill.OptionsFrom(small("").WithInMemory(true)))
		txn := db.NewTransaction(true)
		require.NoError(t, txn.Set([]byte("fits"), make([]byte, 255)))
		require.ErrorContains(t, txn.Set([]byte("a"), make([]byte, 256)), "Value with size 256")
		require.ErrorContains(t, txn.Set([]byte("a"), make([]byte, 257)), "Value with size 257")
		require.NoError(t, txn.Commit())
		requireAll(t, db, map[string]string{"fits": string(make([]byte, 255))})
	})
}

// Older versions that a batch brings in by itself must not hide newer ones, wherever those are.
func TestOldVersionsBesideNewerOnesInBadger(t *testing.T) {
	dir := t.TempDir()
	o := spilled(layer(dir)).WithDrainOnClose(true)
	db := openSpill(t, o)
	for range 5 {
		set(t, db, "a", "new")
	}
	require.NoError(t, db.Close()) // versions 1 to 5 are in Badger
	for _, drain := range []bool{false, true} {
		db = openSpill(t, o.WithDrainOnClose(drain))
		wb := db.NewWriteBatch()
		require.NoError(t, wb.DeleteAt([]byte("a"), 2))
		require.NoError(t, wb.WriteList(&pb.KVList{Kv: []*pb.KV{{Key: []byte("a"), Value: []byte("old"), Version: 3}}}))
		require.NoError(t, wb.Flush())
		requireAll(t, db, map[string]string{"a": "new"})
		require.NoError(t, db.Close())
	}
}

// A version above every timestamp, as a list may carry, is not a write past the layer.
func TestVersionsAboveAllTimestamps(t *testing.T) {
	for _, m := range sideModes {
		t.Run(m.name, func(t *testing.T) {
			o := m.change(layer(t.TempDir())).WithDrainOnClose(false)
			db := openSpill(t, o)
			wb := db.NewWriteBatch()
			require.NoError(t, wb.WriteList(&pb.KVList{Kv: []*pb.KV{{Key: []byte("far"), Value: []byte("x"), Version: 1000}}}))
			require.NoError(t, wb.Flush())
			require.NoError(t, db.Drain(context.Background()))
			set(t, db, "a", "1")
			set(t, db, "a", "2")
			require.NoError(t, db.Close())
			db = openSpill(t, o)
			requireAll(t, db, map[string]string{"a": "2", "far": "x"})
			set(t, db, "a", "3")
			requireAll(t, db, map[string]string{"a": "3", "far": "x"})
		})
	}
}

func TestOptsOpenTheSameDatabaseAgain(t *testing.T) {
	for _, managed := range []bool{false, true} {
		t.Run(fmt.Sprint("managed ", managed), func(t *testing.T) {
			open := badgerspill.Open
			if managed {
				open = badgerspill.OpenManaged
			}
			db, err := open(spilled(layer(t.TempDir())))
			require.NoError(t, err)
			require.NoError(t, db.Close())
			again := openSpill(t, db.Opts())
			if managed {
				require.Panics(t, func() { again.NewTransaction(true) })
				again.NewTransactionAt(1, true).Discard()
			} else {
				require.Panics(t, func() { again.NewTransactionAt(1, true) })
				again.NewTransaction(true).Discard()
			}
			require.NoError(t, again.Close())
			// Badger's options in it say which mode was asked for, not the one that the layer opens
			// Badger in.
			p, err := badger.Open(db.Opts().Badger())
			require.NoError(t, err)
			if managed {
				require.Panics(t, func() { p.NewTransaction(true) })
				p.NewTransactionAt(1, true).Discard()
			} else {
				p.NewTransaction(true).Discard()
			}
			require.NoError(t, p.Close())
		})
	}
}

// Values that only the empty key-value pair of Badger's skip list can tell from nothing.
func TestEmptyValuesThroughEveryStore(t *testing.T) {
	dir := t.TempDir()
	o := spilled(layer(dir)).WithNumVersionsToKeep(1)
	db := openSpill(t, o)
	require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte("empty"), nil) }))
	want := map[string]string{"empty": ""}
	requireAll(t, db, want)
	require.NoError(t, db.Drain(context.Background()))
	requireAll(t, db, want)
	require.NoError(t, db.Close()) // memtables become tables
	db = openSpill(t, o)
	requireAll(t, db, want)
	require.NoError(t, db.Close())
	p, err := badger.Open(o.Badger())
	require.NoError(t, err)
	require.NoError(t, p.View(func(txn *badger.Txn) error {
		i, err := txn.Get([]byte("empty"))
		require.NoError(t, err)
		v, err := i.ValueCopy(nil)
		require.NoError(t, err)
		require.True(t, bytes.Equal(v, nil))
		return nil
	}))
	require.NoError(t, p.Close())
}
