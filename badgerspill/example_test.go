package badgerspill_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/wbm"
)

// tempDir returns a directory for an example, and what removes it.
func tempDir() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "badgerspill")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { os.RemoveAll(dir) }
}

// openTemp opens a database in a directory of its own, and returns what closes it and removes the
// directory.
func openTemp() (db *badgerspill.DB, closeAndRemove func()) {
	dir, remove := tempDir()
	db, err := badgerspill.Open(badgerspill.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		log.Fatal(err)
	}
	return db, func() {
		if err := db.Close(); err != nil {
			log.Fatal(err)
		}
		remove()
	}
}

// A program that has used Badger changes its import and nothing else.
func Example() {
	dir, remove := tempDir()
	defer remove()

	db, err := badgerspill.Open(badgerspill.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	err = db.Update(func(txn *badgerspill.Txn) error {
		return txn.Set([]byte("answer"), []byte("42"))
	})
	if err != nil {
		log.Fatal(err)
	}
	err = db.View(func(txn *badgerspill.Txn) error {
		item, err := txn.Get([]byte("answer"))
		if err != nil {
			return err
		}
		return item.Value(func(val []byte) error {
			fmt.Printf("the answer is %s\n", val)
			return nil
		})
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: the answer is 42
}

// Options of the layer are set like Badger's own, and one out of its range is refused with an error
// that names it.
func ExampleOpen() {
	dir, remove := tempDir()
	defer remove()

	opt := badgerspill.DefaultOptions(dir).
		WithLogger(nil).
		WithSyncWrites(true).
		WithSpillCapacity(1 << 30).
		WithBlockTimeout(time.Second)
	db, err := badgerspill.Open(opt)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("spill in", filepath.Base(db.EffectiveOpts().SpillDir))
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}

	_, err = badgerspill.Open(opt.WithSegmentSize(1))
	var bad *badgerspill.OptionError
	if errors.As(err, &bad) {
		fmt.Println(bad.Field, "must be", bad.Bound)
	}
	// Output:
	// spill in spill
	// Tuning.SegmentSize must be from 4096 to 1073741824 bytes, or 0 for the default
}

// With the caller's own timestamps, commits may come in any order: reads see the highest one at or
// below theirs.
func ExampleOpenManaged() {
	dir, remove := tempDir()
	defer remove()
	opt := badgerspill.DefaultOptions(dir).WithLogger(nil).WithNumVersionsToKeep(10)
	db, err := badgerspill.OpenManaged(opt)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	for _, ts := range []uint64{30, 10, 20} {
		txn := db.NewTransactionAt(ts, true)
		if err := txn.Set([]byte("key"), fmt.Appendf(nil, "written at %d", ts)); err != nil {
			log.Fatal(err)
		}
		if err := txn.CommitAt(ts, nil); err != nil {
			log.Fatal(err)
		}
	}
	for _, ts := range []uint64{5, 25, 35} {
		txn := db.NewTransactionAt(ts, false)
		item, err := txn.Get([]byte("key"))
		if err != nil {
			fmt.Println(ts, err)
		} else {
			val, err := item.ValueCopy(nil)
			fmt.Printf("%d %s %v\n", ts, val, err)
		}
		txn.Discard()
	}
	// Output:
	// 5 Key not found
	// 25 written at 20 <nil>
	// 35 written at 30 <nil>
}

// A program that has options of Badger starts from them, and its errors are the same values.
func ExampleOptionsFrom() {
	dir, remove := tempDir()
	defer remove()

	opt := badger.DefaultOptions(dir).WithLogger(nil).WithNumVersionsToKeep(3)
	db, err := badgerspill.Open(badgerspill.OptionsFrom(opt).WithSpillCapacity(1 << 30))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	fmt.Println(db.Opts().NumVersionsToKeep, db.Opts().SpillCapacity)
	err = db.View(func(txn *badgerspill.Txn) error {
		_, err := txn.Get([]byte("missing"))
		return err
	})
	fmt.Println(errors.Is(err, badger.ErrKeyNotFound))
	// Output:
	// 3 1073741824
	// true
}

// Databases that share a budget share its tiers: what one holds, the others do not have.
func ExampleOptions_WithWriteBufferManager() {
	budget, err := wbm.New(wbm.Options{Limit: 256 << 20})
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"users", "orders"} {
		dir, remove := tempDir()
		defer remove()
		opt := badgerspill.DefaultOptions(filepath.Join(dir, name)).WithLogger(nil).WithWriteBufferManager(budget)
		db, err := badgerspill.Open(opt)
		if err != nil {
			log.Fatal(err)
		}
		defer db.Close()
		if err := db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte("k"), []byte(name)) }); err != nil {
			log.Fatal(err)
		}
	}
	for _, a := range budget.Accounts() {
		fmt.Println(filepath.Base(a.Name))
	}
	fmt.Printf("tier %v of %d MiB\n", budget.Tier(), budget.Limit()>>20)
	// Unordered output:
	// users
	// orders
	// tier normal of 256 MiB
}

