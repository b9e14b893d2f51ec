package workspace

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCopyIsWhole(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(from, "a", "b"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(from, "a", "b", "x"), []byte("one"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(from, "y"), []byte("two"), 0o600))
	require.NoError(t, CopyTree(t.Context(), from, to))
	require.NoError(t, os.RemoveAll(from))
	require.NoError(t, SyncTree(to))
	for file, want := range map[string]string{"a/b/x": "one", "y": "two"} {
		got, err := os.ReadFile(filepath.Join(to, file))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, CopyTree(ctx, to, t.TempDir()), context.Canceled)
	again := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(again, "y"), []byte("mine"), 0o600))
	require.ErrorIs(t, CopyTree(t.Context(), to, again), os.ErrExist)
	require.NoError(t, SyncTree(filepath.Join(to, "absent")))
}
