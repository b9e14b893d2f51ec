package spillfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// TestShortValuesLieInTheIndex: up to 64 bytes a value is read from memory as long as its segment
// is being written, and from the file later.
func TestShortValuesLieInTheIndex(t *testing.T) {
	o := testOptions(t.TempDir())
	l := mustOpen(t, o)
	defer l.Close()
	value := func(n int) string { return strings.Repeat("v", n) }
	var all []Entry
	for n := range index.InlineValue + 10 {
		all = append(all, Entry{Key: fmt.Appendf(nil, "k%03d", n), Value: []byte(value(n))})
	}
	mustPutEntries(t, l, 1, all...)
	check := func(fails func(n int) bool) {
		t.Helper()
		v := l.Acquire()
		defer v.Release()
		for n := range all {
			ref, found, err := v.Get(all[n].Key, 1, false)
			require.NoError(t, err)
			require.True(t, found)
			require.EqualValues(t, n, ref.ValueLen)
			got, err := v.Value(ref, []byte("dst"))
			if fails(n) {
				require.ErrorIs(t, err, ErrCorrupt, "%d bytes", n)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, "dst"+value(n), string(got))
		}
	}
	path := filepath.Join(o.Dir, block.SegmentName(1))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, block.SegmentHeaderSize))
	check(func(n int) bool { return n > index.InlineValue })
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	check(func(int) bool { return false })

	require.NoError(t, l.Seal())
	require.NoError(t, l.Sync())
	require.NoError(t, l.indexSealed())
	require.Nil(t, l.w.live[0].index.Load().mem)
	check(func(int) bool { return false })
}

// TestIndexSizeCoversShortValues: what a batch says that it takes in the index is never less than
// it does, or the arena would overflow and end the process.
func TestIndexSizeCoversShortValues(t *testing.T) {
	r := newRand(t)
	l := mustOpen(t, testOptions(t.TempDir()))
	defer l.Close()
	for range 500 {
		var all []Entry
		keys, raw := int64(0), int64(0)
		for range 1 + r.IntN(20) {
			e := Entry{Key: randomValue(r, 1+r.IntN(100)), Value: randomValue(r, r.IntN(2*index.InlineValue)), ExpiresAt: r.Uint64()}
			keys, raw = keys+int64(len(e.Key)), raw+int64(len(e.Key)+len(e.Value))
			all = append(all, e)
		}
		b := newBatch(all...)
		require.LessOrEqual(t, b.IndexSize(), EstimateIndexSize(len(all), keys, raw))
		used, in := int64(0), l.w.active
		if in != nil {
			used = in.mem().Size()
		}
		size := b.IndexSize()
		l.Enqueue(b, 1)
		require.NoError(t, l.Commit(b))
		if s := l.w.active; s == in {
			require.LessOrEqual(t, s.mem().Size()-used, size)
		}
		b.Free()
	}
}

// TestFreeWindowHoldsNoIndex: a short value is a piece of the arena that it lies in, which would
// stay as long as the pooled window.
func TestFreeWindowHoldsNoIndex(t *testing.T) {
	l := mustOpen(t, testOptions(t.TempDir()))
	defer l.Close()
	mustPut(t, l, 1, "a", "short")
	v := l.Acquire()
	defer v.Release()
	ref, found, err := v.Get([]byte("a"), 1, false)
	require.NoError(t, err)
	require.True(t, found)
	require.NotNil(t, ref.value)
	w := new(window)
	for range 3 {
		w.add([]byte("a"), &ref)
	}
	w.free()
	for _, r := range w.refs[:cap(w.refs)] {
		require.Nil(t, r.value)
	}
}
