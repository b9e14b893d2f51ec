package badgerspill

import (
	"bytes"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
)

// halfSpilled holds n keys, every other one in the spill and the others in Badger.
func halfSpilled(t *testing.T, n int, value func(i int) string, changes ...func(*Options)) *fixture {
	f := open(t, changes...)
	for i := 0; i < n; i += 2 {
		f.put(key(i), value(i))
	}
	free := f.occupy(f.share(0.91))
	for i := 1; i < n; i += 2 {
		f.put(key(i), value(i))
	}
	free()
	require.Equal(t, Spilling, f.routerState())
	return f
}

// TestItemsAreUsedAgain: an iteration holds as many items as Badger keeps, and one more, however
// long it is.
func TestItemsAreUsedAgain(t *testing.T) {
	f := halfSpilled(t, 60, func(i int) string { return fmt.Sprint("value ", i) })
	txn := f.NewTransaction(false)
	defer txn.Discard()
	for _, row := range []struct {
		name   string
		size   int
		values bool
		most   int
	}{
		{"negative", math.MinInt, true, 3},
		{"zero", 0, true, 3},
		{"one", 1, true, 3},
		{"two", 2, true, 3},
		{"seven", 7, true, 8},
		{"keys only", 7, false, 3},
		{"larger than any iteration", math.MaxInt, true, 60},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, versions := range []bool{false, true} {
				it := txn.NewIterator(IteratorOptions{PrefetchSize: row.size, PrefetchValues: row.values, AllVersions: versions})
				items, memory, n := map[*Item]bool{}, map[*byte]bool{}, 0
				for it.Rewind(); it.Valid(); it.Next() {
					items[it.Item()] = true
					memory[&it.Item().Key()[0]] = true
					n++
				}
				it.Close()
				require.Equal(t, 60, n)
				require.Len(t, items, row.most)
				require.Len(t, memory, row.most, "memory of keys")
			}
		})
	}
}

// TestItemsLeftBySeekAreNotUsedAgain: and what nobody was given takes no place.
func TestItemsLeftBySeekAreNotUsedAgain(t *testing.T) {
	f := halfSpilled(t, 20, func(i int) string { return fmt.Sprint("value ", i) })
	txn := f.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(IteratorOptions{PrefetchValues: true, PrefetchSize: 2})
	defer it.Close()
	var kept []*Item
	for round := range 5 {
		for i := range 20 {
			it.Seek([]byte(key(i)))
			require.True(t, it.Valid())
			if round%2 == 0 {
				kept = append(kept, it.Item())
			}
		}
	}
	require.Len(t, it.items.slots, 1, "no item was left by Next")
	for it.Rewind(); it.Valid(); it.Next() {
	}
	require.Len(t, it.items.slots, 1, "no item was given")
	for n, item := range kept {
		require.Equal(t, key(n%20), string(item.Key()))
		v, err := item.ValueCopy(nil)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint("value ", n%20), string(v))
	}
}

