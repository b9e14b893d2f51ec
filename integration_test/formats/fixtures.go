package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
)

// fixture is one directory.
type fixture struct {
	name   string
	key    string // the encryption key
	badger string // the version of plain Badger that makes the database before make is called
	killed bool   // the child kills itself
	make   func(work string, f *fixture) error
	// whether the files show the state; nil: a clean close always leaves it
	shows func(work string, f *fixture) (bool, error)
}

const (
	encryptionKey = "0123456789abcdef0123456789abcdef"
	interlockName = "UNREPLAYED-SPILL--open-with-badgerspill.mem"
	dropName      = "BADGERSPILL-DROP"
)

var fixtures = []*fixture{
	{name: "plain", make: spillOver},
	{name: "encrypted", key: encryptionKey, make: spillOver},
	{name: "hedged", killed: true, make: hedged, shows: showsHedged},
	{name: "half-replayed", killed: true, make: halfReplayed, shows: showsHalf},
	{name: "drop-prefix-interrupted", killed: true, make: dropInterrupted, shows: showsDrop},
	{name: "drop-all-interrupted", killed: true, make: dropInterrupted, shows: showsDrop},
	{name: "drop-done", make: dropDone},
	{name: "badger-4.0.1", badger: "v4.0.1", make: spillOver},
	{name: "badger-4.2.0", badger: "v4.2.0", make: spillOver},
	{name: "badger-4.5.0", badger: "v4.5.0", make: spillOver},
	{name: "badger-4.8.0", badger: "v4.8.0", make: spillOver},
}

func fixtureOf(name string) *fixture {
	for _, f := range fixtures {
		if f.name == name {
			return f
		}
	}
	log.Fatalf("no fixture %q", name)
	return nil
}

// options keeps files small. Nothing is replayed by itself.
func (f *fixture) options(work string) badgerspill.Options {
	o := badgerspill.DefaultOptions(filepath.Join(work, "db"))
	o = o.WithLogger(nil).WithMetricsEnabled(false).WithMemTableSize(1 << 20).WithValueLogFileSize(1 << 20).WithValueThreshold(4 << 10)
	o = o.WithNumCompactors(2).WithBlockCacheSize(1 << 20).WithIndexCacheSize(1 << 20).WithEncryptionKey([]byte(f.key))
	return o.WithSegmentSize(4<<10).WithQuiet(1, time.Hour).WithMaxSpillAge(time.Hour)
}

// direct has commits go to Badger.
func direct(o badgerspill.Options) badgerspill.Options {
	return o.WithStallThreshold(-1).WithSpillRate(-1)
}

// always has them go to the spill, which stays.
func always(o badgerspill.Options) badgerspill.Options {
	return o.WithSpillPolicy(badgerspill.Always).WithKeepSpillOnClose(true)
}

// with opens a database, calls fn and closes it.
func with(o badgerspill.Options, fn func(db *badgerspill.DB) error) error {
	db, err := badgerspill.Open(o)
	if err != nil {
		return err
	}
	return errors.Join(fn(db), db.Close())
}

// base commits keys k0000 to k0119 to Badger.
func base(work string, f *fixture, b book) error {
	return with(direct(f.options(work)), func(db *badgerspill.DB) error {
		for i := range 120 {
			if err := b.set(db, fmt.Sprintf("k%04d", i), 0, 50+40*i); err != nil {
				return err
			}
		}
		return nil
	})
}

