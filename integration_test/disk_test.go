package integration_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// hashes returns what lies under dir: each file with a hash of its content, each folder with "/".
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			out[name] = "/"
			return nil
		}
		b, err := os.ReadFile(path)
		sum := sha256.Sum256(b)
		out[name] = string(sum[:])
		return err
	}))
	return out
}

// restore makes dir an exact copy of from.
func restore(t *testing.T, dir, from string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
}

// filesWith returns the names of the files under dir whose content contains what.
func filesWith(t *testing.T, dir string, what []byte) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // renamed or removed in the background
		}
		if bytes.Contains(b, what) {
			names = append(names, path)
		}
		return err
	}))
	return names
}
