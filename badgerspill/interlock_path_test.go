package badgerspill

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
)

// The interlock is read in another process, whose working directory is another one: where the spill
// is must still be true there.
func TestInterlockOfARelativeDirectoryNamesAnAbsoluteOne(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	require.NoError(t, err)
	db, err := Open(DefaultOptions("db").WithLogger(nil).WithSpillPolicy(Always).WithDrainOnClose(false))
	require.NoError(t, err)
	require.NoError(t, db.Update(func(txn *Txn) error { return txn.Set([]byte("a"), []byte("1")) }))
	require.NoError(t, db.Close())
	text, err := os.ReadFile(filepath.Join("db", marker.InterlockName))
	require.NoError(t, err)
	require.Equal(t, filepath.Join(here, "db", "spill")+"\n", string(text))
	require.NoError(t, os.Rename(filepath.Join("db", "spill"), "away"))
	_, err = Open(DefaultOptions("db").WithLogger(nil))
	require.ErrorIs(t, err, ErrMissingSpill)
	require.ErrorContains(t, err, filepath.Join(here, "db", "spill"))
}
