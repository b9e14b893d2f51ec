package spillfile

import (
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
)

// smallPieces makes an address space of which a test can reach the end.
func smallPieces(t *testing.T, bytes int64) {
	was := block.MaxPiece
	block.MaxPiece = bytes
	t.Cleanup(func() { block.MaxPiece = was })
}

// TestPiecesBeyondTheAddressSpace: what does not fit into a 32-bit address space is an error that
// says so, and no damage: nothing is cut off, and a larger address space reads all of it.
func TestPiecesBeyondTheAddressSpace(t *testing.T) {
	for name, closed := range map[string]bool{"after Close": true, "after a kill": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := testOptions(dir)
			large := string(randomValue(newRand(t), 100<<10))
			l := mustOpen(t, o)
			mustPut(t, l, 1, "a", "small")
			mustPut(t, l, 2, "b", large)
			v := l.Acquire()
			ref, ok, err := v.Get([]byte("b"), 2, false)
			require.NoError(t, err)
			require.True(t, ok)
			if closed {
				require.NoError(t, l.Close())
			} else {
				require.NoError(t, l.Sync())
				dir = crash(t, dir)
				o.Dir = dir
				require.NoError(t, l.Close()) // its background reads what is changed here
			}
			before := filesIn(t, dir)

			smallPieces(t, 64<<10)
			_, err = v.Value(ref, nil)
			require.ErrorIs(t, err, ErrTooLarge)
			require.NotErrorIs(t, err, ErrCorrupt)
			v.Release()
			other := mustOpen(t, testOptions(t.TempDir()))
			require.ErrorIs(t, put(other, 1, "c", large), ErrTooLarge)
			require.NoError(t, other.Close())
			if again, err := Open(o); closed {
				require.NoError(t, err, "only the index is read")
				require.NoError(t, again.Close())
			} else {
				require.ErrorIs(t, err, ErrTooLarge)
				require.NotErrorIs(t, err, ErrCorrupt)
				require.ErrorContains(t, err, "64-bit")
				require.Equal(t, before, filesIn(t, dir))
			}
			_, err = check.Verify(t.Context(), check.Source{Dir: dir}, nil)
			require.ErrorIs(t, err, ErrTooLarge)

			block.MaxPiece = 1 << 30
			again := mustOpen(t, o)
			value, ok := get(t, again, "b")
			require.True(t, ok)
			require.Equal(t, large, value)
			require.NoError(t, again.Close())
		})
	}
}

// filesIn returns the checksums of what a directory holds, but for LOCK, which names who has it
// open.
func filesIn(t *testing.T, dir string) map[string]uint32 {
	files := map[string]uint32{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = crc32.ChecksumIEEE(text)
	}
	delete(files, layout.LockName)
	return files
}
