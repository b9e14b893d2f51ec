package usage

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestWrittenPagesAndBurntTimeAreCounted(t *testing.T) {
	const size = 4 << 20
	file := filepath.Join(t.TempDir(), "file")
	var fs unix.Statfs_t
	require.NoError(t, unix.Statfs(filepath.Dir(file), &fs))
	if fs.Type == unix.TMPFS_MAGIC {
		t.Skip("temporary files are in memory: nothing is sent to storage")
	}
	before, err := Now()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, make([]byte, size), 0o600))
	for start := time.Now(); time.Since(start) < 20*time.Millisecond; {
	}

	after, err := Now()
	require.NoError(t, err)
	work := after.Sub(before)
	require.GreaterOrEqual(t, work.Written, int64(size))
	require.Less(t, work.Written, int64(2*size))
	require.Positive(t, work.CPU)
	require.Less(t, work.CPU, 10*time.Second)

	require.NoError(t, os.Truncate(file, 0))
	last, err := Now()
	require.NoError(t, err)
	require.LessOrEqual(t, last.Sub(after).Cancelled, int64(size), "less if the kernel has begun to write")
}

func TestAnonymousMemoryGrowsWithTheHeap(t *testing.T) {
	before, err := InMemory()
	require.NoError(t, err)
	const size = 32 << 20
	heap := make([]byte, size)
	for i := range heap {
		heap[i] = byte(i)
	}
	after, err := InMemory()
	require.NoError(t, err)
	grown := after.Anonymous - before.Anonymous
	require.Greater(t, grown, int64(size*15/16))
	require.Less(t, grown, int64(8*size), "the race detector keeps notes four times as large")
	require.Positive(t, after.Mapped(), "the test binary is a mapped file")
	runtime.KeepAlive(heap)
}