// A listener learns when the layer turns to the spill and when Badger takes commits again. Events
// come one at a time, in order; all of them are delivered when Close returns.
func ExampleEventListener() {
	dir, remove := tempDir()
	defer remove()

	listener := &badgerspill.EventListener{
		SpillBegin: func(e badgerspill.SpillBeginInfo) { fmt.Println("commits are spilled, by", e.Cause) },
		BackgroundError: func(e badgerspill.BackgroundErrorInfo) {
			fmt.Println(e.Op, "failed:", e.Err)
		},
	}
	opt := badgerspill.DefaultOptions(dir).WithLogger(nil).WithEventListener(listener).WithSpillPolicy(badgerspill.Always)
	db, err := badgerspill.Open(opt)
	if err != nil {
		log.Fatal(err)
	}
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: commits are spilled, by policy
}

// Drain replays the spill into Badger, whatever the load: before a copy of the files, or to hand
// the directory to plain Badger.
func ExampleDB_Drain() {
	dir, remove := tempDir()
	defer remove()
	opt := badgerspill.DefaultOptions(dir).WithLogger(nil).
		WithSpillPolicy(badgerspill.Always).
		WithQuiet(1, time.Hour) // no replay of its own accord
	db, err := badgerspill.Open(opt)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	for i := range 3 {
		err := db.Update(func(txn *badgerspill.Txn) error { return txn.Set(fmt.Appendf(nil, "key%d", i), []byte("v")) })
		if err != nil {
			log.Fatal(err)
		}
	}

	fmt.Println(db.SpillStats().SpillPending, "commits in the spill")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := db.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(db.SpillStats().SpillPending, "commits in the spill")
	// Output:
	// 3 commits in the spill
	// 0 commits in the spill
}

// The counters tell where commits went; they begin at 0 with Open.
func ExampleDB_SpillStats() {
	dir, remove := tempDir()
	defer remove()
	db, err := badgerspill.Open(badgerspill.DefaultOptions(dir).WithLogger(nil).WithSpillPolicy(badgerspill.Never))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	for range 5 {
		if err := db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte("k"), []byte("v")) }); err != nil {
			log.Fatal(err)
		}
	}

	st := db.SpillStats()
	fmt.Println("state:", st.State, "tier:", st.Tier)
	fmt.Println("commits:", st.CommitsDirect, "direct,", st.CommitsSpilled, "spilled,", st.CommitsBlocked, "blocked")
	// Output:
	// state: direct tier: normal
	// commits: 5 direct, 0 spilled, 0 blocked
}

