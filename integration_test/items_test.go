package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// In Badger PrefetchSize items of an iterator each own the memory of their key and value. A program
// that relies on it is run three times. On Badger with a copy of all that it keeps, which gives
// what is right. On Badger without copies, which shows that Badger keeps that many items. And on
// badgerspill without copies.

// keeper is what a program keeps, and for how long it may.
type keeper struct {
	tr     *transcript
	txn    sideTxn
	opt    badger.IteratorOptions
	copies bool
	kept   int      // how many items before the end of an iteration stay valid
	later  []func() // notes what is kept, when all iterators are closed
}

func (k *keeper) key(it sideItem) []byte {
	if k.copies {
		return it.KeyCopy(nil)
	}
	return it.Key()
}

// value calls fn inside of Item.Value.
func (k *keeper) value(it sideItem, fn func(val []byte) error) {
	k.tr.err("value", func() error {
		return it.Value(func(val []byte) error {
			if k.copies {
				val = bytes.Clone(val)
			}
			return fn(val)
		})
	})
}

// note has an item noted once the iterators are closed. A kept item has its value read only then.
func (k *keeper) note(label string, it sideItem) {
	if !k.copies {
		k.later = append(k.later, func() { k.tr.item(label, it) })
		return
	}
	now := &transcript{}
	now.item(label, it)
	k.later = append(k.later, func() { k.tr.lines = append(k.tr.lines, now.lines...) })
}

func (k *keeper) noteBytes(label string, b []byte) {
	k.later = append(k.later, func() { k.tr.note(label, fmt.Sprintf("%q", b)) })
}

// count returns how many items an iteration from seek gives.
func (k *keeper) count(it sideIter, seek []byte) (n int) {
	for it.Seek(seek); it.Valid(); it.Next() {
		n++
	}
	return n
}

// last calls fn for the items of an iteration that Badger still keeps at its end.
func (k *keeper) last(it sideIter, seek []byte, fn func(i int, item sideItem)) {
	skip := max(0, k.count(it, seek)-k.kept)
	i := 0
	for it.Seek(seek); it.Valid(); it.Next() {
		if i >= skip {
			fn(i-skip, it.Head())
		}
		i++
	}
}

// iterate is last with an iterator of its own.
func (k *keeper) iterate(fn func(i int, item sideItem)) {
	it := k.txn.Iter(k.opt)
	defer it.Close()
	k.last(it, nil, fn)
}

func (k *keeper) distinct(items []sideItem) {
	seen := map[sideItem]bool{}
	for _, item := range items {
		seen[item] = true
	}
	if k.copies {
		k.tr.note("distinct items", len(items))
		return
	}
	k.tr.note("distinct items", len(seen))
}

// wrote notes what the transaction reads after a pattern that writes.
func (k *keeper) wrote() {
	opt := badger.DefaultIteratorOptions
	opt.AllVersions = true
	k.tr.all(k.txn, opt, nil)
}

// itemPattern is one way in which programs rely on items.
type itemPattern struct {
	name string
	play func(k *keeper, keys []string)
}

// nestedIterators sets and deletes, too.
var nestedIterators = itemPattern{"nested iterators", func(k *keeper, _ []string) {
	k.iterate(func(i int, outer sideItem) {
		key := k.key(outer)
		k.note("outer", outer)
		if i < 2 {
			k.iterate(func(_ int, inner sideItem) {
				k.note("inner", inner)
				innerKey := k.key(inner)
				k.value(inner, func(val []byte) error { return k.txn.Set(innerKey, val) })
			})
		}
		if i%2 == 0 {
			k.tr.err("delete", func() error { return k.txn.Delete(key) })
		}
	})
	k.wrote()
}}

