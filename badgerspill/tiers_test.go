package badgerspill

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/wbm"
)

// These tests follow the table of docs/design.md, line by line.

// TestFlushTierFlushes: Badger flushes nothing by a call, so memtables are sized such that the soft
// limit cannot be reached without a sealed one.
func TestFlushTierFlushes(t *testing.T) {
	for _, memtables := range []int{1, 2, 4} {
		t.Run(fmt.Sprintf("%d memtables", memtables), func(t *testing.T) {
			f := open(t, small, func(opt *Options) { opt.NumMemtables, opt.MemoryLimit = memtables, 3<<20 })
			require.LessOrEqual(t, (f.DB.opt.MemTableSize-1)*int64(memtables+1), f.manager.Limit())
			var highest wbm.Tier
			// 2.6 MB at once, faster than any flush: above the soft limit, and below the spill
			// limit.
			const commits = 28
			acks := make(chan error, commits)
			var txns []*Txn
			for i := range commits {
				txns = append(txns, f.NewTransaction(true))
				require.NoError(t, some(txns[i], fmt.Sprint(i), 96<<10))
			}
			for _, txn := range txns {
				txn.CommitWith(func(err error) { acks <- err })
				highest = max(highest, f.manager.Tier())
			}
			for range commits {
				require.NoError(t, receive(t, "acknowledgement", acks))
			}
			require.Equal(t, wbm.Flush, highest)
			// No more writes from here on.
			eventually(t, "an SSTable", func() bool { return len(f.inner.Tables()) > 0 })
			eventually(t, "usage below the soft limit", func() bool { return f.manager.Usage() < f.manager.SoftLimit() })
			require.Zero(t, f.manager.Leaks())
		})
	}
}

// What Badger has answered late counts for a memtable that was not flushed with it. It was flushed
// only when the next commit came, and asked for memory.
func TestMemoryComesBackWithoutAnotherCommit(t *testing.T) {
	f := open(t, small)
	bytes := f.manager.SoftLimit() + 1
	f.account.Force(wbm.InFlight, bytes) // asks for it, in vain
	f.watch.wake()
	eventually(t, "a look", func() bool { return !f.memtables.ReliefAsked() })
	f.memtables.Answered(bytes, f.MaxVersion())
	f.watch.wake()
	eventually(t, "usage below the soft limit", func() bool { return f.manager.Usage() < f.manager.SoftLimit() })
}

func TestReplayPausesAtTheSoftLimit(t *testing.T) {
	f := open(t, eager)
	free := f.occupy(f.manager.SpillLimit() - 1)
	f.put("k", "v")
	require.Equal(t, Spilling, f.routerState())
	eventually(t, "a run is paused", func() bool { return f.replayer.State() == replay.Paused })
	require.Zero(t, f.stub.loads())
	free()
	eventually(t, "hand-over", func() bool { return f.routerState() == Direct })

	// From exactly the soft limit on.
	f.occupy(f.manager.SpillLimit() - 1)
	f.put("k2", "v")
	loads := f.stub.loads()
	eventually(t, "a run is paused again", func() bool { return f.replayer.State() == replay.Paused })
	stay := f.manager.SoftLimit() - f.account.UsageByKind(wbm.SpillIndex) - f.account.UsageByKind(wbm.InFlight)
	over := f.account.UsageByKind(wbm.Memtable) - stay
	f.account.Release(wbm.Memtable, over)
	require.Equal(t, f.manager.SoftLimit(), f.manager.Usage())
	never(t, 80*time.Millisecond, "replayed at the soft limit", func() bool { return f.stub.loads() > loads })
	f.account.Release(wbm.Memtable, 1)
	eventually(t, "replay resumes below the soft limit", func() bool { return f.stub.loads() > loads })
	eventually(t, "hand-over", func() bool { return f.routerState() == Direct })
	require.Equal(t, "v", f.inBadger("k2"))
}

func TestSpillTierBoundary(t *testing.T) {
	cost := memoryCost(len("k"), 1, 1<<20)
	for _, c := range []struct {
		name  string
		over  int64
		state RouterState
	}{
		{"the commit just fits below the spill limit", 0, Direct},
		{"one byte more", 1, Spilling},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := open(t)
			f.occupy(f.manager.SpillLimit() - cost + c.over)
			f.put("k", "v")
			require.Equal(t, c.state, f.routerState())
			require.Equal(t, "v", f.get("k"))
			if c.state == Direct {
				require.Equal(t, "v", f.inBadger("k"))
				require.Equal(t, "direct", f.SpillStats().State)
				require.Empty(t, segments(t, f.opt.Dir))
				require.False(t, interlocked(f.DB))
				require.Empty(t, f.events.spillBegin)
				return
			}
			require.Equal(t, absent, f.inBadger("k"))
			require.Zero(t, f.stub.sends())
			require.Equal(t, SpillBeginInfo{Cause: CauseMemory}, receive(t, "SpillBegin", f.events.spillBegin))
			require.Equal(t, map[string]int64{"memory": 1}, f.SpillStats().SpillStarts)
			require.EqualValues(t, 1, f.SpillStats().CommitsSpilled)
		})
	}
}

