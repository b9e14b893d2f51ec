package check_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/spilltest"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// goingFS has no file of a segment the first time that it is opened, and never the one named.
type goingFS struct {
	vfs.FS
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
	o := spilltest.Options(t.TempDir())
	o.SegmentSize = spillfile.MinSegmentSize
	l := spilltest.MustOpen(t, o)
	defer l.Close()
	for ts := range uint64(600) {
		spilltest.MustPut(t, l, ts+1, "key", strings.Repeat("v", 200))
	}
	names := spilltest.Segments(t, o.Dir)
	require.Greater(t, len(names), 8)
	v := &goingFS{FS: spillfile.OS, opened: map[string]bool{}}
	n, err := check.VerifyInUse(t.Context(), check.Source{Dir: o.Dir, FS: v}, nil)
	require.NoError(t, err)
	require.Empty(t, n.Faults)
	v.never = names[3]
	_, err = check.VerifyInUse(t.Context(), check.Source{Dir: o.Dir, FS: v}, nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, names[3])
}

// Another process reads while this one writes: no fault but real damage.
func TestVerifyInUse(t *testing.T) {
	o := spilltest.Options(t.TempDir())
	o.SegmentSize = spillfile.MinSegmentSize
	l := spilltest.MustOpen(t, o)
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
			if err := spilltest.Put(l, ts, "key", strings.Repeat("v", 200)); err != nil {
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
		n, err := check.VerifyInUse(t.Context(), check.Source{Dir: o.Dir}, nil)
		require.NoError(t, err)
		require.Empty(t, n.Faults)
	}
	close(stop)
	<-done
	for ts := range uint64(600) {
		spilltest.MustPut(t, l, 1<<40+ts, "key", strings.Repeat("v", 200))
	}
	names := spilltest.Segments(t, o.Dir)
	bad := filepath.Join(o.Dir, names[len(names)/2])
	spilltest.Damage(t, bad, 300)
	n, err := check.VerifyInUse(t.Context(), check.Source{Dir: o.Dir}, nil)
	require.NoError(t, err)
	require.NotEmpty(t, n.Faults)
	require.Equal(t, bad, n.Faults[0].File)
}
