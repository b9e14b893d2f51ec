package integration_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
)

func (tr *transcript) drop(db side, prefixes ...string) {
	var bs [][]byte
	for _, p := range prefixes {
		bs = append(bs, []byte(p))
	}
	tr.err(fmt.Sprintf("drop %q", prefixes), func() error { return db.(mover).DropPrefix(bs...) })
}

// living is now without the versions and tombstones that compaction, a part of a drop, may take at
// a moment of its own.
func (tr *transcript) living(db side, managed bool, what string) {
	tr.note(what)
	read(db, managed, func(txn sideTxn) {
		if !managed {
			tr.note("read timestamp", txn.ReadTs())
		}
		tr.all(txn, badger.DefaultIteratorOptions, nil)
	})
}

func dropRow(managed bool) func(tr *transcript, db side) {
	return func(tr *transcript, db side) {
		ts := uint64(500)
		commit := func(k string) { ts++; tr.commit(db, managed, k, ts) }
		history(tr.t, db, managed)
		tr.drop(db)
		tr.drop(db, "none")
		tr.living(db, managed, "nothing dropped")
		tr.drop(db, "k000002", "other/1", "none")
		tr.living(db, managed, "two")
		commit("k000002")
		commit("other/1")
		commit("other/")
		tr.living(db, managed, "written again")
		tr.drop(db, "other/")
		tr.living(db, managed, "one")
		commit("z")
		tr.drop(db, "k", "k000001", "k")
		tr.living(db, managed, "overlapping")
		commit("k000001")
		tr.drop(db, "k", "z", "")
		tr.living(db, managed, "the empty prefix")
		commit("after")
		tr.living(db, managed, "after")
	}
}

func dropAllRow(managed bool) func(tr *transcript, db side) {
	return func(tr *transcript, db side) {
		ts := uint64(500)
		commit := func(k string) { ts++; tr.commit(db, managed, k, ts) }
		tr.err("drop of nothing", db.(mover).DropAll)
		history(tr.t, db, managed)
		tr.err("drop", db.(mover).DropAll)
		tr.now(db, managed, "dropped")
		tr.err("drop again", db.(mover).DropAll)
		commit("a")
		commit("k000001")
		tr.now(db, managed, "written again")
		history(tr.t, db, managed)
		tr.now(db, managed, "all again")
	}
}

var drops = []situation{
	{name: "drop prefixes", play: dropRow(false)},
	{name: "drop prefixes, managed", managed: true, play: dropRow(true)},
	{name: "drop all", play: dropAllRow(false)},
	{name: "drop all, managed", managed: true, play: dropAllRow(true)},
	{name: "drop all, and nothing more", closes: true, play: func(tr *transcript, db side) {
		history(tr.t, db, false)
		tr.err("drop", db.(mover).DropAll)
		tr.err("close", db.Close)
	}},
	{name: "transactions begun before a drop", play: func(tr *transcript, db side) {
		for _, drop := range []func() error{
			func() error { return db.(mover).DropPrefix([]byte("a")) },
			func() error { return db.(mover).DropAll() },
		} {
			put(tr, db, "a", "1", "b", "1")
			blind, reader := db.Begin(true), db.Begin(true)
			tr.get(reader, "a")
			tr.err("set", func() error { return reader.Set([]byte("b"), []byte("2")) })
			tr.err("set", func() error { return blind.Set([]byte("a"), []byte("2")) })
			tr.err("drop", drop)
			tr.err("commit", blind.Commit)
			tr.err("commit", reader.Commit)
			tr.now(db, false, "committed")
			tr.err("drop", drop)
			tr.living(db, false, "dropped again")
		}
		put(tr, db, "after", "1")
	}},
	{name: "drop when closed", closes: true, play: func(tr *transcript, db side) {
		put(tr, db, "a", "1")
		tr.err("close", db.Close)
		tr.err("drop", db.(mover).DropAll)
		tr.drop(db, "a")
		tr.drop(db)
	}},
	{name: "ban", opt: func(o badger.Options) badger.Options { return o.WithNamespaceOffset(1) }, play: func(tr *transcript, db side) {
		for n := range byte(4) {
			put(tr, db, namespaced(n, ""), "1", namespaced(n, "a"), "1", namespaced(n, "b"), "2")
		}
		tr.err("ban", func() error { return db.(mover).BanNamespace(1) })
		tr.err("ban again", func() error { return db.(mover).BanNamespace(1) })
		tr.err("ban what holds nothing", func() error { return db.(mover).BanNamespace(200) })
		for n := range byte(3) {
			put(tr, db, namespaced(n, "a"), "3")
			txn := db.Begin(true)
			tr.get(txn, namespaced(n, "b"))
			tr.err("delete", func() error { return txn.Delete([]byte(namespaced(n, "b"))) })
			txn.Discard()
		}
		tr.now(db, false, "banned")
		tr.drop(db, "n")
		put(tr, db, namespaced(1, "a"), "4")
		put(tr, db, "x", "1")
		tr.living(db, false, "dropped")
	}},
	{name: "a write before a ban, committed after it", opt: func(o badger.Options) badger.Options { return o.WithNamespaceOffset(1) }, play: func(tr *transcript, db side) {
		txn := db.Begin(true)
		tr.err("set", func() error { return txn.Set([]byte(namespaced(1, "pending")), nil) })
		tr.err("set", func() error { return txn.Set([]byte(namespaced(2, "allowed")), nil) })
		tr.err("ban", func() error { return db.(mover).BanNamespace(1) })
		tr.err("commit", txn.Commit)
		tr.now(db, false, "committed")
	}},
	{name: "ban without namespaces", play: func(tr *transcript, db side) {
		tr.err("ban", func() error { return db.(mover).BanNamespace(1) })
	}},
}

