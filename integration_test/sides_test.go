package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit/sides"
)

// A situation is played once on plain Badger and once on badgerspill in each of several modes.
// Everything that it observes goes into a transcript, panics included, and the transcripts must be
// equal.

type (
	side      = sides.Side
	sideTxn   = sides.Txn
	sideItem  = sides.Item
	sideIter  = sides.Iterator
	sideBatch = sides.Batch
	write     = sides.Write
)

// plainSide is a database of Badger's, with the rest of its methods behind those of a side.
type plainSide struct {
	side
	plainRest
}

type plainRest struct{ *badger.DB }

func plainSideOf(db *badger.DB) plainSide { return plainSide{sides.Plain(db), plainRest{db}} }

// spillSide is one of ours.
type spillSide struct {
	side
	spillRest
}

type spillRest struct{ *badgerspill.DB }

func spillSideOf(db *badgerspill.DB) spillSide {
	return spillSide{sides.Of(db, spillEntry), spillRest{db}}
}

func spillEntry(w write) *badgerspill.Entry {
	e := badgerspill.NewEntry(w.Key, w.Value).WithMeta(w.UserMeta)
	if w.Discard {
		e.WithDiscard()
	}
	e.ExpiresAt = w.ExpiresAt
	return e
}

// transcript is what was observed, in order.
type transcript struct {
	t     *testing.T
	lines []observed
}

type observed struct {
	label  string
	values []any
}

func (tr *transcript) note(label string, values ...any) {
	tr.lines = append(tr.lines, observed{label, values})
}

// try notes what fn returns, or the value that it panics with.
func (tr *transcript) try(label string, fn func() any) {
	defer func() {
		if r := recover(); r != nil {
			tr.note(label, "panic", r)
		}
	}()
	tr.note(label, fn())
}

// err is try for what returns an error.
func (tr *transcript) err(label string, fn func() error) {
	tr.try(label, func() any { return fn() })
}

// get notes all that an item says, except approximate sizes.
func (tr *transcript) get(txn sideTxn, key string) {
	it, err := txn.Read([]byte(key))
	if err != nil {
		tr.note("get "+key, err)
		return
	}
	tr.item("get "+key, it)
}

func (tr *transcript) item(label string, it sideItem) {
	v, err := it.ValueCopy(nil)
	var inside []byte
	verr := it.Value(func(val []byte) error { inside = bytes.Clone(val); return nil })
	dst := []byte("0123456789")
	tr.note(label, string(it.Key()), string(it.KeyCopy(nil)), string(it.KeyCopy(dst)), short(v), v == nil, err, short(inside), verr,
		it.Version(), it.UserMeta(), it.ExpiresAt(), it.IsDeletedOrExpired(), it.DiscardEarlierVersions(), it.KeySize())
}

func short(v []byte) string {
	if len(v) <= 40 {
		return string(v)
	}
	return fmt.Sprintf("%d bytes %q...%q %x", len(v), v[:8], v[len(v)-8:], bytes.Count(v, v[:1]))
}

// all notes every item of an iteration; of a long one a checksum.
func (tr *transcript) all(txn sideTxn, opt badger.IteratorOptions, seek []byte) {
	it := txn.Iter(opt)
	defer it.Close()
	label := fmt.Sprintf("iterate %+v from %q:", opt, seek)
	n, rest := 0, crc32.NewIEEE()
	for it.Seek(seek); it.Valid(); it.Next() {
		if n++; n <= 50 {
			tr.item(label, it.Head())
			continue
		}
		i := it.Head()
		v, err := i.ValueCopy(nil)
		fmt.Fprint(rest, i.Key(), i.Version(), i.IsDeletedOrExpired(), err, len(v))
		rest.Write(v)
	}
	tr.note(label, n, rest.Sum32())
}

// state notes all keys, all versions, in both directions.
func (tr *transcript) state(txn sideTxn) {
	for _, reverse := range []bool{false, true} {
		for _, versions := range []bool{false, true} {
			opt := badger.DefaultIteratorOptions
			opt.Reverse, opt.AllVersions = reverse, versions
			tr.all(txn, opt, nil)
		}
	}
}

