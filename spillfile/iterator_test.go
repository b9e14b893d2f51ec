package spillfile

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
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
			ref := want.Ref()
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

// A scan of the newest versions gives what is left of an iterator's entries without the others, and
// reads the values of no others.
func TestScanOfNewestVersions(t *testing.T) {
	r := newRand(t)
	const keys, commits = 200, 6_000
	disk := &readCount{Disk: vfstest.NewDisk()}
	l := mustOpen(t, Options{Dir: "/spill", FS: disk, DatabaseID: testID, SegmentSize: 64 << 10})
	defer l.Close()
	for ts := range commits {
		mustPut(t, l, uint64(ts+1), fmt.Sprintf("key-%03d", r.IntN(keys)), string(randomValue(r, 100)))
	}
	require.NoError(t, l.Seal())
	require.NoError(t, l.syncAll(false))
	require.NoError(t, l.indexSealed())
	v := l.Acquire()
	defer v.Release()
	require.NotNil(t, v.segs[len(v.segs)-1].index.Load().file)
	type entry struct {
		key   string
		value string
	}
	for _, reverse := range []bool{false, true} {
		for _, at := range []uint64{0, 1, commits / 20, commits / 2, commits, math.MaxUint64} {
			var want []entry // in order
			it := v.NewIterator(false)
			last := ""
			for it.Rewind(); it.Valid(); it.Next() {
				if key := string(y.ParseKey(it.Key())); key != last && y.ParseTs(it.Key()) <= at {
					value, err := v.Value(it.Ref(), nil)
					require.NoError(t, err)
					want, last = append(want, entry{string(it.Key()), string(value)}), key
				}
			}
			require.NoError(t, it.Close())
			if reverse {
				slices.Reverse(want)
			}
			s := v.NewScanAt(reverse, at)
			check := func(want []entry) {
				t.Helper()
				before := disk.bytes.Load()
				for ; s.Valid(); s.Next() {
					require.NotEmpty(t, want)
					require.Equal(t, want[0].key, string(s.Key()))
					value, ok := s.Value()
					require.True(t, ok)
					require.Equal(t, want[0].value, string(value))
					want = want[1:]
				}
				require.NoError(t, s.Err())
				require.Empty(t, want)
				if at == math.MaxUint64 { // the values of all others would take 30 times that
					require.Less(t, disk.bytes.Load()-before, int64(keys*2*(100+block.HeaderSize)+256<<10))
				}
			}
			s.Rewind()
			check(want)
			for range 20 {
				key := fmt.Appendf(nil, "key-%03d", r.IntN(keys+10))
				from := slices.IndexFunc(want, func(e entry) bool {
					c := bytes.Compare(y.ParseKey([]byte(e.key)), key)
					return !reverse && c >= 0 || reverse && c <= 0
				})
				if from < 0 {
					from = len(want)
				}
				version := uint64(math.MaxUint64)
				if reverse {
					version = 0
				}
				s.Seek(y.KeyWithTs(key, version))
				check(want[from:])
			}
			require.NoError(t, s.Close())
		}
	}
}

// A scan of the newest versions that meets a damaged leaf of an index goes on behind it in an index
// made again, wherever it was.
func TestScanOfNewestVersionsHeals(t *testing.T) {
	r := newRand(t)
	const keys, commits = 30, 3_000 // the versions of a key take more than a leaf
	for _, reverse := range []bool{false, true} {
		for _, at := range []uint64{commits / 3, math.MaxUint64} {
			for part := range 8 {
				disk := vfstest.NewDisk()
				l := mustOpen(t, Options{Dir: "/spill", FS: disk, DatabaseID: testID})
				newest := map[string]uint64{}
				for ts := uint64(1); ts <= commits; ts++ {
					key := fmt.Sprintf("key-%02d", r.IntN(keys))
					if ts <= at {
						newest[key] = ts
					}
					mustPut(t, l, ts, key, "v")
				}
				require.NoError(t, l.Seal())
				require.NoError(t, l.syncAll(false))
				require.NoError(t, l.indexSealed())
				v := l.Acquire()
				x := v.segs[0].index.Load().file
				require.NotNil(t, x)
				var leaf, leaves int
				disk.Alter(".idx", func(b string) string {
					at := forgery.LeavesOf([]byte(b))
					leaves = len(at) - 1
					leaf = (leaves - 1) * part / 7
					return forgery.Flip(b, int(at[leaf])+9, 1)
				})
				s := v.NewScanAt(reverse, at)
				got := map[string]uint64{}
				last := ""
				for s.Rewind(); s.Valid(); s.Next() {
					key := string(s.UserKey())
					require.True(t, last == "" || reverse && key < last || !reverse && key > last, "%s after %s", key, last)
					last, got[key] = key, s.Ref().Version
				}
				require.NoError(t, s.Err())
				require.Equal(t, newest, got, "leaf %d of %d", leaf, leaves)
				require.NotSame(t, x, v.segs[0].index.Load().file, "it was not met")
				require.NoError(t, s.Close())
				v.Release()
				require.NoError(t, l.Close())
			}
		}
	}
}

// readCount counts the bytes that are read of segments.
type readCount struct {
	*vfstest.Disk
	bytes atomic.Int64
}

type readCountFile struct {
	File
	fs *readCount
}

func (c *readCount) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := c.Disk.OpenFile(name, flag, perm)
	if err != nil || !strings.HasSuffix(name, block.SegmentSuffix) {
		return f, err
	}
	return &readCountFile{f, c}, nil
}

func (f *readCountFile) ReadAt(b []byte, at int64) (int, error) {
	f.fs.bytes.Add(int64(len(b)))
	return f.File.ReadAt(b, at)
}

// A value that cannot be read does not end the scan: it is the reader of that value who is told.
func TestScanOfADamagedValue(t *testing.T) {
	m := vfstest.NewDisk()
	o := faultOptions(m, false, nil)
	o.SegmentSize, o.IndexArena = 1<<20, 1<<20
	l := mustOpen(t, o)
	defer l.Close()
	r := newRand(t)
	for i := range 50 {
		mustPut(t, l, uint64(i+1), fmt.Sprintf("%02d", i), string(randomValue(r, 500)))
	}
	require.NoError(t, l.Seal())
	m.Alter(block.SegmentSuffix, func(b string) string { return forgery.Flip(b, len(b)/2, 1) })
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
