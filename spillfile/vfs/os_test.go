package vfs

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFreeSpaceThatIsNotKnown: what a system does not tell is told apart from a full volume.
func TestFreeSpaceThatIsNotKnown(t *testing.T) {
	for name, row := range map[string]struct {
		free, total int64
		err         error
		unknown     bool
	}{
		"known":                           {free: 5, total: 10},
		"full":                            {free: 0, total: 10},
		"a file system without a size":    {free: 0, total: 0, unknown: true},
		"a system that does not tell":     {err: errors.ErrUnsupported, unknown: true},
		"a directory that is not there":   {err: fs.ErrNotExist},
		"a file system that fails to say": {err: io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			system := thisSystem
			system.free = func(string) (int64, int64, error) { return row.free, row.total, row.err }
			free, total, err := (&osFS{system}).Free("somewhere")
			require.Equal(t, row.unknown, errors.Is(err, errors.ErrUnsupported))
			if row.err != nil {
				require.ErrorIs(t, err, row.err)
			}
			if err != nil {
				require.ErrorContains(t, err, "somewhere")
				return
			}
			require.Equal(t, row.free, free)
			require.Equal(t, row.total, total)
		})
	}
}

// TestFreeSpaceOfThisSystem: the one that the tests run on tells, or says that it does not.
func TestFreeSpaceOfThisSystem(t *testing.T) {
	free, total, err := OS.Free(t.TempDir())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	require.Positive(t, total)
	require.GreaterOrEqual(t, free, int64(0))
	require.LessOrEqual(t, free, total)
	_, _, err = OS.Free(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestFreeFiles: inodes, likewise.
func TestFreeFiles(t *testing.T) {
	answer := func(free, total int64, err error) *osFS {
		sys := thisSystem
		sys.files = func(string) (int64, int64, error) { return free, total, err }
		return &osFS{sys}
	}
	free, err := answer(5, 100, nil).FreeFiles("/")
	require.NoError(t, err)
	require.EqualValues(t, 5, free)
	_, err = answer(0, 0, nil).FreeFiles("/")
	require.ErrorIs(t, err, errors.ErrUnsupported, "a file system that makes inodes as it needs them")
	_, err = answer(0, 0, syscall.EIO).FreeFiles("/")
	require.ErrorIs(t, err, syscall.EIO)
	_, err = OS.FreeFiles(filepath.Join(t.TempDir(), "missing"))
	require.Error(t, err)
	if free, err = OS.FreeFiles(t.TempDir()); err == nil {
		require.Positive(t, free)
	}
}

// TestBytesOfBlocks: what systems tell in units of their own, from 32-bit and from signed fields.
func TestBytesOfBlocks(t *testing.T) {
	require.Equal(t, int64(5<<32), bytesOf(uint64(5<<20), uint32(4<<10)), "more than 32 bits")
	require.Equal(t, int64(5<<32), bytesOf(int64(5<<20), int32(4<<10)))
	require.EqualValues(t, 0, bytesOf(int64(-3), uint64(512)), "less than nothing for who is not root")
	require.EqualValues(t, 0, bytesOf(uint64(7), int32(-1)))
	require.EqualValues(t, 0, bytesOf(uint64(0), uint32(512)))
	require.Equal(t, int64(math.MaxInt64), bytesOf(uint64(math.MaxInt64), uint64(1)))
	require.Equal(t, int64(math.MaxInt64), bytesOf(uint64(1<<62), uint64(2)), "a network file system that has no end")
	require.Equal(t, int64(math.MaxInt64), bytesOf(uint64(math.MaxUint64), uint64(math.MaxUint64)))
}
