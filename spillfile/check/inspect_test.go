package check_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/spilltest"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

func TestInspect(t *testing.T) {
	for name, key := range map[string][]byte{"plaintext": nil, "encrypted": spilltest.Key} {
		t.Run(name, func(t *testing.T) {
			src, _ := spilltest.Small(t, key, 40)
			before := spilltest.Files(t, src.Dir)
			_, places, n := spilltest.WalkAll(t, src)
			in, err := check.Inspect(src)
			require.NoError(t, err)
			require.True(t, in.Exists)
			require.True(t, in.CleanClose)
			require.False(t, in.Changing)
			require.NoError(t, in.OpenError)
			require.Equal(t, spilltest.ID, in.DatabaseID)
			require.EqualValues(t, 40, in.Commits)
			require.Equal(t, n.Entries, in.Entries)
			require.EqualValues(t, 10, in.FirstTs)
			require.EqualValues(t, 400, in.LastTs)
			require.WithinDuration(t, time.Now(), in.Oldest, time.Minute)
			require.Greater(t, in.Ratio, 1.0)
			require.InEpsilon(t, n.RawBytes, in.RawBytes, 0.5)
			var size int64
			for _, s := range in.Segments {
				require.Equal(t, key != nil, s.Encrypted)
				require.Positive(t, s.IndexSize)
				require.Equal(t, s.File, places[s.FirstSeq].File)
				require.Equal(t, s.File, places[s.LastSeq].File)
				require.Equal(t, 10*s.FirstSeq, s.FirstTs)
				require.Equal(t, 10*s.LastSeq, s.LastTs)
				size += s.Size + s.IndexSize
			}
			require.Equal(t, size, in.DiskBytes)
			require.Equal(t, before, spilltest.Files(t, src.Dir))
		})
	}
}

// What has no index is read: the segment that is being written, and one of which a part is
// replayed.
func TestInspectOfAnOpenSpill(t *testing.T) {
	src := check.Source{Dir: t.TempDir()}
	l := spilltest.MustOpen(t, spilltest.Options(src.Dir))
	spilltest.Fill(t, l, 20)
	require.NoError(t, l.MarkReplayed(8))
	in, err := check.Inspect(src)
	require.NoError(t, err)
	require.NoError(t, in.OpenError)
	require.EqualValues(t, 12, in.Commits)
	require.EqualValues(t, 8, in.ReplayedThrough)
	_, _, n := spilltest.WalkAll(t, src)
	require.Equal(t, n.Entries, in.Entries)
	require.NoError(t, l.MarkReplayed(20))
	in, err = check.Inspect(src)
	require.NoError(t, err)
	require.Zero(t, in.Commits)
	require.True(t, in.Oldest.IsZero())
	require.NoError(t, l.Close())
}

func TestInspectOfNoSpill(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		in, err := check.Inspect(check.Source{Dir: dir})
		require.NoError(t, err)
		require.False(t, in.Exists)
		require.Zero(t, in.Commits)
		require.NoError(t, in.OpenError)
	}
}

func TestInspectSaysWhatOpenWouldSay(t *testing.T) {
	src, _ := spilltest.Damaged(t, nil, 40)
	in, err := check.Inspect(src)
	require.NoError(t, err)
	require.NoError(t, in.OpenError, "each segment has an index: the damage shows when it is read")
	path := filepath.Join(src.Dir, block.SegmentName(1))
	require.NoError(t, os.Remove(filepath.Join(src.Dir, index.Name(1))))
	in, err = check.Inspect(src)
	require.NoError(t, err)
	require.ErrorIs(t, in.OpenError, spillfile.ErrCorrupt)
	require.ErrorContains(t, in.OpenError, path)
	require.ErrorIs(t, in.Segments[0].Err, spillfile.ErrCorrupt)
	_, err = spillfile.Open(spilltest.Options(src.Dir))
	require.EqualError(t, err, in.OpenError.Error())
}

// vanishing lets the first few openings of a segment find none, as a writer may that has removed it
// after it was listed.
func vanishing(times int) vfs.FS {
	return vfstest.NewFaults(spillfile.OS, func(op, path string) error {
		if op == "open" && filepath.Ext(path) == block.SegmentSuffix && times > 0 {
			times--
			return fs.ErrNotExist
		}
		return nil
	})
}

func TestInspectTriesAgainWhenAFileHasGone(t *testing.T) {
	src, _ := spilltest.Small(t, nil, 12)
	src.FS = vanishing(4)
	in, err := check.Inspect(src)
	require.NoError(t, err)
	require.EqualValues(t, 12, in.Commits)
	src.FS = vanishing(100)
	_, err = check.Inspect(src)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// A writer appends, seals and drops segments all the time. What Inspect sees may not fit together,
// but it never takes that for damage.
func TestInspectBesideAWriter(t *testing.T) {
	src := check.Source{Dir: t.TempDir()}
	o := spilltest.Options(src.Dir)
	o.SegmentSize = spillfile.MinSegmentSize
	l := spilltest.MustOpen(t, o)
	stop, done := make(chan struct{}), make(chan error, 1)
	var written atomic.Uint64
	go func() {
		for seq := uint64(1); ; seq++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			err := spilltest.Put(l, seq, fmt.Sprint(seq), strings.Repeat("value", int(seq%200)))
			if err == nil && seq > 60 && seq%20 == 0 {
				err = l.MarkReplayed(seq - 50)
			}
			if err != nil {
				done <- err
				return
			}
			written.Store(seq)
		}
	}()
	require.True(t, spilltest.WaitFor(func() bool { return written.Load() > 100 }))
	changing := 0
	for range 300 {
		in, err := check.Inspect(src)
		require.NoError(t, err)
		require.NoError(t, in.OpenError)
		for _, s := range in.Segments {
			require.NoError(t, s.Err)
		}
		if in.Changing {
			changing++
		}
	}
	close(stop)
	require.NoError(t, <-done)
	require.NoError(t, l.Close())
	require.Positive(t, changing)
}

// comeAndGoFS hides the last segment from some lists, as if a writer had added it or removed it.
type comeAndGoFS struct {
	vfs.FS
	lists  int
	hidden func(list int) bool
}

func (c *comeAndGoFS) ReadDir(dir string) ([]fs.DirEntry, error) {
	c.lists++
	entries, err := c.FS.ReadDir(dir)
	if c.hidden(c.lists) {
		last := ""
		for _, e := range entries {
			if filepath.Ext(e.Name()) == block.SegmentSuffix {
				last = e.Name()
			}
		}
		entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name() == last })
	}
	return entries, err
}

func TestInspectTriesAgainWhenWhatItSawDoesNotFit(t *testing.T) {
	src, _ := spilltest.Small(t, nil, 40)
	src.FS = &comeAndGoFS{FS: spillfile.OS, hidden: func(list int) bool { return list == 2 || list == 3 }}
	in, err := check.Inspect(src)
	require.NoError(t, err)
	require.NoError(t, in.OpenError)
	require.False(t, in.Changing)
	require.EqualValues(t, 40, in.Commits)
	src.FS = &comeAndGoFS{FS: spillfile.OS, hidden: func(list int) bool { return list%3 != 1 }}
	in, err = check.Inspect(src)
	require.NoError(t, err)
	require.ErrorIs(t, in.OpenError, spillfile.ErrCorrupt)
	require.True(t, in.Changing, "then it is said that it may not be true")
}
