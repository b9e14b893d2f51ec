package badgerspill

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// In managed mode an idle watcher of a database that had been used before never went to sleep: it
// took a core, and Close waited for it for ever.
func TestWatcherSleepsInManagedMode(t *testing.T) {
	f := open(t, func(opt *Options) { opt.managed = true })
	txn := f.NewTransactionAt(1, true)
	require.NoError(t, txn.Set([]byte("k"), []byte("v")))
	require.NoError(t, txn.CommitAt(7, nil))
	require.NoError(t, f.Close())
	g := openAt(t, f.opt.Dir, func(opt *Options) { opt.managed = true })
	eventually(t, "the watcher sleeps", g.watch.asleep.Load)
	never(t, 50*time.Millisecond, "the watcher is awake", func() bool { return !g.watch.asleep.Load() })
	require.NoError(t, receive(t, "end of Close", async(g.Close)))
}
