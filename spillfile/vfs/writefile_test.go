package vfs_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/vfs"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// TestWriteFile: the file is what was written last, whatever was there and beside it.
func TestWriteFile(t *testing.T) {
	for name, before := range map[string]map[string]string{
		"nothing is there":       {},
		"an older file is there": {"name": "older and longer than the new one"},
		"a crash has left its temporary file": {
			"name": "older", "name" + vfs.TempSuffix: strings.Repeat("left by a crash", 10),
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range before {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
			}
			path := filepath.Join(dir, "name")
			require.NoError(t, vfs.WriteFile(vfs.OS, path, []byte("new")))
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, "new", string(text))
			require.NoFileExists(t, path+vfs.TempSuffix)
		})
	}
}

// TestWriteFileFollowsNoLink: what somebody has put in the place of the temporary file is removed,
// and what it leads to is not written.
func TestWriteFileFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	path, elsewhere := filepath.Join(dir, "name"), filepath.Join(dir, "elsewhere")
	require.NoError(t, os.WriteFile(elsewhere, []byte("precious"), 0o600))
	if err := os.Symlink(elsewhere, path+vfs.TempSuffix); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	require.NoError(t, vfs.WriteFile(vfs.OS, path, []byte("new")))
	text, err := os.ReadFile(elsewhere)
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
}

// shortFile writes less than it is given and says nothing.
type shortFile struct{ vfs.File }

func (shortFile) WriteAt(b []byte, _ int64) (int, error) { return len(b) - 1, nil }
func (shortFile) Close() error                           { return nil }

// TestCompleteNoticesAShortWrite: a write that was cut off is no success, though nobody said so.
func TestCompleteNoticesAShortWrite(t *testing.T) {
	require.ErrorIs(t, vfs.Complete(shortFile{}, []byte("text")), io.ErrShortWrite)
}

// TestWriteFileCutAnywhere: whatever operation fails, and a kill or a power cut follows, the file
// is the old one or the new one; after a success it is the new one.
func TestWriteFileCutAnywhere(t *testing.T) {
	const older, newer = "the old text, which is longer", "the new text"
	cut := errors.New("cut")
	for k := 1; ; k++ {
		disk := vfstest.DiskOf("/dir", map[string]string{"name": older, "name" + vfs.TempSuffix: "left"})
		disk.ShortWrite = k % len(newer)
		disk.SetFault(func(_, _ string) error {
			if disk.Ops() >= k {
				return cut
			}
			return nil
		})
		err := vfs.WriteFile(disk, "/dir/name", []byte(newer))
		left := map[string]*vfstest.Disk{"killed": disk.Killed(), "only what was synced": disk.OnlySynced()}
		for seed := range uint64(20) {
			left[fmt.Sprint("seed ", seed)] = disk.PowerCut(rand.New(rand.NewPCG(seed, uint64(k))))
		}
		for name, state := range left {
			got := state.Files()["name"]
			if err == nil {
				require.Equal(t, newer, got, name)
			} else {
				require.ErrorIs(t, err, cut)
				require.Contains(t, []string{older, newer}, got, "%s after operation %d", name, k)
			}
		}
		if err == nil {
			require.Greater(t, k, 5, "fewer operations than steps")
			return
		}
	}
}
