package badgerspill

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
)

func damageSegment(t *testing.T, dir string, id int, at int64) string {
	t.Helper()
	path := filepath.Join(dir, "spill", fmt.Sprintf("%010d.seg", id))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	require.NoError(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b[:], at)
	require.NoError(t, err)
	return path
}

// VerifySpill names file and offset of damage in an open database, and disturbs nobody.
func TestVerifySpill(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(testOptions(dir).WithSpillPolicy(Always).WithKeepSpillOnClose(true).WithMaxSpillAge(time.Hour).WithQuiet(1, time.Hour))
	require.NoError(t, err)
	put := func(i int) {
		require.NoError(t, db.Update(func(txn *Txn) error { return txn.Set(fmt.Append(nil, "key", i), make([]byte, 200)) }))
	}
	require.NoError(t, db.VerifySpill(context.Background()), "there is nothing")
	for i := range 50 {
		put(i)
	}
	require.NoError(t, db.VerifySpill(context.Background()))
	path := damageSegment(t, dir, 1, 300)
	err = db.VerifySpill(context.Background())
	require.ErrorIs(t, err, ErrCorrupt)
	var c *spillfile.CorruptError
	require.ErrorAs(t, err, &c)
	require.Equal(t, path, c.File)
	require.Positive(t, c.Offset)
	put(51)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, db.VerifySpill(ctx), context.Canceled)
	require.NoError(t, db.Close())
	require.ErrorIs(t, db.VerifySpill(context.Background()), ErrDBClosed)
}
