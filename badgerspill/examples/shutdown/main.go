package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	badger "github.com/badgerspill/badgerspill/badgerspill"
)

const (
	workers = 4
	// closeLimit is below the 30 s that systemd, Kubernetes and others usually give.
	closeLimit = 25 * time.Second
)

var prefix = []byte("event/")

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: shutdown DIR")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the next signal does what it does without us
	if err := run(ctx, os.Args[1], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run stores events until the context ends.
func run(ctx context.Context, dir string, out io.Writer) error {
	db, err := badger.Open(badger.DefaultOptions(dir).WithLogger(nil).WithKeepSpillOnClose(true))
	if err != nil {
		return err
	}
	err = store(ctx, db, out)
	closing, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	return errors.Join(err, db.CloseContext(closing))
}

func store(ctx context.Context, db *badger.DB, out io.Writer) (err error) {
	found, err := count(db)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "found", found, "events")
	numbers, err := db.GetSequence([]byte("next event"), 1000)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, numbers.Release()) }()

	var stored atomic.Int64
	failed := make(chan error, workers)
	var running sync.WaitGroup
	for range workers {
		running.Add(1)
		go func() {
			defer running.Done()
			for ctx.Err() == nil {
				// The context is not the commit's: one that has begun is done.
				if err := storeOne(db, numbers); err != nil {
					failed <- err
					return
				}
				if stored.Add(1) == 1 {
					fmt.Fprintln(out, "storing")
				}
			}
		}()
	}
	running.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	fmt.Fprintln(out, "stored", stored.Load(), "events")
	return err
}

func storeOne(db *badger.DB, numbers *badger.Sequence) error {
	n, err := numbers.Next()
	if err != nil {
		return err
	}
	key := binary.BigEndian.AppendUint64(append([]byte(nil), prefix...), n)
	return db.Update(func(txn *badger.Txn) error { return txn.Set(key, []byte("what happened")) })
}

func count(db *badger.DB) (events int, err error) {
	err = db.View(func(txn *badger.Txn) error {
		opt := badger.DefaultIteratorOptions
		opt.Prefix, opt.PrefetchValues = prefix, false
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			events++
		}
		return nil
	})
	return events, err
}
