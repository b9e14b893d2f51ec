package badgerspill

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/wbm"
)

// holdPrepare holds the preparation of a turn for the rate at the making of its segment, and
// returns when it is held there. release lets it go on.
func (f *fixture) holdPrepare() (release func()) {
	f.t.Helper()
	held, released := make(chan struct{}, 1), make(chan struct{})
	f.hooks.set(func(op, path string) error {
		if op == "create" && isSegment(path) {
			select {
			case held <- struct{}{}:
			default:
			}
			<-released
		}
		return nil
	})
	f.commitUntil("the preparation", func() bool { return len(held) > 0 })
	return func() { close(released) }
}

// TestTurnForTheRateThatNothingFollows: the commits that asked for the turn have ended before it
// was prepared. The spill is empty then, and plain Badger must be able to open the directory.
func TestTurnForTheRateThatNothingFollows(t *testing.T) {
	f := open(t, spillRate(40))
	release := f.holdPrepare()
	release()
	eventually(t, "the end of the preparation", func() bool { return !f.turning.Load() })
	eventually(t, "the return", func() bool { return f.routerState() == Direct && !interlocked(f.DB) })
	require.Zero(t, f.SpillStats().CommitsSpilled)
	eventually(t, "memory is free", func() bool { return f.log.State().IndexBytes == 0 && f.manager.UsageByKind(wbm.SpillIndex) == 0 })
}

// TestCommitAfterATurnThatNothingFollows: the spill cannot be used any more when the next commit
// comes. It holds nothing, so that is no reason to wait.
func TestCommitAfterATurnThatNothingFollows(t *testing.T) {
	f := open(t, spillRate(40), func(opt *Options) { opt.Tuning.QuietWindow = time.Hour })
	release := f.holdPrepare()
	release()
	eventually(t, "the turn", f.spilling)
	f.room.RetrySpill(f.now() + int64(time.Hour))
	require.NoError(t, receive(t, "the commit", f.putAsync("k", "v")))
	require.Equal(t, "v", f.inBadger("k"))
}

// TestTurnLeavesADropItsInterlock: a turn for the rate that finds commits stopped takes back the
// interlock, but not what a drop has set meanwhile.
func TestTurnLeavesADropItsInterlock(t *testing.T) {
	f := open(t, spillRate(40))
	release := f.holdPrepare()
	announced, locked := make(chan struct{}), false
	hold := f.hooks.Fault()
	f.hooks.set(func(op, path string) error {
		if op == "remove" && path == marker.DropPath(f.opt.Dir) {
			close(announced)
			eventually(t, "the end of the turn", func() bool { return !f.turning.Load() })
			locked = interlocked(f.DB)
		}
		return hold(op, path)
	})
	dropped := async(f.DropAll)
	receive(t, "the drop", announced)
	release()
	require.NoError(t, receive(t, "the end of the drop", dropped))
	require.True(t, locked, "plain Badger could have opened the directory in the middle of the drop")
	eventually(t, "the interlock is gone", func() bool { return !interlocked(f.DB) })
}

// TestNoHandOverAtTheRate: replay by age catches up with commits that come fast, again and again.
// They stay with the spill, and are replayed in chunks.
func TestNoHandOverAtTheRate(t *testing.T) {
	f := open(t, spillRate(40), func(opt *Options) { opt.Tuning.MaxSpillAge = 200 * time.Millisecond })
	f.commitUntil("the turn", f.spilling)
	begun := time.Now()
	f.commitUntil("some replays", func() bool { return f.replayer.Stats().Runs >= 8 })
	require.Greater(t, time.Since(begun), 600*time.Millisecond, "two runs for an age at most: what was written while the first one ended takes a second one")
	require.Equal(t, map[string]int64{"rate": 1}, f.SpillStats().SpillStarts)
	require.Zero(t, f.SpillStats().HandOvers)

	stop := make(chan struct{})
	load := async(func() (err error) {
		for n := 0; err == nil; n++ {
			select {
			case <-stop:
				return nil
			default:
				err = put(f.DB, key(n), "v")
			}
		}
		return err
	})
	f.drained()
	require.EqualValues(t, 1, f.SpillStats().HandOvers)
	close(stop)
	require.NoError(t, receive(t, "the load", load))
}

