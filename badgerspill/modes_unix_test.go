//go:build unix

package badgerspill

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
		interlock := &interlock{fs: spillfile.OS, dir: dir, spill: "spill"}
		drop := filepath.Join(dir, dropName)
		func() {
			defer unix.Umask(unix.Umask(mask))
			require.NoError(t, interlock.set())
			_, err := writeIdentity(spillfile.OS, dir)
			require.NoError(t, err)
			require.NoError(t, (&DB{opt: DefaultOptions(dir)}).announceDrop(nil))
		}()
		for _, path := range []string{interlock.path(), filepath.Join(dir, identityName), drop} {
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
		require.NoError(t, writeFile(spillfile.OS, path, []byte("text")))
		text, ok, err := readFile(spillfile.OS, path, 100)
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

		interlock := &interlock{fs: spillfile.OS, dir: dir, spill: "spill"}
		require.NoError(t, os.Symlink(elsewhere, interlock.path()))
		require.True(t, interlock.exists(), "to plain Badger it is there")
		require.ErrorContains(t, interlock.set(), interlock.path())
		require.NoError(t, interlock.remove())
		require.NoError(t, interlock.set())
		if !exists {
			require.NoFileExists(t, elsewhere)
		}
	}
}
