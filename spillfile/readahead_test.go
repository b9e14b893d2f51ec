package spillfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"
)

// A scan that reads ahead gives what an iterator gives, with the values that the entries have.
func TestScanIsAnIterator(t *testing.T) {
	r := newRand(t)
	o := testOptions(t.TempDir())
	o.SegmentSize, o.CacheSize = 64<<10, 1<<20
	l := mustOpen(t, o)
	defer l.Close()
	for ts := range 2_000 {
		mustPut(t, l, uint64(ts+1), fmt.Sprintf("%s%d", strings.Repeat("k", r.IntN(3)), r.IntN(700)), string(randomValue(r, r.IntN(300))))
	}
	v := l.Acquire()
	defer v.Release()
	for _, reverse := range []bool{false, true} {
		want, got := v.NewIterator(reverse), v.NewScan(reverse)
		same := func() {
			t.Helper()
			require.Equal(t, want.Valid(), got.Valid())
			if !want.Valid() {
				require.NoError(t, got.Err())
				return
			}
			require.Equal(t, want.Key(), got.Key())
			ref := v.Ref(want.Value(), y.ParseTs(want.Key()))
			require.Equal(t, ref, got.Ref())
			value, err := v.Value(ref, nil)
			require.NoError(t, err)
			ahead, ok := got.Value()
			require.True(t, ok)
			require.Equal(t, string(value), string(ahead))
		}
		want.Rewind()
		got.Rewind()
		for want.Valid() {
			same()
			want.Next()
			got.Next()
		}
		same()
		for range 200 {
			key := y.KeyWithTs(fmt.Appendf(nil, "%s%d", strings.Repeat("k", r.IntN(4)), r.IntN(800)), uint64(r.IntN(3_000)))
			want.Seek(key)
			got.Seek(key)
			for range r.IntN(40) {
				same()
				if !want.Valid() {
					break
				}
				want.Next()
				got.Next()
			}
		}
		require.NoError(t, want.Close())
		require.NoError(t, got.Close())
	}
}

// A value that cannot be read does not end the scan: it is the reader of that value who is told.
func TestScanOfADamagedValue(t *testing.T) {
	m := newMemFS()
	o := faultOptions(m, false, nil)
	o.SegmentSize, o.IndexArena = 1<<20, 1<<20
	l := mustOpen(t, o)
	defer l.Close()
	r := newRand(t)
	for i := range 50 {
		mustPut(t, l, uint64(i+1), fmt.Sprintf("%02d", i), string(randomValue(r, 500)))
	}
	require.NoError(t, l.Seal())
	m.mu.Lock()
	for name, n := range m.names {
		if strings.HasSuffix(name, segmentSuffix) {
			n.data = []byte(flip(string(n.data), len(n.data)/2, 1))
		}
	}
	m.mu.Unlock()
	v := l.Acquire()
	defer v.Release()
	s := v.NewScan(false)
	defer s.Close()
	entries, damaged := 0, 0
	for s.Rewind(); s.Valid(); s.Next() {
		entries++
		if _, ok := s.Value(); !ok {
			if _, err := v.Value(s.Ref(), nil); err != nil {
				require.ErrorIs(t, err, ErrCorrupt)
				damaged++
			}
		}
	}
	require.NoError(t, s.Err())
	require.Equal(t, 50, entries)
	require.Equal(t, 1, damaged)
}
