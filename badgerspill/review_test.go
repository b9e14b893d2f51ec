package badgerspill

import (
	"math"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

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

// The spill cannot be read among the versions of a key. What Badger has of that key is older, and
// no answer.
func TestIteratorEndsWhereTheSpillCannotBeRead(t *testing.T) {
	for name, seek := range map[string]func(it *Iterator){
		"rewind": func(it *Iterator) { it.Rewind() },
		"seek":   func(it *Iterator) { it.Seek([]byte("k")) },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			disk := vfstest.NewFaults(f.hooks.FS, nil)
			f.hooks.FS = disk
			f.put("k", "old")
			free := f.occupy(f.share(0.91))
			f.put("k", "new")
			txn := f.NewTransaction(false)
			defer txn.Discard()
			for range 500 { // which txn does not see, and which fill a leaf of the index
				f.put("k", "newer")
			}
			free()
			require.NoError(t, f.log.Seal())
			require.NoError(t, f.log.Sync())
			f.log.NewMerge(spillfile.Position{}, math.MaxInt64).Close() // writes the index

			it := txn.NewIterator(DefaultIteratorOptions)
			var reads atomic.Int64
			disk.Set(func(op, _ string) error { // the second read fails, and all that follow
				if op == "read" && reads.Add(1) > 1 {
					return errTest
				}
				return nil
			})
			defer disk.Set(nil)
			seek(it)
			valid := it.Valid()
			it.Close()
			require.Greater(t, reads.Load(), int64(1), "nothing failed")
			require.False(t, valid, "an old version")
			require.ErrorIs(t, txn.failed(), errTest)
		})
	}
}

// Close gives up a chunk that is begun, and so does a drop: one after the other.
func TestCloseDuringDropWithAChunkBegun(t *testing.T) {
	f := open(t, sorted, func(opt *Options) { opt.KeepSpillOnClose = true })
	f.spillMany(100, 100, 200)
	p, err := f.feed.Replay(f.ctx, 1000)
	require.NoError(t, err)
	require.True(t, p.Midway)
	dropping, goOn := make(chan struct{}), make(chan struct{})
	f.hooks.set(func(op, path string) error {
		if op == "rename" && path == filepath.Join(f.opt.Dir, "spill", "MANIFEST") {
			close(dropping)
			<-goOn
		}
		return nil
	})
	dropped := async(f.DropAll)
	receive(t, "the spill is dropped", dropping)
	f.hooks.clear()
	closed := async(f.Close)
	eventually(t, "replay has stopped", func() bool { return f.replayer.State() == replay.Stopped })
	never(t, 20*time.Millisecond, "Close does not wait for the drop", func() bool { return len(closed) > 0 })
	close(goOn)
	require.NoError(t, receive(t, "end of DropAll", dropped))
	require.NoError(t, receive(t, "end of Close", closed))
}

// A chunk comes in key order, so its versions say little about what of it is in an SSTable. A
// memtable of it that an iterator pins must not stop replay for as long as the iterator is open.
func TestChunkGoesOnBesideAPinnedMemtable(t *testing.T) {
	f := open(t, small, func(opt *Options) { opt.Tuning.SegmentSize, opt.SpillPolicy = 256<<10, Always })
	f.put("first", "1")
	defer pin(t, f.DB)()
	f.spillOne("second", "2")
	f.spillMany(6000, 6000, 900)
	f.drained()
}

// A checkpoint comes after so much of the spill, not after so much of what is left of it: room must
// come free also where nearly all is left out.
func TestCheckpointsCountWhatIsLeftOut(t *testing.T) {
	f := open(t, func(opt *Options) { opt.SpillCapacity, opt.Tuning.ReplayHighWater = 1<<20, 0.95 })
	f.spillMany(700, 7, 900)
	require.Greater(t, f.spill.Usage(), int64(600<<10))
	f.drained()
	require.GreaterOrEqual(t, f.SpillStats().EntriesCoalesced, int64(600))
	require.GreaterOrEqual(t, f.replayer.Stats().Checkpoints, int64(3))
}
