package spillfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// keySets are shapes of keys that an index has to deal with.
var keySets = map[string]func(r *rand.Rand, i int) []byte{
	"random 16":         func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "%016x", r.Uint64()) },
	"random 200":        func(r *rand.Rand, i int) []byte { return []byte(fmt.Sprintf("%0200x", r.Uint64()) + "!") },
	"200, differ late":  func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "%0190d%010d", r.IntN(5), r.Uint32()) },
	"in sequence":       func(r *rand.Rand, i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) },
	"many versions":     func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "k%d", r.IntN(4)) },
	"prefixes, lengths": func(r *rand.Rand, i int) []byte { return bytes.Repeat([]byte{'a'}, r.IntN(300)) },
	"huge":              func(r *rand.Rand, i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1+r.IntN(MaxKeySize)) },
	"zeros and ones":    func(r *rand.Rand, i int) []byte { return bytes.Repeat([]byte{byte(255 * r.IntN(2))}, r.IntN(9)) },
}

// An index in a file answers as the one in memory that it was made from.
func TestIndexFileAnswersAsMemory(t *testing.T) {
	r := newRand(t)
	for name, key := range keySets {
		for _, o := range []Options{{}, {EncryptionKey: bytes.Repeat([]byte{7}, 32)}, {CacheSize: 1 << 20}} {
			t.Run(fmt.Sprintf("%s/%d/%d", name, len(o.EncryptionKey), o.CacheSize), func(t *testing.T) {
				o.Dir, o.SegmentSize, o.IndexArena = t.TempDir(), 8<<20, 8<<20
				l := mustOpen(t, o)
				defer l.Close()
				n := 3_000
				if name == "huge" {
					n = 60
				}
				var keys [][]byte
				for i := range n {
					k := key(r, i)
					keys = append(keys, k)
					mustPutEntries(t, l, uint64(i+1), Entry{Key: k, Value: fmt.Appendf(nil, "v%d", i), ExpiresAt: uint64(r.IntN(2) * 1e6),
						Meta: byte(r.IntN(2)), UserMeta: byte(i)})
				}
				s := l.w.active
				mem := s.mem()
				require.NoError(t, l.Seal())
				require.NoError(t, l.syncAll(false))
				require.NoError(t, l.indexSealed())
				file := s.index.Load().file
				require.NotNil(t, file, "the index was not written")

				for range 3_000 {
					k, ts := keys[r.IntN(n)], uint64(r.IntN(n+2))
					if r.IntN(4) == 0 {
						k = append(bytes.Clone(k), byte(r.IntN(256)))
					}
					want, ok := mem.Get(k, ts)
					got, found, err := file.Get(k, ts, index.Hash(k))
					require.NoError(t, err)
					require.Equal(t, ok, found, "%.40q@%d", k, ts)
					if ok {
						want.Value = located(want.Value)
					}
					require.Equal(t, want, got, "%.40q@%d", k, ts)
				}
				for _, reverse := range []bool{false, true} {
					want, got := mem.Iterator(reverse), l.iterator(s, reverse, index.AllVersions, func(err error) { t.Error(err) })
					same := func(what string) {
						t.Helper()
						require.Equal(t, want.Valid(), got.Valid(), what)
						if want.Valid() {
							require.Equal(t, want.Key(), got.Key(), what)
							w, g := want.Value(), got.Value()
							w.Version, g.Version = 0, 0
							w.Value = located(w.Value)
							require.Equal(t, w, g, what)
						}
					}
					want.Rewind()
					got.Rewind()
					for want.Valid() {
						same("from the start")
						want.Next()
						got.Next()
					}
					same("end")
					for range 300 {
						k := keys[r.IntN(n)]
						if r.IntN(3) == 0 {
							k = append(bytes.Clone(k), byte(r.IntN(256)))
						}
						internal := y.KeyWithTs(k, uint64(r.IntN(n+2)))
						want.Seek(internal)
						got.Seek(internal)
						for range 5 {
							same(fmt.Sprintf("reverse %v, %.40q", reverse, k))
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
			})
		}
	}
}

// located is a location without the value that may follow it.
func located(b []byte) []byte {
	at, _, _ := index.ParseLocation(b)
	return index.AppendLocation(nil, at)
}

// Memory per sealed entry, as the runtime sees it, whatever the size of keys: at most 4 bytes
// beside the caches.
func TestIndexMemoryPerEntry(t *testing.T) {
	for _, keySize := range []int{16, 200} {
		t.Run(fmt.Sprint(keySize), func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.SegmentSize, o.IndexArena = 16<<20, 16<<20
			l := mustOpen(t, o)
			defer l.Close()
			r := newRand(t)
			const batches, perBatch = 40, 5_000
			before := heapInUse()
			for ts := range batches {
				b := NewBatch()
				for range perBatch {
					b.Add(&Entry{Key: randomValue(r, keySize)})
				}
				l.Enqueue(b, uint64(ts+1))
				require.NoError(t, l.Commit(b))
				b.Free()
				if ts%8 == 7 {
					require.NoError(t, l.Seal())
				}
			}
			require.NoError(t, l.syncAll(false))
			require.NoError(t, l.indexSealed())
			require.NoError(t, l.Prepare()) // the background may have done it, or not yet
			next := l.prep.ready.index.Load().memory()
			const entries = batches * perBatch
			counted := float64(l.State().IndexBytes-next) / entries
			held := float64(int64(heapInUse())-int64(before)-next) / entries
			t.Logf("%d-byte keys: %.2f bytes per entry counted, %.2f in the heap", keySize, counted, held)
			require.LessOrEqual(t, counted, 4.0)
			require.LessOrEqual(t, held, 4.0)
			require.Greater(t, counted, 0.9*held-0.5, "memory that is not counted")
			v := l.Acquire()
			defer v.Release()
			require.GreaterOrEqual(t, len(v.segs), 5)
		})
	}
}

func heapInUse() int64 {
	batchPool.Get() // what the pools hold is not the index's
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// ranges are what a segment knows of its timestamps.
type ranges struct {
	minTs, maxTs, maxVersion uint64
	mixed                    bool
}

func rangesOf(s *segment) ranges {
	return ranges{s.minTs.Load(), s.maxTs.Load(), s.maxVersion.Load(), s.mixed.Load()}
}

// An index that is made again has the ranges that its segment was written with. Timestamp 0 is that
// of a batch whose entries all have versions of their own.
func TestHealedIndexHasTheSameRanges(t *testing.T) {
	for _, stamps := range [][]uint64{{5}, {5, 6, 9}, {9, 6, 5}, {5, 0}, {0, 5}, {0}, {5, 0, 7}, {9, 0, 0, 3, 6}} {
		m := vfstest.NewDisk()
		l := mustOpen(t, faultOptions(m, true, nil))
		for _, ts := range stamps {
			e := Entry{Key: []byte("key"), Value: []byte("value")}
			if ts == 0 {
				e.Version = 4
			}
			mustPutEntries(t, l, ts, e)
		}
		s := l.w.active
		want, state := rangesOf(s), l.State()
		require.NoError(t, l.Seal())
		require.NoError(t, l.indexSealed())
		_, err := l.heal(s, s.index.Load().file, errInjected)
		require.NoError(t, err)
		require.Equal(t, want, rangesOf(s), "%d", stamps)
		require.Equal(t, state.OldestTs, l.State().OldestTs, "%d", stamps)
		require.NoError(t, l.Close())
	}
}

// An index of a part of its segment is made again of the whole: then the ranges grow with it. If it
// cannot be made they do not.
func TestHealOfAPartlyReplayedSegment(t *testing.T) {
	m := vfstest.NewDisk()
	o := faultOptions(m, true, nil)
	l := mustOpen(t, o)
	mustPutEntries(t, l, 5, Entry{Key: []byte("key"), Value: []byte("5"), Version: 20})
	mustPut(t, l, 6, "key", "6")
	mustPut(t, l, 7, "key", "7")
	require.NoError(t, l.MarkReplayed(1))
	require.NoError(t, l.Close())
	l = mustOpen(t, o)
	defer l.Close()
	require.NoError(t, l.indexSealed())
	s := l.w.live[0]
	part := ranges{6, 7, 7, false}
	require.Equal(t, part, rangesOf(s))
	damage := func() {
		m.Alter(block.SegmentName(1), func(b string) string { return forgery.Flip(b, len(b)-1, 1) })
	}
	damage()
	_, err := l.heal(s, s.index.Load().file, errInjected)
	require.ErrorIs(t, err, ErrCorrupt)
	require.NotNil(t, s.index.Load().file)
	require.Equal(t, part, rangesOf(s))
	damage() // and undone
	x, err := l.heal(s, s.index.Load().file, errInjected)
	require.NoError(t, err)
	require.NotNil(t, x.mem)
	require.Equal(t, ranges{5, 7, 20, true}, rangesOf(s))
}

// A reader that holds a view from before its segments were replayed must not read past what an
// index that is made again hides.
func TestIndexHealsAfterReplay(t *testing.T) {
	o := testOptions(t.TempDir())
	m := vfstest.NewDisk()
	o.Dir, o.FS = "/spill", m
	l := mustOpen(t, o)
	defer l.Close()
	for ts := uint64(1); ts <= 3; ts++ {
		mustPut(t, l, ts, "key", fmt.Sprint(ts))
		if ts == 2 {
			mustPut(t, l, ts, "other", "2")
		}
		require.NoError(t, l.Seal())
	}
	require.NoError(t, l.syncAll(false))
	require.NoError(t, l.indexSealed())
	v := l.Acquire()
	defer v.Release()
	it := v.NewIterator(false)
	defer it.Close()
	var files []*vfstest.DiskFile // those of segments that are dropped, and held
	for _, s := range v.segs[1:] {
		f, err := m.OpenFile(s.index.Load().file.Path, os.O_RDONLY, 0)
		require.NoError(t, err)
		defer f.Close()
		files = append(files, f.(*vfstest.DiskFile))
	}
	require.NoError(t, l.MarkReplayed(4))
	for _, f := range files {
		f.Alter(func(b string) string { return forgery.Flip(b, 20, 1) })
	}
	ref, ok, err := v.Get([]byte("key"), 10, false)
	require.NoError(t, err)
	require.True(t, ok)
	require.EqualValues(t, 3, ref.Version)
	ref, ok, err = v.Get([]byte("key"), 2, false)
	require.NoError(t, err)
	require.True(t, ok)
	require.EqualValues(t, 2, ref.Version)
	var got []string
	for it.Rewind(); it.Valid(); it.Next() {
		got = append(got, fmt.Sprintf("%s %d", y.ParseKey(it.Key()), y.ParseTs(it.Key())))
	}
	require.NoError(t, it.Err())
	require.Equal(t, []string{"key 3", "key 2", "key 1", "other 2"}, got)
}

// A leaf that is damaged while the log is open is made again from the segment, under the reader.
func TestIndexHealsUnderReaders(t *testing.T) {
	o := testOptions(t.TempDir())
	m := vfstest.NewDisk()
	o.Dir, o.FS, o.SegmentSize, o.IndexArena = "/spill", m, 1<<20, 1<<20
	l := mustOpen(t, o)
	defer l.Close()
	for i := range 2_000 {
		mustPut(t, l, uint64(i+1), fmt.Sprintf("key-%04d", i), fmt.Sprint(i))
	}
	require.NoError(t, l.Seal())
	require.NoError(t, l.syncAll(false))
	require.NoError(t, l.indexSealed())
	want := dump(t, l)
	require.Len(t, want, 2_000)
	damage := func() { m.Alter(index.Name(1), func(b string) string { return forgery.Flip(b, 20_000, 1) }) }
	for _, reverse := range []bool{false, true} {
		damage()
		v := l.Acquire()
		it := v.NewIterator(reverse)
		var got []string
		for it.Rewind(); it.Valid(); it.Next() {
			got = append(got, string(y.ParseKey(it.Key())))
		}
		require.NoError(t, it.Err())
		if reverse {
			slices.Reverse(got)
		}
		require.Len(t, got, 2_000)
		require.True(t, slices.IsSorted(got))
		require.NoError(t, it.Close())
		v.Release()
		require.True(t, waitFor(func() bool { return l.w.live[0].index.Load().file != nil }), "no new index file")
	}
	damage()
	for i := range 2_000 {
		got, ok := get(t, l, fmt.Sprintf("key-%04d", i))
		require.True(t, ok)
		require.Equal(t, fmt.Sprint(i), got)
	}
	// Index and segment both damaged: an error, never an answer.
	require.True(t, waitFor(func() bool { return l.w.live[0].index.Load().file != nil }), "no new index file")
	damage()
	m.Alter(block.SegmentName(1), func(b string) string { return forgery.Flip(b, 50_000, 1) })
	v := l.Acquire()
	defer v.Release()
	it := v.NewIterator(false)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
	}
	require.ErrorIs(t, it.Err(), ErrCorrupt)
	var failed error
	for i := range 2_000 {
		if _, _, err := v.Get(fmt.Appendf(nil, "key-%04d", i), math.MaxUint64, false); err != nil {
			failed = err
		}
	}
	require.ErrorIs(t, failed, ErrCorrupt)
}

// Opening reads no block of a segment that has an index.
func TestOpenReadsNoIndexedSegment(t *testing.T) {
	m := vfstest.NewDisk()
	o := faultOptions(m, false, nil)
	o.SegmentSize, o.IndexArena = 64<<10, 64<<10
	l := mustOpen(t, o)
	r := newRand(t)
	for i := range 300 {
		mustPut(t, l, uint64(i+1), fmt.Sprintf("key-%04d", i), string(randomValue(r, 1000)))
	}
	require.NoError(t, l.Sync())
	require.NoError(t, l.indexSealed())
	want := dump(t, l)
	killed := vfstest.DiskOf(o.Dir, m.Files())
	require.NoError(t, l.Close())
	reads := map[string]int{}
	killed.SetFault(func(op, path string) error {
		if op == "read" && strings.HasSuffix(path, block.SegmentSuffix) {
			reads[filepath.Base(path)]++
		}
		return nil
	})
	o.FS = killed
	l = mustOpen(t, o)
	defer l.Close()
	killed.SetFault(nil)
	last := 0
	for name, n := range reads {
		if n > 1 { // one read is that of the header
			last++
			require.Equal(t, segmentFilesOf(killed)[len(segmentFilesOf(killed))-1], filepath.Base(name))
		}
	}
	require.LessOrEqual(t, last, 1)
	require.Greater(t, len(reads), 4)
	requireSame(t, want, dump(t, l))
}

func segmentFilesOf(m *vfstest.Disk) []string {
	var names []string
	for name := range m.Files() {
		if strings.HasSuffix(name, block.SegmentSuffix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// What cannot be written stays in memory, is told, and is written once there is room.
func TestIndexIsRetriedWhenTheDiskIsFull(t *testing.T) {
	m := vfstest.NewDisk()
	o := faultOptions(m, false, nil)
	told := make(chan error, 100)
	o.OnEvent = func(e Event) {
		if e.Kind == BackgroundError {
			told <- e.Err
		}
	}
	l := mustOpen(t, o)
	defer l.Close()
	full := errors.New("disk full")
	m.SetFault(func(op, path string) error {
		if op == "write" && strings.HasSuffix(path, index.TempSuffix) {
			return full
		}
		return nil
	})
	mustPut(t, l, 1, "a", "one")
	require.NoError(t, l.Seal())
	require.ErrorIs(t, <-told, full)
	got, ok := get(t, l, "a")
	require.True(t, ok)
	require.Equal(t, "one", got)
	m.SetFault(nil)
	require.True(t, waitFor(func() bool { return l.w.live[0].index.Load().file != nil }), "the index was not written in the end")
	got, ok = get(t, l, "a")
	require.True(t, ok)
	require.Equal(t, "one", got)
}