// spillOver leaves a spill of several segments over what Badger has: keys of Badger's that it
// overwrites and deletes, and keys of its own, some of which it deletes.
func spillOver(work string, f *fixture) error {
	b := book{}
	if err := b.read(work); err != nil {
		return err
	}
	if f.badger == "" {
		if err := base(work, f, b); err != nil {
			return err
		}
	}
	for round := 1; round <= 2; round++ {
		err := with(always(f.options(work)), func(db *badgerspill.DB) error {
			for i := 0; i < 160; i += round {
				k := fmt.Sprintf("k%04d", i)
				var err error
				if i%5 == round {
					err = b.delete(db, k)
				} else if i%3 == 0 {
					err = b.set(db, k, round, 20+60*i)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return b.write(work)
}

// kill ends this process as a crash does.
func kill() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}

// hedged commits with a threshold that the first commit passes at once: Badger has it, and the
// spill.
func hedged(work string, f *fixture) error {
	b := book{}
	if err := base(work, f, b); err != nil {
		return err
	}
	db, err := badgerspill.Open(f.options(work).WithStallThreshold(time.Nanosecond).WithSpillRate(-1))
	if err != nil {
		return err
	}
	for i := range 20 {
		if err := b.set(db, fmt.Sprintf("h%04d", i), 1, 100); err != nil {
			return err
		}
		if err := b.delete(db, fmt.Sprintf("k%04d", i)); err != nil {
			return err
		}
	}
	if err := b.write(work); err != nil {
		return err
	}
	time.Sleep(100 * time.Millisecond) // Badger answers the hedge
	kill()
	return nil
}

func showsHedged(work string, f *fixture) (bool, error) {
	inSpill := map[string]bool{}
	err := walk(work, f, func(e *spillfile.Entry) { inSpill[string(e.Key)] = true })
	if err != nil {
		return false, err
	}
	inBadger, err := withoutSpill(work, f)
	return inSpill["h0000"] && inBadger["h0000"] && !inBadger["h0019"], err
}

const halfKeys = 500

// halfReplayed is killed when a part of a chunk is in Badger.
func halfReplayed(work string, f *fixture) error {
	b := book{}
	if err := base(work, f, b); err != nil {
		return err
	}
	o := always(f.options(work)).WithSegmentSize(64 << 10).WithNumVersionsToKeep(1)
	err := with(o, func(db *badgerspill.DB) error {
		for round := range 2 {
			for i := range halfKeys {
				if err := b.set(db, fmt.Sprintf("h%04d", i), round, 8<<10); err != nil {
					return err
				}
			}
		}
		for i := range 60 {
			if err := b.delete(db, fmt.Sprintf("k%04d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, b.write(work)); err != nil {
		return err
	}
	db, err := badgerspill.Open(o.WithQuiet(1e12, time.Millisecond).WithReplayMaxRate(1 << 20))
	if err != nil {
		return err
	}
	for db.SpillStats().BytesReplayed < 2<<20 {
		time.Sleep(time.Millisecond)
	}
	kill()
	return nil
}

func showsHalf(work string, f *fixture) (bool, error) {
	spilled := 0
	if err := walk(work, f, func(e *spillfile.Entry) { spilled++ }); err != nil {
		return false, err
	}
	inBadger, err := withoutSpill(work, f)
	n := 0
	for k := range inBadger {
		if strings.HasPrefix(k, "h") {
			n++
		}
	}
	return spilled == 2*halfKeys+60 && n > 50 && n < halfKeys-50, err
}

// dropInterrupted kills itself once a drop is announced; one of everything, once Badger has no
// tables any more.
func dropInterrupted(work string, f *fixture) error {
	b := book{}
	if err := base(work, f, b); err != nil {
		return err
	}
	all := f.name == "drop-all-interrupted"
	prefix := "k001"
	if all {
		prefix = ""
	}
	db, err := badgerspill.Open(always(f.options(work)))
	if err != nil {
		return err
	}
	for i := range 40 {
		if err := b.set(db, fmt.Sprintf("k%04d", i*5), 1, 300); err != nil {
			return err
		}
	}
	b.drop(prefix)
	if err := b.write(work); err != nil {
		return err
	}
	go func() {
		for !announced(work) || all && tables(work) > 0 {
		}
		kill()
	}()
	if all {
		err = db.DropAll()
	} else {
		err = db.DropPrefix([]byte(prefix))
	}
	return err
}

func announced(work string) bool {
	_, err := os.Stat(filepath.Join(work, "db", dropName))
	return err == nil
}

func tables(work string) int {
	found, _ := filepath.Glob(filepath.Join(work, "db", "*.sst"))
	return len(found)
}

func showsDrop(work string, _ *fixture) (bool, error) { return announced(work), nil }

// dropDone drops a prefix, and sets some of its keys again.
func dropDone(work string, f *fixture) error {
	b := book{}
	if err := base(work, f, b); err != nil {
		return err
	}
	err := with(always(f.options(work)), func(db *badgerspill.DB) error {
		for i := range 40 {
			if err := b.set(db, fmt.Sprintf("k%04d", i*5), 1, 300); err != nil {
				return err
			}
		}
		b.drop("k00")
		if err := db.DropPrefix([]byte("k00")); err != nil {
			return err
		}
		for i := range 30 {
			if err := b.set(db, fmt.Sprintf("k%04d", i*7), 2, 200); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, b.write(work))
}

// walk visits what the spill holds.
func walk(work string, f *fixture, visit func(e *spillfile.Entry)) error {
	src := check.Source{Dir: filepath.Join(work, "db", "spill"), EncryptionKey: []byte(f.key)}
	_, err := check.Walk(context.Background(), src, func(c *check.Commit) error {
		for i := range c.Entries {
			if !c.Replayed {
				visit(&c.Entries[i])
			}
		}
		return nil
	})
	return err
}

// withoutSpill returns the keys that Badger itself has, by a copy of its files.
func withoutSpill(work string, f *fixture) (map[string]bool, error) {
	dir := filepath.Join(work, "copy")
	defer os.RemoveAll(dir)
	err := os.CopyFS(dir, os.DirFS(filepath.Join(work, "db")))
	if err == nil {
		err = os.Remove(filepath.Join(dir, interlockName))
	}
	if err != nil {
		return nil, err
	}
	o := f.options(work)
	db, err := badger.Open(o.Badger().WithDir(dir).WithValueDir(dir))
	if err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	err = db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			keys[string(bytes.Clone(it.Item().Key()))] = true
		}
		return nil
	})
	return keys, errors.Join(err, db.Close())
}
