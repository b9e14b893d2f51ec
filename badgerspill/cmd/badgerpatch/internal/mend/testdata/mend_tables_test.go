//go:build linux

package badger

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

func mendBuilder(n int) *table.Builder {
	b := table.NewTableBuilder(table.Options{BlockSize: 4 << 10, TableSize: 64 << 20, Compression: options.None})
	for i := 0; i < n; i++ {
		b.Add(y.KeyWithTs(mendKey(i), 1), y.ValueStruct{Value: mendValue(i)}, 0)
	}
	return b
}

func mendFaults(t *testing.T) int64 {
	var use syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	return use.Minflt
}

// A table of 16 MiB has 4,096 pages. Copied into a mapped file each of them is a page fault.
func TestMendTables(t *testing.T) {
	if mendRace {
		t.Skip("the race detector has pages of its own")
	}
	const n = 16 << 10
	dir := t.TempDir()
	for id := uint64(1); id <= 2; id++ { // the first one warms up
		b := mendBuilder(n)
		before := mendFaults(t)
		tbl, err := table.CreateTable(table.NewFilename(id, dir), b)
		faults := mendFaults(t) - before
		require.NoError(t, err)
		b.Close()
		it := tbl.NewIterator(0)
		count := 0
		for it.Rewind(); it.Valid(); it.Next() {
			require.Equal(t, y.KeyWithTs(mendKey(count), 1), it.Key())
			require.Equal(t, mendValue(count), it.Value().Value)
			count++
		}
		it.Close()
		require.Equal(t, n, count)
		require.NoError(t, tbl.DecrRef())
		if id == 2 {
			require.Less(t, faults, int64(2000))
		}
	}
}

// A table that could not be written leaves no file, whose name would be taken.
func TestMendTablesLeaveNothing(t *testing.T) {
	name := table.NewFilename(1, t.TempDir())
	var was syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: was.Max}))
	b := mendBuilder(4 << 10)
	_, err := table.CreateTable(name, b)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was))
	require.Error(t, err)
	entries, err := os.ReadDir(filepath.Dir(name))
	require.NoError(t, err)
	require.Empty(t, entries)
	tbl, err := table.CreateTable(name, b)
	require.NoError(t, err)
	b.Close()
	require.NoError(t, tbl.DecrRef())
}
