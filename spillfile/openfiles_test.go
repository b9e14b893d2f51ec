package spillfile

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// segmentsOf fills a log with n sealed segments of three keys each, and their indexes in files.
func segmentsOf(t testing.TB, l *Log, n int) {
	t.Helper()
	from := int(l.State().LastSeq)
	for i := range 3 * n {
		mustPut(t, l, uint64(from+i+1), fmt.Sprintf("key-%05d", from+i), fmt.Sprint("a value longer than what lies in an index in memory: ", 1_000_000+from+i))
		if i%3 == 2 {
			require.NoError(t, l.Seal())
		}
	}
	require.NoError(t, l.syncAll(false))
	require.NoError(t, l.indexSealed())
}

// However many segments there are, only so many files are open: while they are written, read by
// many at once, merged, read in order, dropped, closed, opened, opened read-only, and looked at.
func TestBoundedOpenFiles(t *testing.T) {
	const segments, bound = 60, MinOpenFiles
	fsys := vfstest.NewDescriptors(vfstest.NewDisk())
	o := Options{Dir: "/spill", FS: fsys, DatabaseID: testID, OpenFiles: bound}
	within := func(what string) {
		t.Helper()
		require.Less(t, fsys.Peak(), bound, "%s", what)
	}
	l := mustOpen(t, o)
	segmentsOf(t, l, segments)
	within("written")
	readers := func() {
		var wg sync.WaitGroup
		for g := range 24 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				r := rand.New(rand.NewPCG(uint64(g), 1))
				for range 100 {
					key := fmt.Sprintf("key-%05d", r.IntN(3*segments))
					v := l.Acquire()
					ref, ok, err := v.Get([]byte(key), math.MaxUint64, false)
					if err != nil || !ok {
						t.Errorf("%s: %v, %v", key, ok, err)
					} else if _, err := v.Value(ref, nil); err != nil {
						t.Errorf("%s: %v", key, err)
					}
					v.Release()
				}
			}()
		}
		wg.Wait()
	}
	readers()
	within("read by many")
	require.Len(t, dump(t, l), 3*segments)
	within("iterated")
	require.Len(t, readAll(t, l, 1000), 3*segments)
	within("read in order")
	m := l.NewMerge(Position{}, math.MaxInt64)
	c, n := new(Chunk), 0
	for {
		_, err := m.Next(c, 2000, Retention{DiscardTs: math.MaxUint64, Versions: 1})
		require.NoError(t, err)
		if len(c.Entries) == 0 {
			break
		}
		n += len(c.Entries)
	}
	m.Close()
	require.Equal(t, 3*segments, n)
	within("merged")
	require.NoError(t, l.Close())
	require.Zero(t, fsys.Open(), "all are closed")
	for _, readOnly := range []bool{true, false} {
		o.ReadOnly = readOnly
		l = mustOpen(t, o)
		within("opened")
		readers()
		within("read by many again")
		if !readOnly {
			require.NoError(t, l.MarkReplayed(3*segments/2))
			within("dropped")
		}
		require.NoError(t, l.Close())
		require.Zero(t, fsys.Open())
	}
	report, err := check.Verify(context.Background(), check.Source{Dir: "/spill", FS: fsys}, nil)
	require.NoError(t, err)
	require.Empty(t, report.Faults)
	require.LessOrEqual(t, fsys.Peak(), 2*MinOpenFiles, "verified")
	require.Zero(t, fsys.Open())
}

// Where the process has fewer descriptors than the bound, the log gets along with those: it closes
// what it does not use.
func TestFewerDescriptorsThanTheBound(t *testing.T) {
	fsys := vfstest.NewDescriptors(vfstest.NewDisk())
	fsys.Limit(20)
	o := Options{Dir: "/spill", FS: fsys, DatabaseID: testID}
	l := mustOpen(t, o)
	segmentsOf(t, l, 40)
	require.Len(t, dump(t, l), 120)
	require.NoError(t, l.Close())
	fsys.FS = fsys.FS.(*vfstest.Disk).Killed()
	l = mustOpen(t, o)
	require.Len(t, dump(t, l), 120)
	require.NoError(t, l.Close())
}

