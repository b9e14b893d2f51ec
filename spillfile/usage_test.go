package spillfile

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// Usage counts an index file before it is made: its bytes must have been reserved when the entries
// were.
func TestUsageCountsTheIndexThatIsStillToBeMade(t *testing.T) {
	r := newRand(t)
	for name, key := range keySets {
		for _, encrypted := range []bool{false, true} {
			for _, n := range []int{1, 40, 2000} {
				t.Run(fmt.Sprintf("%s/%v/%d", name, encrypted, n), func(t *testing.T) {
					fsys := vfstest.NewDisk()
					o := Options{Dir: "/spill", FS: fsys, DatabaseID: testID, SegmentSize: 16 << 20, IndexArena: 16 << 20}
					if encrypted {
						o.EncryptionKey = bytes.Repeat([]byte{7}, 32)
					}
					if name == "huge" {
						n = min(n, 100)
					}
					fsys.SetFault(func(op, path string) error { // until all is counted
						if op == "create" && bytes.Contains([]byte(path), []byte(index.TempSuffix)) {
							return errInjected
						}
						return nil
					})
					l := mustOpen(t, o)
					defer l.Close()
					var reserved int64
					for i := range n {
						b := newBatch(Entry{Key: key(r, i), Value: []byte("v"), ExpiresAt: uint64(i % 2 * 1e6)})
						require.LessOrEqual(t, b.DiskSize(), EstimateDiskSize(1, b.keys, b.keys+1))
						reserved += b.DiskSize()
						l.Enqueue(b, uint64(i+1))
						require.NoError(t, l.Commit(b))
						b.Free()
					}
					s := l.w.active
					require.NoError(t, l.Seal())
					expected, _ := l.Usage()
					require.Greater(t, expected, l.State().DiskBytes, "the index is not counted")
					const unreserved = block.SegmentHeaderSize + index.FileFixed
					require.LessOrEqual(t, expected, reserved+unreserved, "more is counted than was reserved")

					fsys.SetFault(nil)
					require.NoError(t, l.syncAll(false))
					require.NoError(t, l.indexSealed())
					require.NotNil(t, s.index.Load().file)
					disk, _ := l.Usage()
					require.LessOrEqual(t, disk, expected, "the file is larger than was expected")
					require.Equal(t, l.State().DiskBytes, disk, "nothing more is expected")
					var files int64
					for file, b := range fsys.Files() {
						if file != layout.ManifestName && file != layout.ManifestTemp && file != layout.NewestName && file != layout.LockName {
							files += int64(len(b))
						}
					}
					require.Equal(t, files, disk)

					require.NoError(t, l.MarkReplayed(uint64(n)))
					require.True(t, waitFor(func() bool { disk, _ := l.Usage(); return disk == 0 }), "the background may hold it yet")
				})
			}
		}
	}
}

// What is dropped before its index was made expects none any more.
func TestUsageOfASegmentThatIsDroppedWithoutAnIndex(t *testing.T) {
	l := mustOpen(t, testOptions(t.TempDir()))
	defer l.Close()
	mustPut(t, l, 1, "a", "1")
	disk, _ := l.Usage()
	require.Greater(t, disk, l.State().DiskBytes)
	require.NoError(t, l.MarkReplayed(1))
	require.True(t, waitFor(func() bool { disk, _ := l.Usage(); return disk == 0 }))
}

// A log that is opened again expects the indexes that it has not.
func TestUsageAfterRecovery(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, testOptions(dir))
	mustPut(t, l, 1, "a", "1")
	l = mustOpen(t, testOptions(crash(t, dir)))
	defer l.Close()
	require.True(t, waitFor(func() bool {
		disk, _ := l.Usage()
		return disk > 0 && disk == l.State().DiskBytes && len(l.w.live) == 1
	}), "the index is made in the background")
}

// A damaged index is replaced, and stays open for readers: both files take room.
func TestUsageOfAReplacedIndex(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, testOptions(dir))
	defer l.Close()
	for i := range 100 {
		mustPut(t, l, uint64(i+1), fmt.Sprint("key", i), "value")
	}
	s := l.w.active
	require.NoError(t, l.Seal())
	require.True(t, waitFor(func() bool { return s.index.Load().file != nil }))
	bad := s.index.Load().file
	before, _ := l.Usage()
	_, err := l.heal(s, bad, errInjected)
	require.NoError(t, err)
	require.True(t, waitFor(func() bool { return s.index.Load().file != nil }), "made again")
	after, _ := l.Usage()
	require.Equal(t, before, after, "it has taken the place of the damaged one")
	require.NoError(t, l.MarkReplayed(100))
	require.True(t, waitFor(func() bool { disk, _ := l.Usage(); return disk == 0 }))
}

// What a failed write has left counts when it cannot be cut off.
func TestUsageAfterAWriteThatFailedHalfway(t *testing.T) {
	fsys := vfstest.NewDisk()
	l := mustOpen(t, Options{Dir: "/spill", FS: fsys, DatabaseID: testID, SegmentSize: 64 << 10})
	defer l.Close()
	mustPut(t, l, 1, "a", "1")
	before := l.State().DiskBytes
	fsys.ShortWrite = 100
	fsys.SetFault(func(op, path string) error {
		if op == "write" || op == "truncate" {
			return errInjected
		}
		return nil
	})
	require.ErrorIs(t, put(l, 2, "b", string(make([]byte, 4<<10))), errInjected)
	fsys.SetFault(nil)
	require.Equal(t, before+min(100, l.State().DiskBytes-before), l.State().DiskBytes)
	require.Greater(t, l.State().DiskBytes, before)
}
