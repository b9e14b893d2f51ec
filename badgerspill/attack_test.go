package badgerspill

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// In managed mode the watcher once went round and round, from the first idle second on of a database that held something when it
// was opened: it took what the oracle said may be discarded, which is the caller's to say there, for news. It saw no end to that,
// and so not Close either.
func TestManagedWatcherSleepsAndEnds(t *testing.T) {
	f := open(t, func(opt *Options) { opt.managed = true })
	txn := f.NewTransactionAt(1, true)
	require.NoError(t, txn.Set([]byte("k"), []byte("v")))
	require.NoError(t, txn.CommitAt(7, nil))
	require.NoError(t, f.Close())

	f = openAt(t, f.opt.Dir, func(opt *Options) { opt.managed = true })
	require.EqualValues(t, 7, f.MaxVersion())
	eventually(t, "the watcher sleeps", f.watch.asleep.Load)
	require.NoError(t, receive(t, "end of Close", async(f.Close)))
}