var itemPatterns = []itemPattern{
	{"delete in iteration", func(k *keeper, _ []string) {
		k.iterate(func(_ int, item sideItem) {
			key := k.key(item)
			k.tr.err("delete", func() error { return k.txn.Delete(key) })
		})
		k.wrote()
	}},
	{"set in iteration", func(k *keeper, _ []string) {
		k.iterate(func(_ int, item sideItem) {
			key := k.key(item)
			k.value(item, func(val []byte) error { return k.txn.Set(key, val) })
		})
		k.wrote()
	}},
	{"items collected in a slice", func(k *keeper, _ []string) {
		var items []sideItem
		k.iterate(func(_ int, item sideItem) {
			items = append(items, item)
			k.note("item", item)
		})
		k.distinct(items)
	}},
	{"key kept over Next", func(k *keeper, _ []string) {
		k.iterate(func(_ int, item sideItem) { k.noteBytes("key", k.key(item)) })
	}},
	{"value kept over Next", func(k *keeper, _ []string) {
		k.iterate(func(_ int, item sideItem) {
			k.value(item, func(val []byte) error { k.noteBytes("value", val); return nil })
		})
	}},
	nestedIterators,
	{"KeyIterator", func(k *keeper, keys []string) {
		for _, key := range keys {
			it := k.txn.KeyIter([]byte(key), k.opt)
			var items []sideItem
			k.last(it, nil, func(_ int, item sideItem) {
				items = append(items, item)
				k.note("version", item)
				k.noteBytes("key", k.key(item))
				k.value(item, func(val []byte) error { k.noteBytes("value", val); return nil })
				itemKey := k.key(item)
				k.tr.err("delete", func() error { return k.txn.Delete(itemKey) })
			})
			it.Close()
			k.distinct(items)
		}
		k.wrote()
	}},
	{"items kept over Seek", func(k *keeper, keys []string) {
		it := k.txn.Iter(k.opt)
		var items []sideItem
		for _, key := range keys {
			if it.Seek([]byte(key)); it.Valid() {
				items = append(items, it.Head())
				k.note("item", it.Head())
				k.noteBytes("key", k.key(it.Head()))
			}
		}
		for range 3 {
			it.Rewind()
			items = append(items, it.Head())
			k.note("first", it.Head())
		}
		it.Close()
		k.distinct(items)
	}},
}

// run plays the pattern in txn and returns what it observed.
func (p itemPattern) run(t *testing.T, txn sideTxn, opt badger.IteratorOptions, keys []string, copies bool) *transcript {
	k := &keeper{tr: &transcript{t: t}, txn: txn, opt: opt, copies: copies, kept: 2}
	if opt.PrefetchValues {
		k.kept = max(2, opt.PrefetchSize)
	}
	p.play(k, keys)
	for _, note := range k.later {
		note()
	}
	return k.tr
}

// differs says where got is not want, "" if nowhere.
func (tr *transcript) differs(want *transcript) string {
	for i, w := range want.lines {
		if i >= len(tr.lines) {
			return fmt.Sprintf("line %d is missing: %s %v", i, w.label, w.values)
		}
		g := tr.lines[i]
		same := g.label == w.label && len(g.values) == len(w.values)
		for j := 0; same && j < len(w.values); j++ {
			same = sameValue(w.values[j], g.values[j])
		}
		if !same {
			return fmt.Sprintf("line %d\nwant %s %v\ngot  %s %v", i, w.label, w.values, g.label, g.values)
		}
	}
	if len(tr.lines) > len(want.lines) {
		return fmt.Sprintf("%d lines too many", len(tr.lines)-len(want.lines))
	}
	return ""
}

const itemKeys = 24

func itemKey(i int) string { return fmt.Sprintf("k%03d/", i) } // none begins with another

// itemValue is empty, beside the key, or in the value log. It differs by key and round.
func itemValue(i, round int) []byte {
	sizes := []int{30, 300, 0, 100, 700, 3}
	size := sizes[(i+round)%len(sizes)]
	return bytes.Repeat(fmt.Appendf(nil, "%d/%d ", i, round), size)[:size]
}