// TestCrashInATurnForTheRate: a process that is killed at any operation on the spill while it turns
// to it keeps what was acknowledged. Plain Badger has that, or does not open.
func TestCrashInATurnForTheRate(t *testing.T) {
	f := open(t, spillRate(40), func(opt *Options) {
		opt.ValueLogFileSize = 1 << 20 // writers wait for the copies
		opt.Tuning.SegmentSize, opt.KeepSpillOnClose = 4<<10, true
	})
	type copied struct {
		step, dir string
		acked     int
	}
	var mu sync.Mutex // the background and the writer's goroutine operate
	var copies []copied
	var failure error
	var acked atomic.Int64
	f.hooks.set(func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if len(copies) < 40 {
			c := copied{op + " " + filepath.Base(path), filepath.Join(t.TempDir(), "copy"), int(acked.Load())}
			failure = errors.Join(failure, copyTree(f.opt.Dir, c.dir))
			copies = append(copies, c)
		}
		return nil
	})
	key := func(i int) string { return fmt.Sprintf("key%05d", i) }
	n := 0
	for spilled := 0; spilled <= 30; n++ { // the copies take what they take
		f.put(key(n), incompressible(300, n))
		acked.Store(int64(n + 1))
		if f.spilling() {
			spilled++
		}
	}
	f.hooks.clear()
	mu.Lock()
	defer mu.Unlock()
	require.NoError(t, failure)
	var steps []string
	refused := 0
	for _, c := range copies {
		steps = append(steps, c.step)
		want := map[string]string{}
		for i := range c.acked {
			want[key(i)] = incompressible(300, i)
		}
		if err := plainCheck(withDir(f.opt, c.dir), want); err != nil {
			require.ErrorContains(t, err, "UNREPLAYED-SPILL", c.step)
			refused++
		}
		g, err := tryOpen(t, c.dir, func(opt *Options) { *opt = withDir(f.opt, c.dir) })
		require.NoError(t, err, c.step)
		for k, v := range want {
			require.Equal(t, v, g.get(k), "%s: %s", c.step, k)
		}
		require.NoError(t, g.Close(), c.step)
	}
	require.Contains(t, steps, "create "+marker.InterlockName)
	require.Contains(t, steps, "write 0000000001.seg")
	require.Positive(t, refused)
	require.Less(t, refused, len(copies))
}

// The real engine: writers of few keys run until the router turns to the spill for memory. Every
// key must then read as the last commit that was acknowledged; answers of Badger that come out of
// order made it older.
func TestTurnsUnderLoadLoseNothing(t *testing.T) {
	bounded(t)
	db, err := Open(testOptions(t.TempDir()))
	require.NoError(t, err)
	defer db.Close()
	f := &fixture{DB: db, t: t}
	const keys, writers, turns = 8, 160, 20
	for turn := range turns {
		var acked [keys]atomic.Uint64
		var total atomic.Int64
		var wg kit.WaitGroup
		for w := range writers {
			wg.Go(func() {
				k := w % keys
				for f.routerState() == Direct {
					ts, err := putTs(db, key(k))
					if err != nil {
						t.Error(err)
						return
					}
					for old := acked[k].Load(); old < ts && !acked[k].CompareAndSwap(old, ts); {
						old = acked[k].Load()
					}
					total.Add(1)
				}
			})
		}
		eventually(t, "the writers are under way", func() bool { return total.Load() > 2*writers })
		free := f.occupy(f.share(0.95))
		wg.Wait()
		free()
		for k := range keys {
			require.NoError(t, db.View(func(txn *Txn) error {
				item, err := txn.Get([]byte(key(k)))
				if err == nil {
					require.GreaterOrEqual(t, item.Version(), acked[k].Load(), "turn %d, key %d", turn, k)
				}
				return err
			}))
		}
		require.NoError(t, db.Drain(t.Context()))
	}
}

// putTs commits one key and returns its timestamp.
func putTs(db *DB, key string) (uint64, error) {
	txn := db.NewTransaction(true)
	defer txn.Discard()
	if err := txn.Set([]byte(key), []byte("v")); err != nil {
		return 0, err
	}
	c, err := db.submit(txn)
	if err != nil {
		return 0, err
	}
	return c.Ts, db.await(c, nil)
}
