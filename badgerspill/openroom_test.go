package badgerspill

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

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