// TestValueOfAPassedItem: without prefetching the value of an item that its iterator has passed is
// looked up.
func TestValueOfAPassedItem(t *testing.T) {
	for _, row := range []struct {
		name  string
		value func(i int) string
	}{
		{"beside the key", func(i int) string { return fmt.Sprint("value ", i) }},
		{"in the value log", func(i int) string { return incompressible(2000, i) }},
	} {
		for _, versions := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, all versions %v", row.name, versions), func(t *testing.T) {
				f := halfSpilled(t, 4, row.value, small)
				txn := f.NewTransaction(false)
				it := txn.NewIterator(IteratorOptions{AllVersions: versions})
				var items []*Item
				for it.Seek([]byte(key(2))); it.Valid(); it.Next() {
					items = append(items, it.Item())
				}
				it.Close()
				require.Len(t, items, 2)
				looked := *items[0].own // reads anew after all
				for i, item := range items {
					v, err := item.ValueCopy(nil)
					require.NoError(t, err)
					require.Equal(t, row.value(2+i), string(v))
					require.EqualValues(t, len(v), item.ValueSize())
				}
				txn.Discard()
				for i, item := range items {
					require.NoError(t, item.Value(func(v []byte) error {
						require.Equal(t, row.value(2+i), string(v), "read before the end of the transaction")
						return nil
					}))
				}
				if looked.later != nil {
					_, err := looked.load()
					require.ErrorIs(t, err, ErrDiscardedTxn)
				}
				require.Equal(t, !versions || row.name == "in the value log", looked.later != nil)
			})
		}
	}
	t.Run("of a database that was closed", func(t *testing.T) {
		f := halfSpilled(t, 4, func(int) string { return "v" })
		txn := f.NewTransaction(false)
		defer txn.Discard()
		it := txn.NewIterator(IteratorOptions{})
		it.Rewind()
		item := it.Item()
		it.Next()
		it.Close()
		require.NoError(t, f.Close())
		_, err := item.ValueCopy(nil)
		require.ErrorIs(t, err, ErrDBClosed)
	})
	t.Run("of a version that is gone", func(t *testing.T) {
		f := halfSpilled(t, 4, func(int) string { return "v" })
		txn := f.NewTransaction(false)
		defer txn.Discard()
		_, err := txn.lookUp([]byte(key(2)), math.MaxUint64, nil)
		require.ErrorIs(t, err, ErrKeyNotFound)
	})
}

// TestIterationAllocates at most one piece of memory an item more than plain Badger does, whether
// the items are used again or not.
func TestIterationAllocates(t *testing.T) {
	plain, err := badger.Open(badger.DefaultOptions(t.TempDir()).WithLogger(nil))
	require.NoError(t, err)
	defer func() { require.NoError(t, plain.Close()) }()
	const n = 400
	value := func(i int) string { return string(bytes.Repeat([]byte{byte(i)}, 100)) }
	f := halfSpilled(t, n, value)
	for i := range n {
		require.NoError(t, plain.Update(func(txn *badger.Txn) error { return txn.Set([]byte(key(i)), []byte(value(i))) }))
	}
	for _, limit := range []int{50, n} {
		for _, values := range []bool{false, true} {
			opt := badger.DefaultIteratorOptions
			opt.PrefetchValues = values
			ignore := func([]byte) error { return nil }
			there := testing.AllocsPerRun(20, func() {
				_ = plain.View(func(txn *badger.Txn) error {
					it := txn.NewIterator(opt)
					defer it.Close()
					i := 0
					for it.Rewind(); it.Valid() && i < limit; it.Next() {
						_ = it.Item().Value(ignore)
						i++
					}
					return nil
				})
			})
			here := testing.AllocsPerRun(20, func() {
				_ = f.View(func(txn *Txn) error {
					it := txn.NewIterator(opt)
					defer it.Close()
					i := 0
					for it.Rewind(); it.Valid() && i < limit; it.Next() {
						_ = it.Item().Value(ignore)
						i++
					}
					return nil
				})
			})
			t.Logf("%d items, values %v: %.0f allocations, Badger %.0f", limit, values, here, there)
			require.LessOrEqual(t, here, there+float64(limit))
		}
	}
}

// TestPassedItemThatExpires: Badger may drop an entry that has expired, so its value is taken when
// the iterator leaves it.
func TestPassedItemThatExpires(t *testing.T) {
	f := open(t)
	require.NoError(t, f.Update(func(txn *Txn) error {
		return txn.SetEntry(NewEntry([]byte("a"), []byte("value")).WithTTL(time.Hour))
	}))
	f.put("b", "1")
	txn := f.NewTransaction(true)
	defer txn.Discard()
	require.NoError(t, txn.Set([]byte("c"), []byte("2")))
	it := txn.NewIterator(IteratorOptions{})
	defer it.Close()
	it.Rewind()
	item := it.Item()
	it.Next()
	kept := it.Item()
	it.Next()
	require.Nil(t, item.own.later, "it expires")
	require.NotNil(t, kept.own.later, "it stays as long as the transaction")
	for item, want := range map[*Item]string{item: "value", kept: "1"} {
		value, err := item.ValueCopy(nil)
		require.NoError(t, err)
		require.Equal(t, want, string(value))
	}
}
