package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
)

// started is one moment for all engines that are compared, in seconds.
var started = uint64(time.Now().Unix())

func key(i int) []byte { return fmt.Appendf(nil, "k%06d", i) }

// put commits the given pairs in one transaction; a value "-" deletes.
func put(tr *transcript, db side, pairs ...string) {
	tr.err("put", func() error {
		return db.Update(func(txn sideTxn) error {
			for i := 0; i < len(pairs); i += 2 {
				var err error
				if pairs[i+1] == "-" {
					err = txn.Delete([]byte(pairs[i]))
				} else {
					err = txn.Set([]byte(pairs[i]), []byte(pairs[i+1]))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func oneMiBLog(o badger.Options) badger.Options { return o.WithValueLogFileSize(1 << 20) }

var limits = []situation{
	{name: "which error a bad write gets, and in which order of checks", opt: oneMiBLog, play: func(tr *transcript, db side) {
		long := bytes.Repeat([]byte("k"), 65001)
		longInternal := append([]byte("!badger!"), long...)
		huge := make([]byte, 1<<20+1)
		writes := []struct {
			name string
			k, v []byte
		}{
			{"nil key", nil, nil}, {"empty key", []byte{}, []byte("v")}, {"internal key", []byte("!badger!x"), nil},
			{"internal prefix alone", []byte("!badger!"), nil}, {"almost internal", []byte("!badger"), nil},
			{"long internal key", longInternal, huge}, {"long key", long, []byte("v")}, {"long key, huge value", long, huge},
			{"huge value", []byte("k"), huge}, {"huge value, empty key", nil, huge}, {"fine", []byte("k"), []byte("v")},
		}
		discarded := db.Begin(true)
		discarded.Discard()
		readOnlyDiscarded := db.Begin(false)
		readOnlyDiscarded.Discard()
		txns := []struct {
			name string
			txn  sideTxn
		}{{"read-write", db.Begin(true)}, {"read-only", db.Begin(false)}, {"discarded", discarded}, {"read-only discarded", readOnlyDiscarded}}
		for _, x := range txns {
			for _, w := range writes {
				tr.err(x.name+" set "+w.name, func() error { return x.txn.Set(w.k, w.v) })
				tr.err(x.name+" entry "+w.name, func() error { return x.txn.Put(write{Key: w.k, Value: w.v}) })
				tr.err(x.name+" delete "+w.name, func() error { return x.txn.Delete(w.k) })
				tr.try(x.name+" get "+w.name, func() any { _, err := x.txn.Read(w.k); return err })
			}
		}
		tr.err("commit", txns[0].txn.Commit)
		txns[1].txn.Discard()
	}},
	{name: "too big by count", play: func(tr *transcript, db side) {
		tr.note("limits", db.MaxBatchCount(), db.MaxBatchSize())
		txn := db.Begin(true)
		n, err := 0, error(nil)
		for ; err == nil; n++ {
			err = txn.Put(write{Key: key(n), Delete: n%5 == 0})
		}
		tr.note("fails at", n, err)
		tr.err("a key that is set already", func() error { return txn.Set(key(1), []byte("again")) })
		tr.err("a delete", func() error { return txn.Delete(key(2)) })
		tr.get(txn, string(key(1)))
		tr.err("commit after too big", txn.Commit)
	}},
	{name: "too big by setting one key again and again", play: func(tr *transcript, db side) {
		txn := db.Begin(true)
		n, err := 0, error(nil)
		for ; err == nil; n++ {
			err = txn.Set([]byte("same"), []byte{byte(n)})
		}
		tr.note("fails at", n, err)
		tr.get(txn, "same")
		tr.err("commit", txn.Commit)
	}},
	{name: "too big by size, to the byte", play: func(tr *transcript, db side) {
		txn := db.Begin(true)
		n, err := 0, error(nil)
		for ; err == nil; n++ {
			err = txn.Set(key(n), make([]byte, 255))
		}
		tr.note("fails at", n, err)
		fits := 0
		for size := 255; size >= 0; size-- {
			if txn.Set(key(n+size), make([]byte, size)) == nil {
				fits++
				tr.note("room for", size)
			}
		}
		tr.note("fit", fits)
		tr.err("commit", txn.Commit)
	}},
	{name: "too big by keys of the largest size", play: func(tr *transcript, db side) {
		txn := db.Begin(true)
		n, err := 0, error(nil)
		for ; err == nil; n++ {
			err = txn.Set(append(key(n), make([]byte, 65000-7)...), nil)
		}
		tr.note("fails at", n, err)
		tr.err("commit", txn.Commit)
	}},
	{name: "a value at or above the threshold counts as its pointer", play: func(tr *transcript, db side) {
		txn := db.Begin(true)
		for _, size := range []int{255, 256, 257, 3 << 20} {
			tr.err(fmt.Sprint(size), func() error { return txn.Set(key(size), bytes.Repeat([]byte{1}, size)) })
		}
		tr.err("commit", txn.Commit)
		tr.note("expect", db.View(func(txn sideTxn) error {
			for _, size := range []int{255, 256, 257, 3 << 20} {
				tr.get(txn, string(key(size)))
			}
			return nil
		}))
	}},
	{name: "a value of the size of the value log, and one more", opt: oneMiBLog, play: func(tr *transcript, db side) {
		txn := db.Begin(true)
		tr.err("as large", func() error { return txn.Set([]byte("a"), bytes.Repeat([]byte("x"), 1<<20)) })
		tr.err("larger", func() error { return txn.Set([]byte("b"), bytes.Repeat([]byte("x"), 1<<20+1)) })
		tr.err("commit", txn.Commit)
	}},
	{name: "largest key", play: func(tr *transcript, db side) {
		for _, n := range []int{64999, 65000} {
			k := bytes.Repeat([]byte{0xFF}, n)
			tr.err("update", func() error { return db.Update(func(txn sideTxn) error { return txn.Set(k, []byte("v")) }) })
			tr.note("read", db.View(func(txn sideTxn) error { tr.get(txn, string(k)); return nil }))
		}
	}},
	{name: "empty and nil values", play: func(tr *transcript, db side) {
		txn := db.Begin(true)
		for i, v := range [][]byte{nil, {}, {0}} {
			tr.err("set", func() error { return txn.Set(key(i), v) })
			tr.err("entry", func() error { return txn.Put(write{Key: key(10 + i), Value: v, UserMeta: 1}) })
			tr.get(txn, string(key(i)))
		}
		tr.err("commit", txn.Commit)
		txn = db.Begin(false)
		defer txn.Discard()
		for i := range 3 {
			tr.get(txn, string(key(i)))
			tr.get(txn, string(key(10+i)))
		}
	}},
	{name: "keys that are prefixes of each other and of extreme bytes", play: func(tr *transcript, db side) {
		ks := []string{"\x00", "\x00\x00", "a", "a\x00", "a\xff", "ab", "\xff", "\xff\xff", "!badges!", "!"}
		for i, k := range ks {
			put(tr, db, k, fmt.Sprint(i))
		}
		txn := db.Begin(false)
		defer txn.Discard()
		for _, k := range ks {
			tr.get(txn, k)
			for _, reverse := range []bool{false, true} {
				opt := badger.DefaultIteratorOptions
				opt.Reverse = reverse
				tr.all(txn, opt, []byte(k))
				opt.Prefix = []byte(k)
				tr.all(txn, opt, nil)
				tr.all(txn, opt, append([]byte(k), 0xFF))
			}
		}
	}},
}

var transactions = []situation{
	{name: "one key set, deleted and set again", play: func(tr *transcript, db side) {
		txn := db.Begin(true)
		for _, v := range []string{"1", "2", "-", "3", "-"} {
			if v == "-" {
				tr.err("delete", func() error { return txn.Delete([]byte("a")) })
			} else {
				tr.err("set", func() error { return txn.Set([]byte("a"), []byte(v)) })
			}
			tr.get(txn, "a")
			tr.state(txn)
		}
		tr.err("set", func() error { return txn.Set([]byte("b"), []byte("x")) })
		tr.err("commit", txn.Commit)
	}},
	{name: "timestamps", play: func(tr *transcript, db side) {
		stamp := func(what string) {
			txn := db.Begin(true)
			tr.note(what, txn.ReadTs(), db.MaxVersion())
			txn.Discard()
		}
		stamp("fresh")
		put(tr, db, "a", "1")
		stamp("one commit")
		put(tr, db)
		stamp("a commit without writes")
		txn := db.Begin(true)
		tr.err("set", func() error { return txn.Set([]byte("b"), nil) })
		txn.Discard()
		stamp("a discarded transaction")
		x, y := db.Begin(true), db.Begin(true)
		tr.get(x, "a")
		tr.err("set", func() error { return x.Set([]byte("c"), nil) })
		tr.err("set", func() error { return y.Set([]byte("a"), nil) })
		tr.err("commit", y.Commit)
		tr.err("conflict", x.Commit)
		stamp("a conflict")
		wb := db.NewBatch()
		tr.err("flush of an empty batch", wb.Flush)
		stamp("an empty batch")
	}},
	{name: "use after commit and discard", play: func(tr *transcript, db side) {
		put(tr, db, "a", "1")
		for _, writes := range []bool{false, true} {
			for _, end := range []string{"commit", "discard", "commitwith"} {
				txn := db.Begin(true)
				if writes {
					tr.err("set", func() error { return txn.Set([]byte("b"), []byte(end)) })
				}
				switch end {
				case "commit":
					tr.err(end, txn.Commit)
				case "discard":
					txn.Discard()
				case "commitwith":
					got := make(chan error)
					txn.CommitWith(func(err error) { got <- err })
					tr.note(end, <-got)
				}
				tr.err("set", func() error { return txn.Set([]byte("c"), nil) })
				tr.err("delete", func() error { return txn.Delete([]byte("c")) })
				tr.get(txn, "a")
				tr.get(txn, "")
				tr.try("iterator", func() any { return txn.Iter(badger.DefaultIteratorOptions) != nil })
				tr.try("key iterator", func() any { return txn.KeyIter([]byte("a"), badger.DefaultIteratorOptions) != nil })
				tr.err("second commit", txn.Commit)
				got := make(chan error, 1)
				tr.try("second commit with", func() any { txn.CommitWith(func(err error) { got <- err }); return <-got })
				tr.try("second discard", func() any { txn.Discard(); return nil })
				tr.note("read timestamp", txn.ReadTs())
			}
		}
	}},
	{name: "commit with a callback", play: func(tr *transcript, db side) {
		txn := db.Begin(true)
		tr.err("set", func() error { return txn.Set([]byte("a"), []byte("1")) })
		tr.try("nil callback", func() any { txn.CommitWith(nil); return "returned" })
		tr.get(txn, "a")
		tr.err("set after it", func() error { return txn.Set([]byte("b"), []byte("1")) })
		got := make(chan error)
		txn.CommitWith(func(err error) { got <- err })
		tr.note("callback", <-got)
		put(tr, db, "c", "1")
		x := db.Begin(true)
		tr.get(x, "c")
		tr.err("set", func() error { return x.Set([]byte("d"), nil) })
		put(tr, db, "c", "2")
		x.CommitWith(func(err error) { got <- err })
		tr.note("conflict", <-got)
		empty := db.Begin(true)
		empty.CommitWith(func(err error) { got <- err })
		tr.note("no writes", <-got)
	}},
	{name: "iterator left open at discard", play: func(tr *transcript, db side) {
		put(tr, db, "a", "1")
		for _, update := range []bool{false, true} {
			txn := db.Begin(update)
			it := txn.Iter(badger.DefaultIteratorOptions)
			it.Rewind()
			tr.try("discard", func() any { txn.Discard(); return "returned" })
			tr.item("still there", it.Head())
			tr.get(txn, "a")
			it.Close()
			it.Close()
			tr.try("discard", func() any { txn.Discard(); return "returned" })
			tr.get(txn, "a")
		}
	}},
	{name: "iterator left open at commit", play: func(tr *transcript, db side) {
		for i, commit := range []func(txn sideTxn) error{
			func(txn sideTxn) error { return txn.Commit() },
			func(txn sideTxn) error {
				txn.CommitWith(func(error) {})
				return nil
			},
		} {
			txn := db.Begin(true)
			tr.err("set", func() error { return txn.Set(key(i), []byte("1")) })
			it := txn.Iter(badger.DefaultIteratorOptions)
			it.Rewind()
			tr.err("commit", func() error { return commit(txn) })
			it.Close()
			txn.Discard()
			tr.note("committed", db.View(func(txn sideTxn) error { tr.get(txn, string(key(i))); return nil }))
		}
	}},
	{name: "update and view", play: func(tr *transcript, db side) {
		own := errors.New("own error")
		tr.err("update's own error", func() error {
			return db.Update(func(txn sideTxn) error { return errors.Join(txn.Set([]byte("a"), nil), own) })
		})
		tr.err("view's own error", func() error { return db.View(func(sideTxn) error { return own }) })
		tr.err("set in view", func() error { return db.View(func(txn sideTxn) error { return txn.Set([]byte("a"), nil) }) })
		tr.err("commit in view", func() error { return db.View(func(txn sideTxn) error { return txn.Commit() }) })
		tr.err("commit in update", func() error {
			return db.Update(func(txn sideTxn) error { return errors.Join(txn.Set([]byte("b"), nil), txn.Commit()) })
		})
		tr.err("commit in update without writes", func() error { return db.Update(func(txn sideTxn) error { return txn.Commit() }) })
		tr.err("discard in update", func() error {
			return db.Update(func(txn sideTxn) error {
				err := txn.Set([]byte("c"), nil)
				txn.Discard()
				return err
			})
		})
		tr.err("panic in update", func() error {
			return db.Update(func(txn sideTxn) error { _ = txn.Set([]byte("d"), nil); panic("mine") })
		})
		tr.err("panic in view", func() error { return db.View(func(txn sideTxn) error { panic("mine") }) })
		tr.try("nil view", func() any { return db.View(nil) })
		tr.err("nested", func() error {
			return db.Update(func(txn sideTxn) error {
				err := db.Update(func(in sideTxn) error { return in.Set([]byte("e"), []byte("inner")) })
				tr.get(txn, "e")
				return errors.Join(err, txn.Set([]byte("e"), []byte("outer")))
			})
		})
	}},
	{name: "conflicts", play: func(tr *transcript, db side) {
		put(tr, db, "a", "1", "b", "1", "c", "1", "gone", "1", "gone", "-")
		reads := []struct {
			name string
			read func(txn sideTxn)
		}{
			{"nothing", func(sideTxn) {}},
			{"get", func(txn sideTxn) { tr.get(txn, "a") }},
			{"get of a missing key", func(txn sideTxn) { tr.get(txn, "new") }},
			{"get of a deleted key", func(txn sideTxn) { tr.get(txn, "gone") }},
			{"own write", func(txn sideTxn) { _ = txn.Set([]byte("a"), nil); tr.get(txn, "a") }},
			{"own delete", func(txn sideTxn) { _ = txn.Delete([]byte("a")); tr.get(txn, "a") }},
			{"read before own write", func(txn sideTxn) { tr.get(txn, "a"); _ = txn.Set([]byte("a"), nil) }},
			{"iteration with items", func(txn sideTxn) { tr.all(txn, badger.DefaultIteratorOptions, nil) }},
			{"iteration without items", func(txn sideTxn) {
				it := txn.Iter(badger.DefaultIteratorOptions)
				defer it.Close()
				for it.Rewind(); it.Valid(); it.Next() {
					_ = it.ValidForPrefix([]byte("a"))
				}
			}},
			{"seek to it", func(txn sideTxn) {
				it := txn.Iter(badger.DefaultIteratorOptions)
				defer it.Close()
				it.Seek([]byte("a"))
			}},
			{"seek to a missing key", func(txn sideTxn) {
				it := txn.Iter(badger.DefaultIteratorOptions)
				defer it.Close()
				it.Seek([]byte("new"))
			}},
			{"key iterator", func(txn sideTxn) {
				it := txn.KeyIter([]byte("a"), badger.DefaultIteratorOptions)
				defer it.Close()
				it.Rewind()
			}},
			{"key iterator's item", func(txn sideTxn) {
				it := txn.KeyIter([]byte("a"), badger.DefaultIteratorOptions)
				defer it.Close()
				if it.Rewind(); it.Valid() {
					tr.item("item", it.Head())
				}
			}},
			{"other key", func(txn sideTxn) { tr.get(txn, "b") }},
		}
		for _, writesToo := range []bool{true, false} {
			for _, r := range reads {
				txn := db.Begin(true)
				r.read(txn)
				if writesToo {
					tr.err("set", func() error { return txn.Set([]byte("mine"), []byte(r.name)) })
				}
				put(tr, db, "a", "2", "new", "2", "gone", "2")
				put(tr, db, "gone", "-", "new", "-")
				tr.err(r.name, txn.Commit)
			}
		}
		long := db.Begin(true)
		tr.get(long, "a")
		for i := range 50 {
			put(tr, db, fmt.Sprint("other", i), "1")
		}
		tr.err("set", func() error { return long.Set([]byte("mine"), []byte("long")) })
		tr.err("fifty commits of other keys", long.Commit)
	}},
	{name: "conflict detection off", opt: func(o badger.Options) badger.Options { return o.WithDetectConflicts(false) }, play: func(tr *transcript, db side) {
		put(tr, db, "a", "1")
		txn := db.Begin(true)
		tr.get(txn, "a")
		put(tr, db, "a", "2")
		tr.err("set", func() error { return txn.Set([]byte("a"), []byte("3")) })
		tr.err("commit", txn.Commit)
	}},
	{name: "expiry, metadata and discard marks", play: func(tr *transcript, db side) {
		for round := range 2 {
			txn := db.Begin(true)
			for i, w := range []write{
				{UserMeta: 0xFF}, {ExpiresAt: 1}, {ExpiresAt: started}, {ExpiresAt: started + 3600}, {ExpiresAt: ^uint64(0)}, {Discard: true},
				{Discard: true, ExpiresAt: 1}, {Delete: true}, {Value: make([]byte, 300), UserMeta: 7, ExpiresAt: started + 3600, Discard: true},
			} {
				w.Key = key(i + round)
				tr.err("write", func() error { return txn.Put(w) })
				tr.get(txn, string(w.Key))
			}
			tr.err("commit", txn.Commit)
			txn = db.Begin(true)
			for i := range 11 {
				tr.get(txn, string(key(i)))
			}
			txn.Discard()
		}
	}},
	{name: "calls of managed mode without it", play: func(tr *transcript, db side) {
		tr.try("transaction at", func() any { return db.BeginAt(1, true) != nil })
		tr.try("batch at", func() any { return db.NewBatchAt(1) != nil })
		tr.try("managed batch", func() any { return db.NewManagedBatch() != nil })
		tr.try("discard timestamp", func() any { db.SetDiscardTs(1); return nil })
		txn := db.Begin(true)
		tr.err("set", func() error { return txn.Set([]byte("a"), nil) })
		tr.err("commit at", func() error { return txn.CommitAt(5, nil) })
		tr.err("commit at with a callback", func() error { return txn.CommitAt(5, func(error) {}) })
		tr.err("commit", txn.Commit)
	}},
}

var batches = []situation{
	{name: "batch after flush and cancel", play: func(tr *transcript, db side) {
		for _, end := range []string{"flush", "cancel"} {
			for _, filled := range []bool{false, true} {
				wb := db.NewBatch()
				if filled {
					tr.err("set", func() error { return wb.Set([]byte(end), []byte("1")) })
				}
				if end == "flush" {
					tr.err(end, wb.Flush)
				} else {
					wb.Cancel()
				}
				tr.note("error", wb.Error())
				tr.err("set", func() error { return wb.Set([]byte("late"), nil) })
				tr.err("entry", func() error { return wb.Put(write{Key: []byte("late")}) })
				tr.err("delete", func() error { return wb.Delete([]byte("late")) })
				tr.err("list", func() error { return wb.WriteList(&pb.KVList{Kv: []*pb.KV{{Key: []byte("late"), Version: 1}}}) })
				tr.err("flush again", wb.Flush)
				tr.try("cancel again", func() any { wb.Cancel(); return nil })
				tr.err("flush at last", wb.Flush)
				tr.note("error", wb.Error())
			}
		}
	}},
	{name: "batch of many chunks", play: func(tr *transcript, db side) {
		wb := db.NewBatch()
		wb.SetMaxPendingTxns(3)
		var err error
		for i := 0; i < 5000 && err == nil; i++ {
			if i%7 == 3 {
				err = wb.Delete(key(i - 1))
			} else {
				err = wb.Set(key(i), key(i))
			}
		}
		tr.note("all set", err)
		tr.err("flush", wb.Flush)
		tr.note("versions", db.MaxVersion())
	}},
	{name: "bad entries in a batch", opt: oneMiBLog, play: func(tr *transcript, db side) {
		wb := db.NewBatch()
		tr.err("empty key", func() error { return wb.Set(nil, nil) })
		tr.err("internal key", func() error { return wb.Set([]byte("!badger!x"), nil) })
		tr.err("long key", func() error { return wb.Set(make([]byte, 65001), nil) })
		tr.err("huge value", func() error { return wb.Set([]byte("k"), make([]byte, 1<<20+1)) })
		tr.err("delete of an empty key", func() error { return wb.Delete(nil) })
		tr.err("a good one", func() error { return wb.Set([]byte("k"), []byte("v")) })
		tr.note("error", wb.Error())
		tr.err("flush", wb.Flush)
	}},
	{name: "entry at a version without managed mode", play: func(tr *transcript, db side) {
		wb := db.NewBatch()
		tr.err("set at", func() error { return wb.PutAt(write{Key: []byte("a")}, 5) })
		tr.err("set", func() error { return wb.Set([]byte("b"), nil) })
		tr.err("flush", wb.Flush)
	}},
	{name: "delete at an old version without managed mode", play: func(tr *transcript, db side) {
		put(tr, db, "a", "1")
		put(tr, db, "a", "2")
		put(tr, db, "a", "3")
		wb := db.NewBatch()
		tr.err("delete at", func() error { return wb.DeleteAt([]byte("a"), 2) })
		tr.err("flush", wb.Flush)
		put(tr, db, "c", "after") // the batch's own timestamp is used up, but nothing bears it
		tr.note("read", db.View(func(txn sideTxn) error {
			tr.note("read timestamp", txn.ReadTs())
			tr.get(txn, "a")
			tr.state(txn)
			return nil
		}))
	}},
	{name: "a list with old versions without managed mode", play: func(tr *transcript, db side) {
		for i := range 6 {
			put(tr, db, "a", fmt.Sprint(i))
		}
		wb := db.NewBatch()
		tr.err("list", func() error {
			return wb.WriteList(&pb.KVList{Kv: []*pb.KV{
				{Key: []byte("a"), Value: []byte("old"), Version: 3, UserMeta: []byte{9}},
				{Key: []byte("b"), Value: []byte("x"), Version: 2},
				{Key: []byte("b"), Value: []byte("y"), Version: 4},
			}})
		})
		tr.err("flush", wb.Flush)
		put(tr, db, "c", "after")
		tr.note("read", db.View(func(txn sideTxn) error {
			tr.get(txn, "a")
			tr.get(txn, "b")
			tr.state(txn)
			return nil
		}))
	}},
}

var iterators = []situation{
	{name: "several iterators, each a snapshot of the writes at its creation", play: func(tr *transcript, db side) {
		put(tr, db, "a", "1", "b", "1", "c", "1", "d", "1")
		put(tr, db, "b", "-", "d", "2")
		txn := db.Begin(true)
		var its []sideIter
		opt := badger.DefaultIteratorOptions
		for _, w := range []write{{Key: []byte("b"), Value: []byte("own")}, {Key: []byte("c"), Delete: true}, {Key: []byte("e"), Value: []byte("own")},
			{Key: []byte("b"), Value: []byte("own again")}} {
			its = append(its, txn.Iter(opt))
			tr.err("write", func() error { return txn.Put(w) })
		}
		for _, it := range its {
			for it.Rewind(); it.Valid(); it.Next() {
				tr.item("item", it.Head())
			}
			it.Seek([]byte("c"))
			tr.note("valid", it.Valid(), it.ValidForPrefix([]byte("c")), it.ValidForPrefix([]byte("d")))
			it.Close()
		}
		tr.err("commit", txn.Commit)
	}},
	{name: "iterator used wrongly", play: func(tr *transcript, db side) {
		for _, written := range []bool{false, true} {
			if written {
				put(tr, db, "a", "1")
			}
			for _, own := range []bool{false, true} {
				txn := db.Begin(true)
				if own {
					_ = txn.Set([]byte("z"), nil)
				}
				it := txn.Iter(badger.DefaultIteratorOptions)
				tr.note("not positioned", it.Valid(), it.ValidForPrefix([]byte("a")))
				tr.try("item of none", func() any { return string(it.Head().Key()) })
				it.Seek([]byte("zz"))
				tr.note("past the end", it.Valid(), it.ValidForPrefix(nil))
				tr.try("item past the end", func() any { return string(it.Head().Key()) })
				tr.try("next past the end", func() any { it.Next(); return it.Valid() })
				it.Seek(nil)
				tr.note("seek nil", it.Valid())
				it.Seek([]byte{})
				tr.note("seek empty", it.Valid())
				it.Close()
				it.Close()
				tr.note("valid after close", it.ValidForPrefix([]byte("b")))
				opt := badger.DefaultIteratorOptions
				opt.Prefix = []byte("a")
				tr.try("key iterator with a prefix", func() any { return txn.KeyIter([]byte("a"), opt) != nil })
				tr.try("discard", func() any { txn.Discard(); return nil })
				tr.try("iterator of a discarded one", func() any { return txn.Iter(opt) != nil })
			}
		}
	}},
	{name: "prefix and seek in every combination", play: func(tr *transcript, db side) {
		put(tr, db, "a", "1", "b", "1", "ba", "1", "bb", "1", "c", "1")
		put(tr, db, "ba", "2", "bb", "-", "bc", "3", "aa", "1", "aa", "-")
		for _, own := range []bool{false, true} {
			txn := db.Begin(true)
			if own {
				_ = txn.Set([]byte("bab"), []byte("own"))
				_ = txn.Delete([]byte("c"))
			}
			for _, prefix := range []string{"", "a", "b", "ba", "bz", "\xff"} {
				for _, seek := range []string{"", "a", "aa", "b", "b\xff", "ba", "bb", "bc\x00", "c", "\xff"} {
					for flags := range 8 {
						opt := badger.DefaultIteratorOptions
						opt.Prefix, opt.Reverse, opt.AllVersions = []byte(prefix), flags&1 > 0, flags&2 > 0
						if flags&4 > 0 {
							opt.SinceTs = 1
						}
						it := txn.Iter(opt)
						var got []string
						for it.Seek([]byte(seek)); it.Valid(); it.Next() {
							i := it.Head()
							got = append(got, fmt.Sprintf("%s@%d %v", i.Key(), i.Version(), i.IsDeletedOrExpired()))
						}
						it.Close()
						tr.note(fmt.Sprintf("own %v prefix %q seek %q reverse %v all %v since %d", own, prefix, seek, opt.Reverse, opt.AllVersions,
							opt.SinceTs), got)
					}
				}
			}
			txn.Discard()
		}
	}},
	{name: "iteration without prefetch, values asked for late", play: func(tr *transcript, db side) {
		for i := range 20 {
			put(tr, db, string(key(i)), string(bytes.Repeat(key(i), i*8)))
		}
		opt := badger.DefaultIteratorOptions
		opt.PrefetchValues = false
		txn := db.Begin(false)
		defer txn.Discard()
		tr.all(txn, opt, key(3))
		opt.Reverse = true
		tr.all(txn, opt, key(12))
	}},
}

func TestBehaviourOfLimits(t *testing.T)       { compareAll(t, limits) }
func TestBehaviourOfTransactions(t *testing.T) { compareAll(t, transactions) }
func TestBehaviourOfBatches(t *testing.T)      { compareAll(t, batches) }
func TestBehaviourOfIterators(t *testing.T)    { compareAll(t, iterators) }

func compareAll(t *testing.T, rows []situation) {
	for _, s := range rows {
		s.compare(t)
	}
}