func TestBlockTier(t *testing.T) {
	blocked := func(t *testing.T, timeout time.Duration) *fixture {
		f := open(t, func(opt *Options) { opt.BlockTimeout = timeout })
		f.put("before", "v")
		return f
	}
	nothingWritten := func(t *testing.T, f *fixture, nextTs uint64) {
		require.EqualValues(t, 1, f.MaxVersion())
		now, _ := f.pipe.Progress()
		require.Equal(t, nextTs, now)
		require.Equal(t, absent, f.get("k"))
		require.Zero(t, f.log.State().Queued)
		require.Zero(t, f.SpillStats().SpillBytes)
		require.Zero(t, f.spill.Usage())
	}
	t.Run("positive timeout", func(t *testing.T) {
		f := blocked(t, 50*time.Millisecond)
		free := f.occupy(f.manager.Limit())
		begin := time.Now()
		require.ErrorIs(t, put(f.DB, "k", "v"), ErrWriteBlocked)
		require.GreaterOrEqual(t, time.Since(begin), 50*time.Millisecond)
		nothingWritten(t, f, 2)
		require.EqualValues(t, 1, f.SpillStats().CommitsBlocked)
		require.EqualValues(t, 1, f.SpillStats().BlockTimeouts)
		free()
		f.put("k", "later")
		require.Equal(t, "later", f.get("k"))
	})
	t.Run("negative timeout", func(t *testing.T) {
		f := blocked(t, -1)
		f.occupy(f.manager.Limit())
		require.ErrorIs(t, put(f.DB, "k", "v"), ErrWriteBlocked)
		require.Zero(t, f.SpillStats().CommitsBlocked, "it must not wait")
		nothingWritten(t, f, 2)
	})
	t.Run("released when room comes", func(t *testing.T) {
		f := blocked(t, 0)
		free := f.occupy(f.manager.Limit())
		done := f.putAsync("k", "v")
		eventually(t, "the writer parks", f.parked)
		nothingWritten(t, f, 2)
		never(t, 50*time.Millisecond, "written without room", func() bool { return len(done) > 0 })
		free()
		require.NoError(t, receive(t, "the writer", done))
		require.Equal(t, "v", f.get("k"))
	})
	t.Run("close ends the wait", func(t *testing.T) {
		f := blocked(t, 0)
		f.occupy(f.manager.Limit())
		done := f.putAsync("k", "v")
		eventually(t, "the writer parks", f.parked)
		require.NoError(t, receive(t, "Close", async(f.Close)))
		require.ErrorIs(t, receive(t, "the writer", done), ErrBlockedWrites)
	})
	t.Run("spill full while memory still has room for replay only", func(t *testing.T) {
		f := open(t, func(opt *Options) { opt.SpillCapacity, opt.BlockTimeout = 64<<10, 50*time.Millisecond })
		f.occupy(f.share(0.95))
		gate := make(chan struct{})
		f.stub.set(func() { f.stub.mu.onLoad = func(int, []entry) error { <-gate; return nil } })
		err, n := error(nil), 0
		for ; err == nil; n++ {
			require.Less(t, n, 100, "the spill never fills up")
			err = put(f.DB, key(n), incompressible(4<<10, n))
		}
		require.ErrorIs(t, err, ErrWriteBlocked)
		require.Greater(t, n, 10)
		require.Equal(t, absent, f.get(key(n-1)))
		require.EqualValues(t, n-1, f.MaxVersion())
		close(gate)
		// The replayer runs Badger beyond the soft and the spill limit to make room.
		eventually(t, "room in the spill", func() bool { return put(f.DB, "later", "v") == nil })
		require.GreaterOrEqual(t, f.manager.Usage(), f.manager.SpillLimit())
		require.Equal(t, "v", f.get("later"))
	})
}

// TestSpillFullIsEmptiedUpToTheLimit: replay that pauses at the soft limit must not do so when the
// spill is full.
func TestSpillFullIsEmptiedUpToTheLimit(t *testing.T) {
	f := open(t, func(opt *Options) { opt.SpillCapacity, opt.Tuning.ReplayHighWater = 64<<10, 1 })
	f.occupy(f.share(0.95))
	done := async(func() error {
		for i := range 40 {
			if err := put(f.DB, key(i), incompressible(4<<10, i)); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, receive(t, "160 KiB through a spill of 64 KiB", done))
	require.Positive(t, f.stub.loads())
	require.Zero(t, f.manager.Leaks())
	for i := range 40 {
		require.Equal(t, incompressible(4<<10, i), f.get(key(i)))
	}
}

// TestSpillUsageFallsWhenFilesGo: a spill that counts as full after its files are gone would turn
// the next burst away.
func TestSpillUsageFallsWhenFilesGo(t *testing.T) {
	t.Run("removed by the hand-over", func(t *testing.T) {
		f := open(t)
		f.spillOne("k", incompressible(32<<10, 1))
		f.drained()
		f.direct()
		eventually(t, "the spill counts as empty", func() bool { return f.spill.Usage() == 0 })
	})
	t.Run("held by a reader", func(t *testing.T) {
		f := open(t, func(opt *Options) { opt.SpillCapacity = 2 << 20 }) // one segment takes all
		free := f.occupy(f.share(0.95))
		for i := range 13 {
			f.put(key(i), incompressible(4<<10, i))
		}
		free()
		txn := f.NewTransaction(false)
		_, err := read(txn, key(0))
		require.NoError(t, err)
		f.drained()
		require.Equal(t, Direct, f.routerState())
		txn.Discard()
		f.direct()
		eventually(t, "the log is gone from the disk", func() bool { return f.log.State().DiskBytes == 0 })
		eventually(t, "the spill counts as empty", func() bool { return f.spill.Usage() == 0 })
	})
}
