package vfstest

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

func write(t *testing.T, fsys vfs.FS, name, text string) vfs.File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	require.NoError(t, vfs.WriteAll(f, []byte(text)))
	return f
}

// TestDiskAfterACrash: a kill takes nothing; a power cut at its worst takes bytes that were not
// synced, and names of which the directory was not.
func TestDiskAfterACrash(t *testing.T) {
	d := NewDisk()
	f := write(t, d, "/synced", "text")
	require.NoError(t, f.Sync())
	g := write(t, d, "/bytes", "text")
	require.NoError(t, d.SyncDir("/"))
	h := write(t, d, "/name", "text")
	require.NoError(t, h.Sync())
	_, err := f.WriteAt([]byte("more"), 4)
	require.NoError(t, err)

	require.Equal(t, map[string]string{"synced": "textmore", "bytes": "text", "name": "text"}, d.Killed().Files())
	require.Equal(t, map[string]string{"synced": "text", "bytes": ""}, d.OnlySynced().Files())
	var names, bytes, more bool
	for seed := range uint64(200) {
		left := d.PowerCut(rand.New(rand.NewPCG(seed, 1))).Files()
		require.Equal(t, "text", left["synced"][:4])
		_, name := left["name"]
		names, bytes, more = names || name, bytes || left["bytes"] != "", more || len(left["synced"]) > 4
	}
	require.True(t, names && bytes && more, "what was not synced may be there, too")
	require.NoError(t, g.Sync())
	require.Equal(t, "text", d.OnlySynced().Files()["bytes"])
}

// TestDiskRemovals: until the directory is synced, a removal and a rename may not have been.
func TestDiskRemovals(t *testing.T) {
	d := DiskOf("/", map[string]string{"a": "a", "b": "b"})
	require.NoError(t, d.Remove("/a"))
	require.NoError(t, d.Rename("/b", "/c"))
	require.Equal(t, map[string]string{"c": "b"}, d.Files())
	require.Equal(t, map[string]string{"a": "a", "b": "b"}, d.OnlySynced().Files())
	require.NoError(t, d.SyncDir("/"))
	require.Equal(t, map[string]string{"c": "b"}, d.OnlySynced().Files())
	require.ErrorIs(t, d.Remove("/a"), fs.ErrNotExist)
	require.ErrorIs(t, d.Rename("/a", "/b"), fs.ErrNotExist)
}

// TestDiskFaults: an operation that fails does not happen, but for the bytes that a write has
// written.
func TestDiskFaults(t *testing.T) {
	failed := errors.New("failed")
	d := NewDisk()
	f := write(t, d, "/f", "")
	d.ShortWrite = 2
	d.SetFault(func(op, path string) error {
		require.Equal(t, "/f", path)
		return failed
	})
	n, err := f.WriteAt([]byte("text"), 0)
	require.ErrorIs(t, err, failed)
	require.Equal(t, 2, n)
	require.ErrorIs(t, d.Remove("/f"), failed)
	require.Equal(t, map[string]string{"f": "te"}, d.Files())
	ops := d.Ops()
	require.NotNil(t, d.SetFault(nil))
	require.NoError(t, d.Remove("/f"))
	require.Equal(t, ops+1, d.Ops())
}

// TestFaults: every operation is asked about, by its name.
func TestFaults(t *testing.T) {
	dir := t.TempDir()
	name := dir + "/f"
	var asked []string
	failed := errors.New("failed")
	fail := ""
	f := NewFaults(vfs.OS, func(op, _ string) error {
		asked = append(asked, op)
		if op == fail {
			return &Torn{failed, func(n int) int { return n / 2 }}
		}
		return nil
	})
	all := []string{"create", "write", "sync", "truncate", "size", "chmod", "read", "rename", "open", "stat", "readdir", "mkdir", "syncdir", "lock", "remove"}
	work := func() error {
		_ = vfs.OS.Remove(name)
		file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		defer file.Close()
		n, werr := file.WriteAt([]byte("text"), 0)
		if fail == "write" {
			require.Equal(t, 2, n)
		}
		_, serr := file.Size()
		err = errors.Join(werr, file.Sync(), file.Truncate(4), serr, file.Chmod(0o600))
		_, rerr := file.ReadAt(make([]byte, 1), 0)
		err = errors.Join(err, rerr, f.Rename(name, name+"2"))
		if fail == "rename" {
			return err
		}
		again, oerr := f.OpenFile(name+"2", os.O_RDONLY, 0)
		if oerr == nil {
			oerr = again.Close()
		}
		_, terr := f.Stat(name + "2")
		_, derr := f.ReadDir(dir)
		lock, lerr := f.Lock(dir+"/LOCK", false)
		if lerr == nil {
			lerr = lock.Close()
		}
		return errors.Join(err, oerr, terr, derr, f.MkdirAll(dir, 0o700), f.SyncDir(dir), lerr, f.Remove(name+"2"))
	}
	require.NoError(t, work())
	require.ElementsMatch(t, all, asked)
	for _, fail = range all {
		require.ErrorIs(t, work(), failed, fail)
	}
	f.Set(nil)
	fail = "write"
	asked = nil
	file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	require.Empty(t, asked)
}

// TestDescriptors: what is open at once is counted and bounded.
func TestDescriptors(t *testing.T) {
	d := NewDescriptors(NewDisk())
	d.Limit(2)
	f, g := write(t, d, "/f", "text"), write(t, d, "/g", "text")
	_, err := d.OpenFile("/f", os.O_RDONLY, 0)
	require.ErrorIs(t, err, syscall.EMFILE)
	require.NoError(t, f.Close())
	require.Equal(t, 2, d.Peak())
	require.Equal(t, 1, d.Open())
	require.Equal(t, 1, d.Peak(), "since it was asked")
	_, err = d.OpenFile("/missing", os.O_RDONLY, 0)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, g.Close())
	require.Zero(t, d.Open())
}