// equal fails the test at the first line that differs. want is plain Badger's.
func (tr *transcript) equal(want *transcript) {
	tr.t.Helper()
	for i, w := range want.lines {
		require.Less(tr.t, i, len(tr.lines), "missing: %s %v", w.label, w.values)
		g := tr.lines[i]
		require.Equal(tr.t, w.label, g.label, "line %d", i)
		require.Len(tr.t, g.values, len(w.values), "line %d, %s:\nBadger      %v\nbadgerspill %v", i, w.label, w.values, g.values)
		for j := range w.values {
			require.True(tr.t, sameValue(w.values[j], g.values[j]), "line %d, %s, value %d:\nBadger      %v\nbadgerspill %v", i, w.label, j,
				w.values, g.values)
		}
	}
	require.Len(tr.t, tr.lines, len(want.lines), "lines too many")
}

func sameValue(want, got any) bool {
	wantErr, ok := want.(error)
	if !ok {
		return fmt.Sprintf("%#v", want) == fmt.Sprintf("%#v", got)
	}
	gotErr, ok := got.(error)
	if !ok {
		return false
	}
	var wantRun, gotRun runtime.Error
	if errors.As(wantErr, &wantRun) {
		return errors.As(gotErr, &gotRun)
	}
	return errors.Is(gotErr, wantErr) || wantErr.Error() == gotErr.Error()
}

// sideMode is a way to run badgerspill.
type sideMode struct {
	name   string
	change func(badgerspill.Options) badgerspill.Options
}

var sideModes = []sideMode{
	{"spill empty", func(o badgerspill.Options) badgerspill.Options { return o.WithStallThreshold(-1).WithSpillRate(-1) }},
	{"all spilled", func(o badgerspill.Options) badgerspill.Options {
		return o.WithSpillPolicy(badgerspill.Always).WithQuiet(1, time.Hour).WithMaxSpillAge(time.Hour)
	}},
	{"pushed to and fro", pushed},
}

// situation is one row of a table.
type situation struct {
	name    string
	managed bool
	opt     func(badger.Options) badger.Options
	play    func(tr *transcript, db side)
	closes  bool // play closes the database
}

// compare plays the row on both sides; afterwards both are reopened and their states compared once
// more.
func (s situation) compare(t *testing.T) {
	options := func(dir string) badger.Options {
		o := small(dir).WithMemTableSize(1 << 20).WithValueLogFileSize(4 << 20)
		if s.opt != nil {
			o = s.opt(o)
		}
		return o
	}
	run := func(t *testing.T, open func() side) *transcript {
		tr := &transcript{t: t}
		for round := range 2 {
			db := open()
			if round == 0 {
				s.play(tr, db)
			} else {
				tr.note("reopened")
			}
			if round == 1 || !s.closes {
				txn := sideTxn(nil)
				if s.managed {
					txn = db.BeginAt(1<<62, false)
				} else {
					txn = db.Begin(false)
				}
				tr.state(txn)
				txn.Discard()
				if !s.managed {
					tr.note("max version", db.MaxVersion())
				}
			}
			require.NoError(t, db.Close())
		}
		return tr
	}
	t.Run(s.name, func(t *testing.T) {
		dir := t.TempDir()
		want := run(t, func() side {
			open := badger.Open
			if s.managed {
				open = badger.OpenManaged
			}
			db, err := open(options(filepath.Join(dir, "plain")))
			require.NoError(t, err)
			return plainSideOf(db)
		})
		require.NotEmpty(t, want.lines)
		for _, m := range sideModes {
			t.Run(m.name, func(t *testing.T) {
				run(t, func() side {
					open := badgerspill.Open
					if s.managed {
						open = badgerspill.OpenManaged
					}
					o := m.change(badgerspill.OptionsFrom(options(filepath.Join(dir, strings.ReplaceAll(m.name, " ", "-")))))
					db, err := open(o.WithDrainOnClose(false))
					require.NoError(t, err)
					return spillSideOf(db)
				}).equal(want)
			})
		}
	})
}