// fillItems writes two rounds with something between them. The first and the last key have two
// versions and are not deleted: there an iteration of Badger ends without looking at more.
func fillItems(t *testing.T, db side, managed bool, between func()) {
	t.Helper()
	ts := uint64(0)
	commit := func(w ...write) {
		ts++
		var txn sideTxn
		if managed {
			txn = db.BeginAt(ts, true)
		} else {
			txn = db.Begin(true)
		}
		defer txn.Discard()
		for _, w := range w {
			require.NoError(t, txn.Put(w))
		}
		if managed {
			require.NoError(t, txn.CommitAt(ts, nil))
		} else {
			require.NoError(t, txn.Commit())
		}
	}
	for i := range itemKeys {
		if i%7 != 4 {
			commit(write{Key: []byte(itemKey(i)), Value: itemValue(i, 1), UserMeta: byte(i)})
		}
	}
	between()
	for i := range itemKeys {
		switch {
		case i == 0 || i == itemKeys-1 || i%3 == 0 || i%7 == 4:
			commit(write{Key: []byte(itemKey(i)), Value: itemValue(i, 2), UserMeta: byte(100 + i)})
		case i%5 == 0:
			commit(write{Key: []byte(itemKey(i)), Delete: true})
		}
	}
	commit(write{Key: []byte(itemKey(1)), Value: itemValue(1, 3)}, write{Key: []byte(itemKey(2)), Value: itemValue(2, 3)})
}

// writeOwn makes own writes: on top of others, between them, and deletes.
func writeOwn(t *testing.T, txn sideTxn) {
	t.Helper()
	for i := 2; i < itemKeys-1; i += 4 {
		require.NoError(t, txn.Put(write{Key: []byte(itemKey(i)), Value: itemValue(i, 4), UserMeta: 7}))
		require.NoError(t, txn.Put(write{Key: []byte(itemKey(i)[:4] + "own"), Value: itemValue(i, 5)}))
	}
	require.NoError(t, txn.Delete([]byte(itemKey(8))))
	require.NoError(t, txn.Delete([]byte(itemKey(9))))
}

// itemState is where the layer has its entries when a program runs.
type itemState struct {
	name    string
	spilled bool // commits are spilled
	between bool // what the first round wrote is replayed
	beneath bool // all is replayed under the transaction, which reads the spill still
}

var itemStates = []itemState{
	{name: "spill empty"},
	{name: "spill full", spilled: true},
	{name: "spill half replayed", spilled: true, between: true},
	{name: "spill replayed under the transaction", spilled: true, beneath: true},
}

// itemScore counts programs of one pattern.
type itemScore struct{ programs, badger, here int }

// TestItemsStayAsLongAsInBadger compares programs that keep items, keys and values with the same
// programs that copy them. What Badger keeps, the layer keeps.
func TestItemsStayAsLongAsInBadger(t *testing.T) {
	scores := make([]itemScore, len(itemPatterns))
	for _, managed := range []bool{false, true} {
		for _, state := range itemStates {
			name := state.name
			if managed && state.beneath {
				continue // the caller owns the timestamps: each read takes the spill as it is then
			}
			if managed {
				name += ", managed"
			}
			t.Run(name, func(t *testing.T) { compareItems(t, state, managed, scores) })
		}
	}
	table := &strings.Builder{}
	fmt.Fprintf(table, "\n| pattern | programs | right in Badger | right here |\n| --- | --- | --- | --- |\n")
	for i, p := range itemPatterns {
		fmt.Fprintf(table, "| %s | %d | %d | %d |\n", p.name, scores[i].programs, scores[i].badger, scores[i].here)
	}
	t.Log(table)
}

