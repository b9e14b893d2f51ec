//go:build go1.25

package badgerspill

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVerifyInTheBackgroundPausesBetweenLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var looks atomic.Int64
		go again(ctx, time.Minute, func() { looks.Add(1); time.Sleep(10 * time.Second) })
		time.Sleep(59 * time.Second)
		synctest.Wait()
		require.Zero(t, looks.Load())
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.EqualValues(t, 9, looks.Load())
		cancel()
	})
}

// What the background finds is told, with the file.
func TestVerifyInTheBackgroundTells(t *testing.T) {
	dir := t.TempDir()
	told := make(chan BackgroundErrorInfo, 8)
	db, err := Open(testOptions(dir).WithSpillPolicy(Always).WithKeepSpillOnClose(true).WithMaxSpillAge(time.Hour).WithQuiet(1, time.Hour).
		WithSpillVerifyRate(1 << 30).WithEventListener(&EventListener{BackgroundError: func(e BackgroundErrorInfo) { told <- e }}))
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.Update(func(txn *Txn) error { return txn.Set([]byte("a"), make([]byte, 500)) }))
	require.NoError(t, db.log.Seal())
	path := damageSegment(t, dir, 1, 250)
	db.verifyAndTell(spillVerifyAgain)
	info := <-told
	require.ErrorIs(t, info.Err, ErrCorrupt)
	require.ErrorContains(t, info.Err, filepath.Base(path))
}
