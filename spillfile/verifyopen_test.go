package spillfile

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// threeSealed is an open log with three sealed segments in files with indexes, and one that is
// written.
func threeSealed(t *testing.T, o Options) *Log {
	t.Helper()
	l := mustOpen(t, o)
	for seg := range uint64(4) {
		for i := range uint64(20) {
			mustPut(t, l, seg*100+i+1, string(rune('a'+seg))+string(rune('a'+i)), strings.Repeat("v", 300))
		}
		if seg < 3 {
			require.NoError(t, l.Seal())
		}
	}
	require.NoError(t, l.syncAll(false))
	require.NoError(t, l.indexSealed())
	return l
}

func TestVerifyOpenNamesAllDamage(t *testing.T) {
	for name, key := range map[string][]byte{"plaintext": nil, "encrypted": testKey} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.EncryptionKey = key
			l := threeSealed(t, o)
			defer l.Close()
			damage, err := l.VerifyOpen(t.Context(), 0, 0)
			require.NoError(t, err)
			require.Empty(t, damage)

			one, two, index := filepath.Join(o.Dir, block.SegmentName(1)), filepath.Join(o.Dir, block.SegmentName(2)), filepath.Join(o.Dir, index.Name(3))
			b, err := os.ReadFile(one)
			require.NoError(t, err)
			blocks := blocksOf(b)
			damageAt := func(path string, at int64) { flipFile(t, path, at) }
			damageAt(one, blocks[3]+60)
			damageAt(one, blocks[7]+60)
			damageAt(two, 100) // its header
			damageAt(index, 10)
			damage, err = l.VerifyOpen(t.Context(), 0, 0)
			require.NoError(t, err)
			require.Len(t, damage, 3)
			require.Equal(t, []string{one, one, two}, []string{damage[0].File, damage[1].File, damage[2].File})
			require.Equal(t, []int64{blocks[3], blocks[7], 0}, []int64{damage[0].Offset, damage[1].Offset, damage[2].Offset})
			v, ok := get(t, l, "cb")
			require.True(t, ok, "the index is made again")
			require.NotEmpty(t, v)
		})
	}
}

func flipFile(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[at] ^= 0x40
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// What was read within the time is left out, and so is what is still written.
func TestVerifyOpenOnceInAWhile(t *testing.T) {
	o := testOptions(t.TempDir())
	l := threeSealed(t, o)
	defer l.Close()
	flipFile(t, filepath.Join(o.Dir, block.SegmentName(4)), 300)
	for i, row := range []struct {
		since time.Duration
		found int
	}{{time.Hour, 0}, {0, 1}, {time.Hour, 0}} {
		damage, err := l.VerifyOpen(t.Context(), 0, row.since)
		require.NoError(t, err)
		require.Len(t, damage, row.found, "%d", i)
	}
	flipFile(t, filepath.Join(o.Dir, block.SegmentName(1)), 300)
	damage, err := l.VerifyOpen(t.Context(), 0, time.Hour)
	require.NoError(t, err)
	require.Empty(t, damage, "it was read a moment ago")
	damage, err = l.VerifyOpen(t.Context(), 0, time.Nanosecond)
	require.NoError(t, err)
	require.Len(t, damage, 1)
}

// A segment that is replayed meanwhile is let go of, and is no error.
func TestVerifyOpenBesideReplay(t *testing.T) {
	o := testOptions(t.TempDir())
	l := threeSealed(t, o)
	defer l.Close()
	s := l.liveAfter(0)
	require.NoError(t, l.MarkReplayed(1000))
	p := &pacer{}
	damage, err := l.verifySegment(t.Context(), p, s)
	require.NoError(t, err)
	require.Empty(t, damage)
	require.Zero(t, p.bytes)
	l.unref(s)
	require.True(t, waitFor(func() bool { return l.State().DiskBytes == 0 }))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	mustPut(t, l, 2000, "a", "1")
	_, err = l.VerifyOpen(ctx, 1, 0)
	require.ErrorIs(t, err, context.Canceled)
}

// goingFS has no file of a segment the first time that it is opened, and never the one named.
type goingFS struct {
	FS
	never  string
	opened map[string]bool
}

func (v *goingFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if base := filepath.Base(name); strings.HasSuffix(base, block.SegmentSuffix) && (base == v.never || !v.opened[base]) {
		v.opened[base] = true
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return v.FS.OpenFile(name, flag, perm)
}

// Files that go while it reads are no error, however many. One that stays in the list is.
func TestVerifyInUseWhileFilesGo(t *testing.T) {
	o := testOptions(t.TempDir())
	o.SegmentSize = MinSegmentSize
	l := mustOpen(t, o)
	defer l.Close()
	for ts := range uint64(600) {
		mustPut(t, l, ts+1, "key", strings.Repeat("v", 200))
	}
	names := segmentFiles(t, o.Dir)
	require.Greater(t, len(names), 8)
	v := &goingFS{FS: OS, opened: map[string]bool{}}
	n, err := VerifyInUse(t.Context(), Source{Dir: o.Dir, FS: v}, nil)
	require.NoError(t, err)
	require.Empty(t, n.Faults)
	v.never = names[3]
	_, err = VerifyInUse(t.Context(), Source{Dir: o.Dir, FS: v}, nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, names[3])
}

// Another process reads while this one writes: no fault but real damage.
func TestVerifyInUse(t *testing.T) {
	o := testOptions(t.TempDir())
	o.SegmentSize = MinSegmentSize
	l := mustOpen(t, o)
	defer l.Close()
	done, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for ts := uint64(1); ; ts++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := put(l, ts, "key", strings.Repeat("v", 200)); err != nil {
				t.Error(err)
				return
			}
			if ts%200 == 0 {
				if err := l.MarkReplayed(ts - 100); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for range 20 {
		n, err := VerifyInUse(t.Context(), Source{Dir: o.Dir}, nil)
		require.NoError(t, err)
		require.Empty(t, n.Faults)
	}
	close(stop)
	<-done
	for ts := range uint64(600) {
		mustPut(t, l, 1<<40+ts, "key", strings.Repeat("v", 200))
	}
	names := segmentFiles(t, o.Dir)
	bad := filepath.Join(o.Dir, names[len(names)/2])
	flipFile(t, bad, 300)
	n, err := VerifyInUse(t.Context(), Source{Dir: o.Dir}, nil)
	require.NoError(t, err)
	require.NotEmpty(t, n.Faults)
	require.Equal(t, bad, n.Faults[0].File)
}
