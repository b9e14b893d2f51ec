package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDescriptorsFree(t *testing.T) {
	require.True(t, DescriptorsFree(t.TempDir(), 3))
	require.True(t, DescriptorsFree(filepath.Join(t.TempDir(), "none"), 3))
}

func TestRuns(t *testing.T) {
	require.True(t, runs(os.Getpid()))
	require.False(t, runs(1<<30))
}
