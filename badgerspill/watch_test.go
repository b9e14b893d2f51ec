package badgerspill

import (
	"fmt"
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

// A large StallThreshold was also how seldom the watcher looked at anything else: Badger kept all
// old versions meanwhile.
func TestWatcherLooksWhateverTheStallThreshold(t *testing.T) {
	f := open(t, func(o *Options) { o.StallThreshold = time.Hour })
	for i := range 3 {
		f.put("k", fmt.Sprint(i))
		_ = f.get("k")
		eventually(t, "Badger may discard what is older", func() bool { return f.discarded.Load() == f.MaxVersion() })
	}
}

// In managed mode the watcher once went round and round, from the first idle second on of a
// database that held something when it was opened. It took what the oracle said may be discarded,
// which is the caller's to say there, for news. It saw no end to that, and so not Close either.
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
