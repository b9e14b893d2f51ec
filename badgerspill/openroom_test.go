package badgerspill

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
)

// TestOpenWithDamagedTables is an error, over which plain Badger ends the process.
func TestOpenWithDamagedTables(t *testing.T) {
	f := open(t)
	f.put("k", "v")
	require.NoError(t, f.Close())
	tables, err := filepath.Glob(filepath.Join(f.opt.Dir, "*.sst"))
	require.NoError(t, err)
	require.Len(t, tables, 1)
	whole, err := os.ReadFile(tables[0])
	require.NoError(t, err)
	for name, damaged := range map[string][]byte{
		"cut short": whole[:len(whole)-1],
		"zeros":     make([]byte, len(whole)),
		"a tenth":   whole[:len(whole)/10],
	} {
		require.NoError(t, os.WriteFile(tables[0], damaged, 0o600))
		for _, readOnly := range []bool{false, true} {
			db, err := Open(DefaultOptions(f.opt.Dir).WithLogger(nil).WithReadOnly(readOnly))
			require.ErrorContains(t, err, tables[0], name)
			require.ErrorContains(t, err, "restore", name)
			require.Nil(t, db)
		}
	}
	require.NoError(t, os.WriteFile(tables[0], whole, 0o600))
	require.Equal(t, "v", openAt(t, f.opt.Dir).get("k"))
}

// TestOpenWithDamagedTablesKeepsTheSpill: such an Open leaves the interlock, so plain Badger stays
// out, and what only the spill holds is there when the table is.
func TestOpenWithDamagedTablesKeepsTheSpill(t *testing.T) {
	f := open(t)
	f.put("old", "v")
	require.NoError(t, f.Close())
	f = openAt(t, f.opt.Dir, func(opt *Options) { opt.SpillPolicy, opt.KeepSpillOnClose = Always, true })
	f.put("spilled", "v")
	require.NoError(t, f.Close())
	tables, err := filepath.Glob(filepath.Join(f.opt.Dir, "*.sst"))
	require.NoError(t, err)
	require.NotEmpty(t, tables)
	whole, err := os.ReadFile(tables[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(tables[0], whole[:len(whole)-1], 0o600))
	_, err = Open(DefaultOptions(f.opt.Dir).WithLogger(nil))
	require.ErrorContains(t, err, tables[0])
	require.NoError(t, os.WriteFile(tables[0], whole, 0o600))
	_, err = badger.Open(badger.DefaultOptions(f.opt.Dir).WithLogger(nil))
	require.Error(t, err, "the interlock is in its way")
	f = openAt(t, f.opt.Dir)
	require.Equal(t, "v", f.get("old"))
	require.Equal(t, "v", f.get("spilled"))
}

// TestOpenWithoutItsFiles is an error. Badger ends the process if it cannot open its statistics of
// the value log.
func TestOpenWithoutItsFiles(t *testing.T) {
	f := open(t)
	f.put("k", "v")
	require.NoError(t, f.Close())
	path := filepath.Join(f.opt.ValueDir, "DISCARD")
	require.NoError(t, os.Rename(path, path+".aside"))
	require.NoError(t, os.Mkdir(path, 0o700))
	db, err := Open(DefaultOptions(f.opt.Dir).WithLogger(nil))
	require.ErrorContains(t, err, path)
	require.Nil(t, db)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Rename(path+".aside", path))

	var short atomic.Bool
	short.Store(true)
	opt := DefaultOptions(f.opt.Dir).WithLogger(nil)
	few(&short)(&opt)
	_, err = Open(opt)
	require.ErrorContains(t, err, "file descriptors")
	short.Store(false)
	require.Equal(t, "v", openAt(t, f.opt.Dir).get("k"))
}
