package spillfile

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

// heldFS is a file system that removes and replaces no file that is open.
type heldFS struct {
	FS
	mu   sync.Mutex
	open []string
}

type heldFile struct {
	File
	fs   *heldFS
	name string
}

var errHeld = errors.New("the file is being used by another process")

func (h *heldFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := h.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = append(h.open, name)
	return &heldFile{f, h, name}, nil
}

func (f *heldFile) Close() error {
	f.fs.mu.Lock()
	f.fs.open = slices.Delete(f.fs.open, slices.Index(f.fs.open, f.name), slices.Index(f.fs.open, f.name)+1)
	f.fs.mu.Unlock()
	return f.File.Close()
}

func (h *heldFS) held(op, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Contains(h.open, name) {
		return &fs.PathError{Op: op, Path: name, Err: errHeld}
	}
	return nil
}

func (h *heldFS) Remove(name string) error {
	if err := h.held("remove", name); err != nil {
		return err
	}
	return h.FS.Remove(name)
}

func (h *heldFS) Rename(oldname, newname string) error {
	if err := errors.Join(h.held("rename", oldname), h.held("rename", newname)); err != nil {
		return err
	}
	return h.FS.Rename(oldname, newname)
}

// TestSystemThatRemovesNoOpenFile: a segment that a reader holds stays, and counts, until the
// reader has let go; then it is removed without being asked.
func TestSystemThatRemovesNoOpenFile(t *testing.T) {
	removed := make(chan uint64, 10)
	o := testOptions(t.TempDir())
	o.FS = &heldFS{FS: OS}
	o.OnEvent = func(ev Event) {
		if ev.Kind == SegmentRemoved {
			removed <- ev.Segment
		}
	}
	l := mustOpen(t, o)
	mustPut(t, l, 1, "key", "value")
	v := l.Acquire()
	ref, ok, err := v.Get([]byte("key"), 1, false)
	require.NoError(t, err)
	require.True(t, ok)
	l.Rotate(0)
	require.NoError(t, l.MarkReplayed(l.State().LastSeq))
	segment := filepath.Join(o.Dir, block.SegmentName(ref.at.Segment))
	require.FileExists(t, segment)
	require.Positive(t, l.State().DiskBytes)
	value, err := v.Value(ref, nil)
	require.NoError(t, err)
	require.Equal(t, "value", string(value))
	v.Release()
	require.Equal(t, ref.at.Segment, <-removed)
	require.NoFileExists(t, segment)
	mustPut(t, l, 2, "key", "again")
	require.NoError(t, l.Close())
}
