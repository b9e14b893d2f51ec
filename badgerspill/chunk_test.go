package badgerspill

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
)

// sorted makes whatever is spilled worth a chunk.
func sorted(opt *Options) { opt.Tuning.SegmentSize = 4 << 10 }

// spillMany spills n commits to keys in an order that is not that of keys, and returns their
// values.
func (f *fixture) spillMany(n, keys, size int) map[string]string {
	f.t.Helper()
	want := map[string]string{}
	free := func() {}
	if f.routerState() == Direct {
		free = f.occupy(f.share(0.91))
	}
	for i := range n {
		k, v := key(i*7919%keys), fmt.Sprintf("%d/%s", i, incompressible(size, i))
		f.put(k, v)
		want[k] = v
	}
	want["~"] = "the last one may be replayed in the order of the log"
	f.put("~", want["~"])
	free()
	require.Equal(f.t, Spilling, f.routerState())
	f.get("a read behind the last commit: all before it may be discarded")
	return want
}

func (f *fixture) requireAll(want map[string]string) {
	f.t.Helper()
	for k, v := range want {
		require.Equal(f.t, v, f.get(k), k)
	}
}

// Entries reach Badger in key order over many segments, superseded versions do not, and the numbers
// say so.
func TestChunkIsSortedAndCoalesced(t *testing.T) {
	f := open(t, sorted)
	var got []spillfile.Entry
	f.stub.set(func() {
		f.stub.mu.onLoad = func(n int, entries []spillfile.Entry) error {
			for _, e := range entries {
				got = append(got, spillfile.Entry{Key: slices.Clone(e.Key), Version: e.Version})
			}
			return nil
		}
	})
	want := f.spillMany(300, 100, 100)
	require.Greater(t, len(segments(t, f.opt.Dir)), 3)
	f.drained()
	require.Len(t, got, 101, "one version of each key")
	require.True(t, slices.IsSortedFunc(got, func(a, b spillfile.Entry) int { return slices.Compare(a.Key, b.Key) }))
	st := f.SpillStats()
	require.EqualValues(t, 200, st.EntriesCoalesced)
	require.EqualValues(t, 101, st.EntriesReplayed)
	f.direct()
	f.requireAll(want)
	for k, v := range want {
		require.Equal(t, v, f.inBadger(k))
	}
}

// What a transaction that was begun before may read is replayed, whatever came after, and oldest
// first.
func TestChunkKeepsWhatReadersSee(t *testing.T) {
	f := open(t, sorted)
	free := f.occupy(f.share(0.91))
	f.put("k", "0")
	f.put("k", "1")
	f.put("k", "2")
	old := f.NewTransaction(false)
	defer old.Discard()
	f.put("k", "3")
	f.delete("k")
	f.put("k", "4")
	f.spillMany(100, 100, 100)
	free()
	var versions []uint64
	f.stub.set(func() {
		f.stub.mu.onLoad = func(n int, entries []spillfile.Entry) error {
			for _, e := range entries {
				if string(e.Key) == "k" {
					versions = append(versions, e.Version)
				}
			}
			return nil
		}
	})
	f.drained()
	f.direct()
	require.True(t, slices.IsSorted(versions), "a newer version before an older one: %v", versions)
	require.Subset(t, versions, []uint64{2, 3, 6})
	require.NotContains(t, versions, uint64(1))
	v, err := read(old, "k")
	require.NoError(t, err)
	require.Equal(t, "2", v)
	require.Equal(t, "4", f.get("k"))
	// Badger alone has it, too.
	inner := f.inner.NewTransactionAt(old.ReadTs(), false)
	defer inner.Discard()
	item, err := inner.Get([]byte("k"))
	require.NoError(t, err)
	require.EqualValues(t, 3, item.Version())
}

// Interrupted between two batches, a chunk goes on where it was, not from its beginning; until it
// is through its segments stay.
func TestChunkResumesAtItsKey(t *testing.T) {
	f := open(t, sorted)
	want := f.spillMany(300, 300, 200)
	before := len(segments(t, f.opt.Dir))
	var firsts []string
	f.stub.set(func() {
		f.stub.mu.onLoad = func(n int, entries []spillfile.Entry) error {
			firsts = append(firsts, string(entries[0].Key))
			return nil
		}
	})
	for range 5 {
		p, err := f.feed.Replay(t.Context(), 4<<10)
		require.NoError(t, err)
		require.True(t, p.Midway)
		require.NoError(t, f.feed.Checkpoint(t.Context()))
	}
	require.True(t, slices.IsSorted(firsts))
	require.Len(t, slices.Compact(firsts), 5)
	require.GreaterOrEqual(t, len(segments(t, f.opt.Dir)), before, "segments of half a chunk were dropped")
	f.requireAll(want) // from the spill, whether Badger has it or not
	f.put(key(0), "newer")
	want[key(0)] = "newer"
	f.drained()
	f.direct()
	f.requireAll(want)
	require.Equal(t, "newer", f.inBadger(key(0)))
}

// Killed in the middle of a chunk: nothing is lost, nothing old comes back, also a key whose
// tombstone Badger has dropped.
func TestCrashInTheMiddleOfAChunk(t *testing.T) {
	f := open(t, sorted)
	f.put("key/0001", "old")
	want := f.spillMany(200, 200, 200)
	free := f.occupy(f.share(0.91))
	f.delete("key/0001")
	f.delete("key/0150")
	free()
	want["key/0001"], want["key/0150"] = absent, absent
	for range 4 {
		p, err := f.feed.Replay(t.Context(), 4<<10)
		require.NoError(t, err)
		require.True(t, p.Midway, "the chunk is through")
	}
	require.NoError(t, f.inner.Flatten(1))
	dir := crash(t, f.opt.Dir)
	g := openAt(t, dir, sorted)
	g.requireAll(want)
	g.drained()
	g.direct()
	g.requireAll(want)
	require.NoError(t, g.inner.Flatten(1))
	g.requireAll(want)
	require.NoError(t, g.Close())
	require.NoError(t, plainCheck(g.opt, want))
}

// In managed mode the caller says what may be discarded, and nothing is by default.
func TestChunkInManagedMode(t *testing.T) {
	for _, discard := range []uint64{0, 3} {
		t.Run(fmt.Sprint(discard), func(t *testing.T) {
			f := open(t, sorted, func(opt *Options) { opt.managed = true; opt.NumVersionsToKeep = 1 })
			free := f.occupy(f.share(0.91))
			for _, ts := range []uint64{5, 2, 3, 4, 1} {
				txn := f.NewTransactionAt(math.MaxUint64, true)
				require.NoError(t, txn.Set([]byte("k"), fmt.Append(nil, ts)))
				require.NoError(t, txn.Set([]byte("fill"), []byte(incompressible(3_000, int(ts)))))
				require.NoError(t, txn.CommitAt(ts, nil))
			}
			free()
			if discard > 0 {
				f.SetDiscardTs(discard)
			}
			f.drained()
			f.direct()
			txn := f.inner.NewTransactionAt(math.MaxUint64, false)
			defer txn.Discard()
			it := txn.NewKeyIterator([]byte("k"), badger.IteratorOptions{AllVersions: true})
			defer it.Close()
			var got []uint64
			for it.Rewind(); it.Valid(); it.Next() {
				got = append(got, it.Item().Version())
			}
			if discard == 0 {
				require.Equal(t, []uint64{5, 4, 3, 2, 1}, got)
			} else {
				require.Equal(t, []uint64{5, 4, 3}, got)
			}
		})
	}
}