// No descriptor is left at all: that is an error and no damage, wherever it is met. Nothing is made
// again, cut off or changed for it, and once there are descriptors all is as it was.
func TestNoDescriptors(t *testing.T) {
	fsys := vfstest.NewDescriptors(vfstest.NewDisk())
	o := Options{Dir: "/spill", FS: fsys, DatabaseID: testID}
	l := mustOpen(t, o)
	segmentsOf(t, l, 10)
	mustPut(t, l, 31, "in the active one", "v")
	want := dump(t, l)
	disk := fsys.FS.(*vfstest.Disk)
	none := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, syscall.EMFILE)
		require.NotErrorIs(t, err, ErrCorrupt)
	}

	// While it is open: files that are not open cannot be read.
	for l.files.Shrink() {
	}
	fsys.Limit(0)
	v := l.Acquire()
	for i := range 30 {
		_, _, err := v.Get(fmt.Appendf(nil, "key-%05d", i), math.MaxUint64, false)
		none(err)
	}
	_, err := tryDump(l)
	none(err)
	none(tryReadAll(l))
	m := l.NewMerge(Position{}, math.MaxInt64)
	_, err = m.Next(new(Chunk), 1000, Retention{Versions: 1})
	none(err)
	m.Close()
	v.Release()
	mustPut(t, l, 32, "into a file that is open", "v")
	want["into a file that is open@32"] = "v"
	fsys.Limit(math.MaxInt)
	requireSame(t, want, dump(t, l))

	// A kill, and Open with any number of descriptors: it opens whole, or not at all.
	killed := disk.Killed()
	before := killed.Files()
	delete(before, layout.ManifestTemp) // it holds nothing
	for limit := 0; ; limit++ {
		fsys = vfstest.NewDescriptors(killed)
		fsys.Limit(limit)
		o.FS = fsys
		again, err := Open(o)
		if err == nil {
			require.LessOrEqual(t, limit, 3, "the manifest, or a segment and its index")
			fsys.Limit(math.MaxInt)
			requireSame(t, want, dump(t, again))
			require.NoError(t, again.Close())
			break
		}
		none(err)
		left := killed.Files()
		delete(left, layout.ManifestTemp)
		require.True(t, maps.Equal(before, left), "%d descriptors: something has changed", limit)
		_, err = check.Verify(context.Background(), check.Source{Dir: "/spill", FS: fsys}, nil)
		none(err)
	}
	require.NoError(t, l.Close())
}

// A segment that is dropped while a reader holds it keeps its files, so that the reader can open
// them again, and counts; when the reader lets go they are removed. A kill before that leaves them
// for the next Open.
func TestDroppedSegmentsStayForTheirReaders(t *testing.T) {
	for _, end := range []string{"let go", "kill", "close"} {
		t.Run(end, func(t *testing.T) {
			disk := vfstest.NewDisk()
			o := Options{Dir: "/spill", FS: disk, DatabaseID: testID, OpenFiles: MinOpenFiles}
			l := mustOpen(t, o)
			segmentsOf(t, l, 20)
			want := dump(t, l)
			v := l.Acquire()
			require.NoError(t, l.MarkReplayed(60))
			require.True(t, l.Empty())
			for l.files.Shrink() {
			}
			it := v.NewScan(false)
			n := 0
			for it.Rewind(); it.Valid(); it.Next() {
				value, ok := it.Value()
				require.True(t, ok)
				require.Equal(t, want[fmt.Sprintf("%s@%d", it.UserKey(), it.Ref().Version)], string(value))
				n++
			}
			require.NoError(t, it.Err())
			require.Equal(t, 60, n)
			require.NoError(t, it.Close())
			require.Positive(t, l.State().DiskBytes)
			files := func(m *vfstest.Disk) (n int) {
				for name := range m.Files() {
					if filepath.Ext(name) == block.SegmentSuffix {
						n++
					}
				}
				return n
			}
			require.GreaterOrEqual(t, files(disk), 20)
			switch end {
			case "let go":
				v.Release()
				require.True(t, waitFor(func() bool { return l.State().DiskBytes == 0 }))
				require.True(t, waitFor(func() bool { return files(disk) <= 1 }), "the next segment may be prepared")
			case "kill":
				disk = disk.Killed()
				o.FS = disk
				again := mustOpen(t, o)
				require.True(t, again.Empty())
				require.Zero(t, files(disk))
				require.NoError(t, again.Close())
				v.Release()
			case "close":
				for l.files.Shrink() {
				}
				require.NoError(t, l.Close())
				require.Zero(t, files(disk))
				_, _, err := v.Get([]byte("key-00000"), math.MaxUint64, false)
				require.ErrorIs(t, err, ErrClosed)
				require.NotErrorIs(t, err, ErrCorrupt)
				v.Release()
				return
			}
			require.NoError(t, l.Close())
		})
	}
}

