package vfs_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/vfs"
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