func compareItems(t *testing.T, state itemState, managed bool, scores []itemScore) {
	dir := t.TempDir()
	open, openLayer := badger.Open, badgerspill.Open
	if managed {
		open, openLayer = badger.OpenManaged, badgerspill.OpenManaged
	}
	plainDB, err := open(small(filepath.Join(dir, "plain")))
	require.NoError(t, err)
	defer func() { require.NoError(t, plainDB.Close()) }()
	o := badgerspill.OptionsFrom(small(filepath.Join(dir, "layer"))).WithDrainOnClose(false).
		WithStallThreshold(-1).WithSpillRate(-1).WithQuiet(1, time.Hour).WithMaxSpillAge(time.Hour)
	if state.spilled {
		o = o.WithSpillPolicy(badgerspill.Always)
	}
	layerDB, err := openLayer(o)
	require.NoError(t, err)
	defer func() { require.NoError(t, layerDB.Close()) }()
	plain, layer := side(plainSideOf(plainDB)), side(spillSideOf(layerDB))
	drain := func() { require.NoError(t, layerDB.Drain(context.Background())) }

	begin := func(db side, update bool) sideTxn {
		if managed {
			return db.BeginAt(math.MaxUint64, update)
		}
		return db.Begin(update)
	}
	pin := begin(layer, false) // all versions are replayed
	defer pin.Discard()
	fillItems(t, plain, managed, func() {})
	fillItems(t, layer, managed, func() {
		if state.between {
			drain()
		}
	})
	st := layerDB.SpillStats()
	require.Equal(t, state.spilled, st.SpillPending > 0, "%d spilled commits", st.SpillPending)
	require.Equal(t, state.between, st.EntriesReplayed > 0, "%d entries replayed", st.EntriesReplayed)

	keys := []string{itemKey(0), itemKey(1), itemKey(2), itemKey(8), itemKey(itemKeys - 1)}
	options := itemOptions()
	var begun []sideTxn // for the layer, one a program: what it writes is not committed
	for range len(itemPatterns) * len(options) * 2 {
		txn := begin(layer, true)
		defer txn.Discard()
		begun = append(begun, txn)
		_, err := txn.Read([]byte(itemKey(0))) // it has its view of the spill
		require.NoError(t, err)
	}
	if state.beneath {
		drain()
		require.Zero(t, layerDB.SpillStats().SpillPending)
	}
	for pi, p := range itemPatterns {
		t.Run(p.name, func(t *testing.T) {
			for _, own := range []bool{false, true} {
				for _, opt := range options {
					play := func(txn sideTxn, copies bool) *transcript {
						defer txn.Discard()
						if own {
							writeOwn(t, txn)
						}
						keys := keys
						if p.name == "KeyIterator" && opt.Reverse {
							keys = keys[:1] // in reverse Badger reads on below the key
						}
						return p.run(t, txn, opt, keys, copies)
					}
					label := fmt.Sprintf("own writes %v, %+v", own, opt)
					right := play(begin(plain, true), true)
					require.NotEmpty(t, right.lines)
					score := &scores[pi]
					score.programs++
					badgerDiffers := play(begin(plain, true), false).differs(right)
					if badgerDiffers == "" {
						score.badger++
					}
					hereDiffers := play(begun[0], false).differs(right)
					begun = begun[1:]
					if hereDiffers == "" {
						score.here++
					}
					if badgerDiffers != "" {
						t.Errorf("in Badger, so the program relies on more than Badger keeps: %s: %s", label, badgerDiffers)
					}
					if hereDiffers != "" {
						t.Errorf("%s: %s", label, hereDiffers)
					}
				}
			}
		})
	}
	committed := func(db side, copies bool) *transcript {
		txn := begin(db, true)
		defer txn.Discard()
		writeOwn(t, txn)
		tr := nestedIterators.run(t, txn, badger.DefaultIteratorOptions, nil, copies)
		if managed {
			require.NoError(t, txn.CommitAt(1000, nil))
		} else {
			require.NoError(t, txn.Commit())
		}
		after := begin(db, false)
		defer after.Discard()
		tr.state(after)
		return tr
	}
	require.Empty(t, committed(layer, false).differs(committed(plain, true)), "with a commit")
}

// itemOptions are directions, versions, and ways to prefetch.
func itemOptions() (all []badger.IteratorOptions) {
	for _, reverse := range []bool{false, true} {
		for _, versions := range []bool{false, true} {
			opt := badger.IteratorOptions{Reverse: reverse, AllVersions: versions, PrefetchSize: 100}
			all = append(all, opt)
			opt.PrefetchValues = true
			for _, size := range []int{-1, 1, 2, 3, 10, 100, math.MaxInt} {
				opt.PrefetchSize = size
				all = append(all, opt)
			}
		}
	}
	return slices.Clip(all)
}