// Sealed segments that are not synced keep their files open. Where the disk does not get to it, a
// writer waits for the oldest rather than take more descriptors.
func TestUnsyncedSegmentsAreBounded(t *testing.T) {
	gate := make(chan struct{}) // no sync of a segment returns before it is open
	fsys := vfstest.NewDescriptors(vfstest.NewFaults(vfstest.NewDisk(), beforeSync(func() { <-gate })))
	o := Options{Dir: "/spill", FS: fsys, DatabaseID: testID, OpenFiles: MinOpenFiles}
	l := mustOpen(t, o)
	done := make(chan error, 1)
	go func() {
		for i := range 20 {
			if err := put(l, uint64(i+1), "k", "v"); err != nil {
				done <- err
				return
			}
			if err := l.Seal(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	bound := l.files.MostUnsynced()
	require.True(t, waitFor(func() bool {
		l.w.mu.Lock()
		defer l.w.mu.Unlock()
		return len(l.w.unsynced) == bound && l.pending.Load() > 0
	}), "the writer does not wait")
	close(gate)
	require.NoError(t, <-done)
	require.NoError(t, l.Close()) // what works in the background is done then
	require.Less(t, fsys.Peak(), MinOpenFiles)
}

// A file that somebody has taken away while the log is open is damage, which is not tried again for
// ever.
func TestFileTakenAwayWhileOpen(t *testing.T) {
	disk := vfstest.NewDisk()
	o := Options{Dir: "/spill", FS: disk, DatabaseID: testID}
	l := mustOpen(t, o)
	segmentsOf(t, l, 2)
	for l.files.Shrink() {
	}
	require.NoError(t, disk.Remove(filepath.Join("/spill", index.Name(1))))
	_, ok := get(t, l, "key-00000")
	require.True(t, ok, "the index is made again from its segment")
	for l.files.Shrink() {
	}
	l.cache.Clear()
	require.NoError(t, disk.Remove(filepath.Join("/spill", block.SegmentName(2))))
	err := tryReadAll(l)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, block.SegmentName(2))
	require.NoError(t, l.Close())
}

func TestOpenFilesOption(t *testing.T) {
	for files, ok := range map[int]bool{0: true, MinOpenFiles: true, MinOpenFiles - 1: false, -1: false} {
		l, err := Open(Options{Dir: t.TempDir(), OpenFiles: files})
		if ok {
			require.NoError(t, err)
			require.NoError(t, l.Close())
		} else {
			require.ErrorIs(t, err, ErrOptions)
		}
	}
}

// BenchmarkGetOpenFiles is a Get of a key that is in one of many sealed segments, each of which has
// its turn. It is run with a place for each file, and with the fewest places, where each Get opens
// the index and the segment.
func BenchmarkGetOpenFiles(b *testing.B) {
	for name, files := range map[string]int{"all open": 1000, "at the bound": MinOpenFiles} {
		b.Run(name, func(b *testing.B) {
			o := Options{Dir: b.TempDir(), DatabaseID: testID, OpenFiles: files}
			l := mustOpen(b, o)
			defer l.Close()
			const segments = 100
			segmentsOf(b, l, segments)
			v := l.Acquire()
			defer v.Release()
			i := 0
			var dst []byte
			for b.Loop() {
				ref, ok, err := v.Get(fmt.Appendf(nil, "key-%05d", 3*i), math.MaxUint64, false)
				if err == nil && ok {
					dst, err = v.Value(ref, dst[:0])
				}
				if err != nil || !ok {
					b.Fatal(ok, err)
				}
				i = (i + 7) % segments
			}
		})
	}
}