func TestBehaviourOfDrops(t *testing.T) { compareAll(t, drops) }

func TestMaxVersionBehindADrop(t *testing.T) {
	compareAll(t, []situation{{name: "drop", play: func(tr *transcript, db side) {
		history(tr.t, db, false)
		tr.drop(db, "k")
		tr.note("max version", db.MaxVersion())
		tr.err("drop", db.(mover).DropAll)
		tr.note("max version", db.MaxVersion())
		put(tr, db, "a", "1")
		tr.note("max version", db.MaxVersion())
	}}})
}

func TestDropsOfAReadOnlyDatabase(t *testing.T) {
	o := layer(t.TempDir())
	require.NoError(t, openSpill(t, o).Close())
	o.ReadOnly = true
	p := openPlain(t, o.Badger(), false)
	want := []any{panicOf(func() { _ = p.DropAll() }), panicOf(func() { _ = p.DropPrefix([]byte("a")) }), panicOf(func() { _ = p.NewStreamWriter().Prepare() })}
	require.NoError(t, p.Close())
	l := openLayer(t, o, false)
	require.Equal(t, want, []any{panicOf(func() { _ = l.DropAll() }), panicOf(func() { _ = l.DropPrefix([]byte("a")) }),
		panicOf(func() { _ = l.NewStreamWriter().Prepare() })})
	require.NoError(t, l.Close())
}

// Two drops at once, and a drop beside a stream writer: one at a time, the other is refused.
func TestOneDropAtATime(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())), false)
			set(t, db.DB, "a", "1")
			w := db.NewStreamWriter()
			require.NoError(t, w.Prepare())
			require.ErrorIs(t, db.DropAll(), badgerspill.ErrBlockedWrites)
			require.ErrorIs(t, db.DropPrefix([]byte("a")), badgerspill.ErrBlockedWrites)
			require.ErrorIs(t, db.NewStreamWriter().Prepare(), badgerspill.ErrBlockedWrites)
			w.Cancel()
			var wg kit.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					var err error
					if i%2 == 0 {
						err = db.DropAll()
					} else {
						err = db.DropPrefix([]byte("a"))
					}
					if err != nil && !errors.Is(err, badgerspill.ErrBlockedWrites) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			set(t, db.DB, "b", "1")
			requireAll(t, db.DB, map[string]string{"b": "1"})
		})
	}
}
