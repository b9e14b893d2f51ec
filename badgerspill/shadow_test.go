//go:build unix

package badgerspill

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A read-only database with commits in the spill needs a temporary directory, and says so when none
// can be made. What a killed reader has left there is removed by the next one.
func TestReadOnlyNeedsATemporaryDirectory(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(testOptions(dir).WithSpillPolicy(Always).WithKeepSpillOnClose(true).WithMaxSpillAge(time.Hour).WithQuiet(1, time.Hour))
	require.NoError(t, err)
	require.NoError(t, db.Update(func(txn *Txn) error { return txn.Set([]byte("a"), []byte("1")) }))
	require.NoError(t, db.Close())

	missing := filepath.Join(t.TempDir(), "missing")
	t.Setenv("TMPDIR", missing)
	t.Setenv("TMP", missing)
	_, err = Open(testOptions(dir).WithReadOnly(true))
	require.ErrorContains(t, err, "needs a temporary directory")
	require.ErrorContains(t, err, missing)
	require.ErrorContains(t, err, "TMPDIR")

	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp)
	left := filepath.Join(temp, "badgerspill-readonly-of-a-killed-run")
	require.NoError(t, os.Mkdir(left, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(left, "IN-USE"), nil, 0o600))
	db, err = Open(testOptions(dir).WithReadOnly(true))
	require.NoError(t, err)
	require.NoDirExists(t, left)
	require.NoError(t, db.Close())
	entries, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, entries)
}
