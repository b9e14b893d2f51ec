package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
)

// zeroLimit is how long a child may take: one that takes longer hangs.
const zeroLimit = 60 * time.Second

// zeroBase are options under which a child flushes, compacts and closes within a second.
func zeroBase(dir string) badger.Options {
	o := badger.DefaultOptions(dir).WithLogger(nil)
	o.MemTableSize, o.ValueLogFileSize, o.ValueThreshold, o.BlockCacheSize = 1<<20, 2<<20, 64<<10, 1<<20
	o.NumLevelZeroTables, o.NumLevelZeroTablesStall = 1, 15
	return o
}

// zeroCase is a set of options. Badger's own outcome with it is what was seen of Badger 4.9.6, and
// is not run again where it hangs.
type zeroCase struct {
	Name  string
	hangs bool // Badger does
	set   func(*badger.Options)
}

// zeroCases are each field of Badger's at 0, and what else is near.
func zeroCases() (cases []zeroCase) {
	hangs := map[string]bool{"NumMemtables": true, "BaseTableSize": true}
	t := reflect.TypeFor[badger.Options]()
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && f.Name != "Logger" {
			cases = append(cases, zeroCase{f.Name, hangs[f.Name], func(o *badger.Options) {
				reflect.ValueOf(o).Elem().FieldByName(f.Name).SetZero()
			}})
		}
	}
	return append(cases, []zeroCase{
		{"a literal of four fields", false, func(o *badger.Options) {
			*o = badger.Options{Dir: o.Dir, ValueDir: o.ValueDir, NumCompactors: 3, SyncWrites: true}
		}},
		{"MemTableSize, ValueThreshold", false, func(o *badger.Options) { o.MemTableSize, o.ValueThreshold = 0, 0 }},
		{"smallest memtables", false, func(o *badger.Options) { o.MemTableSize, o.ValueThreshold = 100, 0 }},
		{"memtables for small transactions", false, func(o *badger.Options) { o.MemTableSize, o.ValueThreshold = 3000, 0 }},
		{"no block size, no caches", false, func(o *badger.Options) { o.BlockSize, o.BlockCacheSize, o.Compression = 0, 0, options.None }},
		{"no tables, no compaction", false, func(o *badger.Options) { o.BaseTableSize, o.NumCompactors = 0, 0 }},
		{"smallest tables", false, func(o *badger.Options) { o.BaseTableSize = 22 }},
		{"one level", false, func(o *badger.Options) { o.MaxLevels = 1 }},
		{"negative levels", false, func(o *badger.Options) { o.MaxLevels = -1 }},
		{"negative compactors", false, func(o *badger.Options) { o.NumCompactors = -1 }},
		{"negative memtables", false, func(o *badger.Options) { o.NumMemtables = -1 }},
		{"negative versions, negative threshold", false, func(o *badger.Options) { o.NumVersionsToKeep, o.ValueThreshold = -1, -1 }},
		{"encryption without an index cache", false, func(o *badger.Options) { o.EncryptionKey = make([]byte, 16) }},
		{"in memory, no memtables to flush", true, func(o *badger.Options) { o.InMemory, o.Dir, o.ValueDir, o.NumMemtables = true, "", "", 0 }},
		{"in memory, synced", false, func(o *badger.Options) { o.InMemory, o.Dir, o.ValueDir, o.SyncWrites = true, "", "", true }},
	}...)
}

func openZero(layer bool, o badger.Options) (side, error) {
	if !layer {
		db, err := badger.Open(o)
		if err != nil {
			return nil, err
		}
		return plainSideOf(db), nil
	}
	db, err := badgerspill.Open(badgerspill.OptionsFrom(o).WithSpillRate(100))
	if err != nil {
		return nil, err
	}
	return spillSideOf(db), nil
}

// zeroOutcome is what a child tells.
type zeroOutcome struct {
	Open, Set, Get, Close string // errors
	Option                string // that Open has named
}

func (o zeroOutcome) String() string {
	return fmt.Sprintf("open %q set %q get %q close %q", o.Open, o.Set, o.Get, o.Close)
}

type zeroArg struct {
	Name, Dir string // of the case, and of the database
	Layer     bool
}

// TestZeroChild opens, fills, closes and reopens a database.
func TestZeroChild(t *testing.T) {
	arg := childproc.Arg[zeroArg](t)
	var out zeroOutcome
	note := func(field *string, err error) {
		if err != nil && *field == "" {
			*field = err.Error()
		}
	}
	o := zeroBase(arg.Dir)
	for _, c := range zeroCases() {
		if c.Name == arg.Name {
			c.set(&o)
		}
	}
	value := bytes.Repeat([]byte("v"), 30<<10)
	small := []byte("v")
	for round := range 2 {
		db, err := openZero(arg.Layer, o)
		note(&out.Open, err)
		var bad *badgerspill.OptionError
		if errors.As(err, &bad) {
			out.Option = bad.Field
		}
		if err != nil {
			break
		}
		set := func(k string, v []byte) {
			note(&out.Set, db.Update(func(txn sideTxn) error { return txn.Set([]byte(k), v) }))
		}
		for i := range 120 {
			set(fmt.Sprint("large", i), value)
		}
		set(fmt.Sprint("small", round), small)
		note(&out.Get, db.View(func(txn sideTxn) error {
			item, err := txn.Read([]byte(fmt.Sprint("small", round)))
			if err == nil {
				_, err = item.ValueCopy(nil)
			}
			return err
		}))
		note(&out.Close, db.Close())
		if o.InMemory {
			break
		}
	}
	text, err := json.Marshal(out)
	require.NoError(t, err)
	fmt.Printf("\nOUTCOME %s\n", text)
}

// runZero returns what a child told, or that it ended otherwise.
func runZero(t *testing.T, name string, layer bool) (out zeroOutcome, died string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), zeroLimit)
	defer cancel()
	text, err := childproc.Output(ctx, "TestZeroChild", zeroArg{name, t.TempDir(), layer})
	_, rest, found := strings.Cut(string(text), "\nOUTCOME ")
	if ctx.Err() != nil {
		return out, "it hangs"
	}
	if !found {
		require.Error(t, err)
		return out, string(text[:min(len(text), 2000)])
	}
	line, _, _ := strings.Cut(rest, "\n")
	require.NoError(t, json.Unmarshal([]byte(line), &out))
	if err != nil {
		return out, string(text[max(0, len(text)-2000):])
	}
	return out, ""
}

// TestZeroMeansWhatItMeansInBadger: with a field at 0 the layer does what Badger does: it opens and
// works, or fails with the same error. Where Badger panics, ends the process or hangs, Open returns
// an error that names an option.
func TestZeroMeansWhatItMeansInBadger(t *testing.T) {
	for _, c := range zeroCases() {
		t.Run(c.Name, func(t *testing.T) {
			var theirs zeroOutcome
			died := "it hangs"
			if !c.hangs {
				theirs, died = runZero(t, c.Name, false)
			}
			ours, end := runZero(t, c.Name, true)
			require.Empty(t, end, "the layer's process ends otherwise: Badger's outcome is %s %s", theirs, died)
			if died != "" {
				require.NotEmpty(t, ours.Open, "Badger: %s", died)
				require.NotEmpty(t, ours.Option, "%s", ours.Open)
				return
			}
			if theirs.Open != "" {
				if ours.Option == "Dir" { // it is checked before there is anything to open
					return
				}
				require.Contains(t, ours.Open, theirs.Open)
				return
			}
			require.Equal(t, theirs, ours)
		})
	}
}
