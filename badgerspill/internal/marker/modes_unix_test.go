//go:build unix

package marker

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/badgerspill/badgerspill/spillfile"
)

// TestModesOfSmallFiles: what the layer puts into Badger's directory is the owner's to read and
// write, whatever the umask.
func TestModesOfSmallFiles(t *testing.T) {
	for _, mask := range []int{0, 0o777} {
		dir := t.TempDir()
		interlock := NewInterlock(spillfile.OS, dir, "spill", nil)
		drop := DropPath(dir)
		func() {
			defer unix.Umask(unix.Umask(mask))
			require.NoError(t, interlock.Set())
			_, err := WriteIdentity(spillfile.OS, dir)
			require.NoError(t, err)
			require.NoError(t, AnnounceDrop(spillfile.OS, dir, nil))
		}()
		for _, path := range []string{interlock.Path(), filepath.Join(dir, IdentityName), drop} {
			info, err := os.Lstat(path)
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o600), info.Mode(), "%s, umask %03o", path, mask)
		}
	}
}

// TestSmallFilesAreNotWrittenThroughLinks: a file that is written beside, and renamed, is not
// written to where somebody has led that name, and what is there is replaced.
func TestSmallFilesAreNotWrittenThroughLinks(t *testing.T) {
	for _, exists := range []bool{false, true} {
		dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "target")
		if exists {
			require.NoError(t, os.WriteFile(elsewhere, []byte("not yours"), 0o644))
		}
		path := filepath.Join(dir, "small")
		require.NoError(t, os.Symlink(elsewhere, path))
		require.NoError(t, os.Symlink(elsewhere, path+".tmp"))
		require.NoError(t, WriteFile(spillfile.OS, path, []byte("text")))
		text, ok, err := ReadFile(spillfile.OS, path, 100)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "text", string(text))
		if exists {
			text, err = os.ReadFile(elsewhere)
			require.NoError(t, err)
			require.Equal(t, "not yours", string(text))
		} else {
			require.NoFileExists(t, elsewhere)
		}

		interlock := NewInterlock(spillfile.OS, dir, "spill", nil)
		require.NoError(t, os.Symlink(elsewhere, interlock.Path()))
		there, err := interlock.Present()
		require.NoError(t, err)
		require.True(t, there, "to plain Badger it is there")
		require.ErrorContains(t, interlock.Set(), interlock.Path())
		require.NoError(t, interlock.Remove())
		require.NoError(t, interlock.Set())
		if !exists {
			require.NoFileExists(t, elsewhere)
		}
	}
}
