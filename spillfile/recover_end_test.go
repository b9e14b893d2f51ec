package spillfile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// What a failed write has left behind the end that the index file of its segment says does not come
// back, also where a part of the segment is replayed, so that Open reads it whole.
func TestPartlyReplayedSegmentEndsWhereItsIndexDoes(t *testing.T) {
	commits := []struct {
		ts    uint64
		value string
	}{{10, "1"}, {20, "2"}, {30, "failed"}}
	write := func(dir string, n int) *Log {
		l := mustOpen(t, testOptions(dir))
		for _, c := range commits[:n] {
			mustPut(t, l, c.ts, "a", c.value)
		}
		return l
	}
	dir := t.TempDir()
	l := write(dir, 2)
	require.NoError(t, l.Seal())
	require.True(t, waitFor(func() bool {
		_, err := os.Stat(filepath.Join(dir, index.Name(1)))
		return err == nil
	}))
	require.NoError(t, l.MarkReplayed(1))
	killed := crash(t, dir)
	require.NoError(t, l.Close())
	other := t.TempDir()
	require.NoError(t, write(other, 3).Close())
	more, err := os.ReadFile(filepath.Join(other, block.SegmentName(1)))
	require.NoError(t, err)
	segment := filepath.Join(killed, block.SegmentName(1))
	whole, err := os.ReadFile(segment)
	require.NoError(t, err)
	require.Greater(t, len(more), len(whole))
	require.NoError(t, os.WriteFile(segment, append(whole, more[len(whole):]...), 0o600))

	l = mustOpen(t, testOptions(killed))
	defer l.Close()
	require.EqualValues(t, 1, l.State().LiveBatches)
	require.EqualValues(t, 2, l.State().LastSeq)
	got, ok := get(t, l, "a")
	require.True(t, ok)
	require.Equal(t, "2", got)
}