// A transaction that read what somebody else wrote since fails with ErrConflict; it is tried again
// from the start.
func ExampleDB_Update() {
	db, closeAndRemove := openTemp()
	defer closeAndRemove()

	deposit := func(account string, amount uint64) error {
		for {
			err := db.Update(func(txn *badgerspill.Txn) error {
				var balance uint64
				item, err := txn.Get([]byte(account))
				switch {
				case errors.Is(err, badgerspill.ErrKeyNotFound):
				case err != nil:
					return err
				default:
					val, err := item.ValueCopy(nil)
					if err != nil {
						return err
					}
					balance = binary.BigEndian.Uint64(val)
				}
				fmt.Println("balance:", balance+amount)
				return txn.Set([]byte(account), binary.BigEndian.AppendUint64(nil, balance+amount))
			})
			if !errors.Is(err, badgerspill.ErrConflict) {
				return err
			}
		}
	}
	if err := errors.Join(deposit("ann", 100), deposit("ann", 20)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// balance: 100
	// balance: 120
}

// A view is a snapshot: it does not see what is committed while it lasts.
func ExampleDB_View() {
	db, closeAndRemove := openTemp()
	defer closeAndRemove()
	set := func(val string) {
		err := db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte("key"), []byte(val)) })
		if err != nil {
			log.Fatal(err)
		}
	}

	set("old")
	err := db.View(func(txn *badgerspill.Txn) error {
		set("new")
		item, err := txn.Get([]byte("key"))
		if err != nil {
			return err
		}
		val, err := item.ValueCopy(nil) // valid after the transaction, too
		fmt.Printf("%s, version %d\n", val, item.Version())
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: old, version 1
}

// An iterator goes through keys in byte order, here those with a prefix. Without PrefetchValues it
// reads keys alone.
func ExampleTxn_NewIterator() {
	db, closeAndRemove := openTemp()
	defer closeAndRemove()
	err := db.Update(func(txn *badgerspill.Txn) error {
		for _, k := range []string{"order:7", "user:bob", "user:ann", "zone:1"} {
			if err := txn.Set([]byte(k), []byte("value of "+k)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	err = db.View(func(txn *badgerspill.Txn) error {
		opt := badgerspill.DefaultIteratorOptions
		opt.Prefix = []byte("user:")
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			err := item.Value(func(val []byte) error {
				fmt.Printf("%s = %s\n", item.Key(), val)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// user:ann = value of user:ann
	// user:bob = value of user:bob
}

// A batch makes as few transactions of many writes as their limits allow. Cancel after Flush does
// nothing.
func ExampleWriteBatch() {
	db, closeAndRemove := openTemp()
	defer closeAndRemove()

	wb := db.NewWriteBatch()
	defer wb.Cancel()
	for i := range 10000 {
		if err := wb.Set(fmt.Appendf(nil, "key%04d", i), []byte("value")); err != nil {
			log.Fatal(err)
		}
	}
	if err := wb.Delete([]byte("key0000")); err != nil {
		log.Fatal(err)
	}
	if err := wb.Flush(); err != nil {
		log.Fatal(err)
	}

	keys := 0
	_ = db.View(func(txn *badgerspill.Txn) error {
		opt := badgerspill.DefaultIteratorOptions
		opt.PrefetchValues = false
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			keys++
		}
		return nil
	})
	fmt.Println(keys, "keys")
	// Output: 9999 keys
}

// Subscribe blocks, so it has a goroutine of its own. It tells of commits from when it is called
// on; the first write here is repeated until it is seen.
func ExampleDB_Subscribe() {
	db, closeAndRemove := openTemp()
	defer closeAndRemove()
	set := func(key, val string) {
		err := db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte(key), []byte(val)) })
		if err != nil {
			log.Fatal(err)
		}
	}

	ctx, cancel := context.WithCancel(context.Background())
	updates, ended := make(chan *pb.KV, 1), make(chan error, 1)
	go func() {
		ended <- db.Subscribe(ctx, func(list *badgerspill.KVList) error {
			for _, kv := range list.Kv {
				select {
				case updates <- kv:
				case <-ctx.Done():
				}
			}
			return nil
		}, []pb.Match{{Prefix: []byte("user:")}})
	}()
	for seen := false; !seen; {
		set("user:", "ready?")
		select {
		case <-updates:
			seen = true
		case <-time.After(time.Millisecond):
		}
	}

	set("order:1", "not asked for")
	set("user:ann", "new")
	for kv := range updates {
		if string(kv.Key) != "user:" {
			fmt.Printf("%s = %s\n", kv.Key, kv.Value)
			break
		}
	}
	cancel()
	fmt.Println(errors.Is(<-ended, context.Canceled))
	// Output:
	// user:ann = new
	// true
}

// A backup holds what the spill holds, too. The version that it returns is where the next,
// incremental, one begins.
func ExampleDB_Backup() {
	db, closeAndRemove := openTemp()
	defer closeAndRemove()
	set := func(key string) {
		if err := db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte(key), []byte("v")) }); err != nil {
			log.Fatal(err)
		}
	}

	var full, incremental bytes.Buffer
	set("a")
	set("b")
	since, err := db.Backup(&full, 0)
	if err != nil {
		log.Fatal(err)
	}
	set("c")
	last, err := db.Backup(&incremental, since)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("versions up to", since, "and", last)

	restored, closeRestored := openTemp()
	defer closeRestored()
	const pendingWrites = 16
	if err := errors.Join(restored.Load(&full, pendingWrites), restored.Load(&incremental, pendingWrites)); err != nil {
		log.Fatal(err)
	}
	_ = restored.View(func(txn *badgerspill.Txn) error {
		it := txn.NewIterator(badgerspill.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			fmt.Printf("%s@%d\n", it.Item().Key(), it.Item().Version())
		}
		return nil
	})
	// Output:
	// versions up to 2 and 3
	// a@1
	// b@2
	// c@3
}

// A sequence hands out integers from a lease, here of 100, so that it writes once in 100 calls.
// Release gives back what is left of the lease.
func ExampleDB_GetSequence() {
	db, closeAndRemove := openTemp()
	defer closeAndRemove()

	for range 2 {
		seq, err := db.GetSequence([]byte("orders"), 100)
		if err != nil {
			log.Fatal(err)
		}
		for range 3 {
			n, err := seq.Next()
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(n)
		}
		if err := seq.Release(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 0
	// 1
	// 2
	// 3
	// 4
	// 5
}

// A merge operator counts without reading: Add is a blind write, Get merges what was added.
func ExampleDB_GetMergeOperator() {
	db, closeAndRemove := openTemp()
	defer closeAndRemove()

	add := func(have, more []byte) []byte {
		return binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(have)+binary.BigEndian.Uint64(more))
	}
	hits := db.GetMergeOperator([]byte("hits"), add, 200*time.Millisecond)
	defer hits.Stop()
	for _, n := range []uint64{1, 2, 3} {
		if err := hits.Add(binary.BigEndian.AppendUint64(nil, n)); err != nil {
			log.Fatal(err)
		}
	}
	sum, err := hits.Get()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(binary.BigEndian.Uint64(sum), "hits")
	// Output: 6 hits
}
