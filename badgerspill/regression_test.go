package badgerspill

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/wbm"
)

// Badger answered the later of two commits first. The turn to the spill hedged the earlier one
// alone, which then hid the later one: its acknowledged value was gone.
func TestAnswersOutOfOrderAreHedged(t *testing.T) {
	f := open(t)
	f.stub.holdAnswers()
	first := f.putAsync("k", "old")
	eventually(t, "the first is in Badger", func() bool { return f.stub.waiting() == 1 })
	second := f.putAsync("k", "new")
	eventually(t, "the second is in Badger", func() bool { return f.stub.waiting() == 2 })
	f.stub.answerOne(1)
	f.spillOne("x", "y")
	require.NoError(t, receive(t, "first", first))
	require.NoError(t, receive(t, "second", second))
	f.stub.release()
	require.Equal(t, "new", f.inBadger("k"))
	require.Equal(t, "new", f.get("k"))
}

// smallGroups makes a group of the log so small that two hedges of half do not fit into one.
func smallGroups(opt *Options) { opt.Tuning.SegmentSize = 64 << 10 }

const half = 40 << 10

// hedgeDelete stalls Badger with k, x, each half of a group, and the delete of k in flight, and
// turns to the spill. hook runs before each write to a segment but the first two: the header, and
// the first group of the hedges. It returns when Badger has answered and everybody is acknowledged.
func hedgeDelete(t *testing.T, f *fixture, hook func() error) {
	t.Helper()
	f.stub.hold()
	var writes atomic.Int32
	f.hooks.set(func(op, path string) error {
		if op == "write" && isSegment(path) && writes.Add(1) > 2 {
			return hook()
		}
		return nil
	})
	var acks []<-chan error
	for i, commit := range []func() error{
		func() error { return put(f.DB, "k", incompressible(half, 1)) },
		func() error { return put(f.DB, "x", incompressible(half, 2)) },
		func() error { return f.Update(func(txn *Txn) error { return txn.Delete([]byte("k")) }) },
	} {
		acks = append(acks, async(commit))
		eventually(t, "it is in flight", func() bool { return f.stub.waiting() == i+1 })
	}
	turned := async(func() error { return f.pipe.TurnToSpill(pipeline.CauseStall) })
	t.Cleanup(func() { require.NoError(t, receive(t, "the end of the turn", turned)) })
	require.NoError(t, receive(t, "k, by the spill", acks[0]))
	f.stub.release()
	require.NoError(t, receive(t, "x", acks[1]))
	require.NoError(t, receive(t, "the delete", acks[2]))
}

// The hedges of a stall were written in groups. Between two of them, or when the second failed,
// Badger had acknowledged what the first group in the spill hid: a deleted key was back.
func TestHedgesAreWrittenAsOne(t *testing.T) {
	t.Run("later writes take long", func(t *testing.T) {
		f := open(t, smallGroups)
		gate := make(chan struct{})
		t.Cleanup(func() { close(gate) })
		hedgeDelete(t, f, func() error { <-gate; return nil })
		require.Equal(t, absent, f.get("k"))
	})
	t.Run("later writes fail", func(t *testing.T) {
		f := open(t, smallGroups)
		hedgeDelete(t, f, func() error { return errTest })
		require.Equal(t, absent, f.get("k"))
	})
}

// With half of the hedges in the spill Badger compacted the delete away, and then the replay
// brought the key back, for good.
func TestHedgedDeleteStaysAfterCompactionAndReplay(t *testing.T) {
	f := open(t, smallGroups, small, func(opt *Options) { opt.NumLevelZeroTables = 1 })
	gate := make(chan struct{})
	release := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	// the replayer comes late
	f.stub.set(func() { f.stub.mu.onLoad = func(int, []entry) error { <-gate; return nil } })
	hedgeDelete(t, f, func() error { return errTest })
	eventually(t, "nothing is left to be written", func() bool { return f.log.State().Queued == 0 })
	f.hooks.clear()
	_ = f.get("x") // Badger may discard what is older
	for range 2 {
		require.NoError(t, f.stub.engine.Seal())
		eventually(t, "Badger has flushed", func() bool {
			numbers, err := host.MemNumbers(f.opt.Dir)
			return err == nil && len(numbers) == 1
		})
		f.watch.hurry()
		eventually(t, "Badger knows what it may discard", func() bool { return f.discarded.Load() == f.MaxVersion() })
		require.NoError(t, f.inner.Flatten(1))
	}
	require.Zero(t, f.versions("k"), "the delete is compacted away")
	release()
	f.drained()
	require.Equal(t, Direct, f.routerState())
	require.Equal(t, absent, f.get("k"))
}

// versions counts what Badger holds of a key.
func (f *fixture) versions(key string) (n int) {
	txn := f.inner.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	opt := badger.DefaultIteratorOptions
	opt.AllVersions = true
	it := txn.NewKeyIterator([]byte(key), opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		n++
	}
	return n
}

// A commit had its place in the log's queue while a checkpoint dropped what was replayed, so the
// active segment stayed. The append failed, Badger took the commit, and the segment hid it: readers
// saw the value before.
func TestReplayedSegmentHidesNoDirectCommit(t *testing.T) {
	f := open(t)
	f.spillOne("k", "old")
	_, err := f.feed.Replay(t.Context(), 1<<20)
	require.NoError(t, err)
	txn := f.NewTransaction(true)
	defer txn.Discard()
	require.NoError(t, txn.Set([]byte("k"), []byte("new")))
	c, err := f.submit(txn) // what CommitWith does before it returns
	require.NoError(t, err)
	require.NoError(t, f.feed.Checkpoint(t.Context()))
	f.hooks.set(failSegmentWrites)
	require.NoError(t, f.await(c, nil))
	f.hooks.clear()
	require.Equal(t, "new", f.inBadger("k"))
	require.Equal(t, "new", f.get("k"))
	f.drained()
	require.Equal(t, "new", f.get("k"))
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

// The removal of the interlock failed once. Nobody tried again, and plain Badger stayed locked out
// of a directory whose spill was empty.
func TestInterlockIsRemovedAtTheNextTry(t *testing.T) {
	f := open(t)
	f.spillOne("k", "v")
	var tries atomic.Int32
	f.hooks.set(func(op, path string) error {
		if op == "remove" && strings.HasSuffix(path, marker.InterlockName) && tries.Add(1) == 1 {
			return errTest
		}
		return nil
	})
	f.drained()
	f.drained()
	require.Equal(t, Direct, f.routerState())
	eventually(t, "the interlock is gone", func() bool { return !interlocked(f.DB) })
	require.Greater(t, tries.Load(), int32(1))
}

// Managed, timestamps in any order, everything to the spill: the next Open took what it held for
// the work of plain Badger (ErrForeignWrites) and refused, for good.
func TestManagedAlwaysTakesTimestampsInAnyOrder(t *testing.T) {
	putAt := func(t *testing.T, db *DB, key, value string, ts uint64) {
		txn := db.NewTransactionAt(ts, true)
		defer txn.Discard()
		require.NoError(t, txn.Set([]byte(key), []byte(value)))
		require.NoError(t, txn.CommitAt(ts, nil))
	}
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed %v", killed), func(t *testing.T) {
			bounded(t)
			opt := testOptions(t.TempDir())
			opt.SpillPolicy, opt.KeepSpillOnClose = Always, true
			db, err := OpenManaged(opt)
			require.NoError(t, err)
			defer db.Close()
			putAt(t, db, "a", "1", 100)
			require.NoError(t, db.Drain(t.Context()))
			putAt(t, db, "b", "2", 50)
			if killed {
				opt = withDir(opt, crash(t, opt.Dir))
			} else {
				require.NoError(t, db.Close())
			}
			again, err := OpenManaged(opt)
			require.NoError(t, err)
			defer again.Close()
			txn := again.NewTransactionAt(math.MaxUint64, false)
			defer txn.Discard()
			for k, want := range map[string]string{"a": "1", "b": "2"} {
				got, err := read(txn, k)
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
		})
	}
}

// Many databases share a budget, and each holds less than was worth a seal: nothing was ever freed,
// and all writers hung.
func TestManySmallHoldersOfOneBudget(t *testing.T) {
	bounded(t)
	m, err := wbm.New(wbm.Options{Limit: 512 << 10})
	require.NoError(t, err)
	dbs := make([]*DB, 20)
	defer func() {
		var wg kit.WaitGroup
		for _, db := range dbs {
			if db != nil {
				wg.Go(func() { _ = db.Close() })
			}
		}
		wg.Wait()
	}()
	for i := range dbs {
		opt := testOptions(t.TempDir())
		small(&opt)
		noSpill(&opt)
		opt.NumCompactors, opt.ValueLogFileSize, opt.BlockCacheSize = 0, 1<<20, 1<<20
		opt.WriteBufferManager = m
		dbs[i], err = Open(opt)
		require.NoError(t, err)
	}
	value := incompressible(1000, 1)
	var written int64
	for round := 0; written < 2*m.Limit(); round++ {
		for i, db := range dbs {
			what := fmt.Sprintf("commit to database %d in round %d: %d of %d bytes used", i, round, m.Usage(), m.Limit())
			require.NoError(t, receive(t, what, async(func() error { return put(db, key(round), value) })))
			written += int64(len(value))
		}
	}
}

// fillIndex spills commits of long keys until the index takes so many bytes.
func fillIndex(t *testing.T, f *fixture, bytes int64) {
	t.Helper()
	f.spillOne("first", "x")
	for i := 0; f.account.UsageByKind(wbm.SpillIndex) < bytes; i++ {
		wb := f.NewWriteBatch()
		for j := range 200 {
			require.NoError(t, wb.Set(fmt.Appendf(nil, "%0500d/%d", i, j), []byte("v")))
		}
		require.NoError(t, wb.Flush())
	}
}

// The index of the spill alone was above the soft limit, at which replay pauses. Only replay frees
// it: nothing did, however quiet it was.
func TestReplayWithAnIndexAboveTheSoftLimit(t *testing.T) {
	f := open(t, small, eager, func(o *Options) { o.Tuning.SoftLimitRatio, o.NumMemtables = 0.3, 4 })
	f.stub.set(func() { f.stub.mu.onLoad = func(int, []entry) error { return errTest } })
	f.hooks.set(func(op, path string) error { // its files cannot be written
		if op == "write" && strings.HasSuffix(path, ".idx.tmp") {
			return errTest
		}
		return nil
	})
	fillIndex(t, f, f.manager.SoftLimit()+1000)
	f.stub.set(func() { f.stub.mu.onLoad = nil })
	f.wakeReplay()
	eventually(t, "the spill is replayed", f.log.Empty)
}

// Opened again with a budget that is smaller than the index of what it finds, the database neither
// replayed nor took commits.
func TestReopenWithABudgetBelowTheIndex(t *testing.T) {
	f := open(t, func(o *Options) { o.ValueThreshold, o.KeepSpillOnClose = 1<<10, true })
	fillIndex(t, f, 5<<19)
	require.NoError(t, f.Close())
	g := openAt(t, f.opt.Dir, small, eager)
	require.Greater(t, int64(5<<19), g.manager.Limit())
	t.Cleanup(func() { g.DB.opt.KeepSpillOnClose = true }) // a failure must not hang here
	g.drained()
	require.NoError(t, receive(t, "a commit", g.putAsync("new", "v")))
	require.Equal(t, "v", g.get("new"))
}

// Replay filled Badger's log, which is mapped, ahead of what the spill had synced. A power cut left
// there more than in the spill, and Open refused with ErrForeignWrites, for good.
func TestSpillIsSyncedBeforeBadgerGetsIt(t *testing.T) {
	f := open(t)
	f.spillOne("a", "1")
	paths := segments(t, f.opt.Dir)
	require.Len(t, paths, 1)
	before, err := os.Stat(paths[0])
	require.NoError(t, err)
	f.put("b", "2")
	_, err = f.feed.Replay(t.Context(), 1<<20)
	require.NoError(t, err)
	dir := crash(t, f.opt.Dir)
	// The pages that nobody has synced were never written.
	torn := filepath.Join(dir, "spill", filepath.Base(paths[0]))
	require.NoError(t, os.Truncate(torn, max(before.Size(), f.log.State().Synced.Offset)))
	g, err := tryOpen(t, dir)
	require.NoError(t, err)
	require.Equal(t, "1", g.get("a"))
	require.Equal(t, "2", g.get("b"))
}

// The rest that a hand-over loads carries no transaction markers, and Badger had not synced it when
// the spill was dropped: a power cut left half of a transaction. A direct commit, as a control, is
// whole or gone.
func TestTransactionStaysWholeAfterHandOver(t *testing.T) {
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("direct %v", direct), func(t *testing.T) {
			f := open(t)
			unsynced := direct
			f.stub.set(func() {
				f.stub.mu.afterLoad = func(int) { unsynced = true }
				f.stub.mu.onSync = func() error { unsynced = false; return nil }
			})
			if !direct {
				f.spillOne("x", "y")
			}
			require.NoError(t, f.Update(func(txn *Txn) error {
				_ = txn.Set([]byte("half/1"), []byte("first-value"))
				return txn.Set([]byte("half/2"), []byte("second-value"))
			}))
			if !direct {
				eventually(t, "the hand-over", func() bool {
					done, err := f.feed.HandOver(t.Context())
					require.NoError(t, err)
					return done
				})
				require.Equal(t, "second-value", f.inBadger("half/2"))
			}
			dir := crash(t, f.opt.Dir)
			cut := unsynced && cutMemtables(t, dir, "second-value")
			require.Equal(t, direct, cut)
			g := openAt(t, dir)
			require.Equal(t, direct, g.get("half/1") == absent)
			require.Equal(t, direct, g.get("half/2") == absent)
		})
	}
}

// cutMemtables zeroes the logs of Badger's memtables from where mark is: pages that were not
// written.
func cutMemtables(t *testing.T, dir, mark string) (cut bool) {
	t.Helper()
	numbers, err := host.MemNumbers(dir)
	require.NoError(t, err)
	for _, n := range numbers {
		log, err := os.ReadFile(host.MemPath(dir, n))
		require.NoError(t, err)
		if at := bytes.LastIndex(log, []byte(mark)); at >= 0 {
			clear(log[at:])
			require.NoError(t, os.WriteFile(host.MemPath(dir, n), log, 0o600))
			cut = true
		}
	}
	return cut
}

// The queue to Badger was full when the turn to the spill failed at its first append. Commits that
// had come meanwhile got the error of the spill's disk, though Badger was merely slow.
func TestQueueFullAndFirstAppendFails(t *testing.T) {
	f := open(t)
	f.stub.hold()
	var acks []<-chan error
	for i := range pipeline.MaxInFlight {
		acks = append(acks, f.putAsync(key(i), "v"))
	}
	eventually(t, "the queue is full", func() bool { return f.stub.waiting() == pipeline.MaxInFlight })
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	f.hooks.set(func(op, path string) error {
		if op == "write" && isSegment(path) {
			<-gate
			return errTest
		}
		return nil
	})
	acks = append(acks, f.putAsync("turns", "v")) // it appends the hedges before it has a place
	eventually(t, "the turn", func() bool { return f.routerState() == Spilling })
	acks = append(acks, f.putAsync("late", "v"))
	eventually(t, "the late one is in line", func() bool { return f.inLine() == pipeline.MaxInFlight+1 })
	open()
	eventually(t, "the turn back", func() bool { return f.routerState() == Direct })
	f.stub.release()
	for _, ack := range acks {
		require.NoError(t, receive(t, "an answer", ack))
	}
}

// Badger took 15 ms for a load, as a disk does with SyncWrites, and the hand-over gave up after 5:
// with a trickle of commits the spill never ended.
func TestHandOverWaitsAsLongAsAStall(t *testing.T) {
	f := open(t, eager, func(o *Options) { o.StallThreshold = DefaultSyncStallThreshold })
	f.stub.set(func() {
		f.stub.mu.onLoad = func(int, []entry) error { <-time.After(15 * time.Millisecond); return nil }
	})
	f.spillOne("k", "v")
	ctx, stop := context.WithCancel(t.Context())
	writer := async(func() error {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if err := put(f.DB, "k", "v"); err != nil {
				return err
			}
			<-tick.C
		}
		return nil
	})
	defer stop()
	receive(t, "HandOver", f.events.handOver)
	stop()
	require.NoError(t, receive(t, "the end of the writer", writer))
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

// With several writers there is always a batch in the log's queue, and a hand-over needs it empty.
// A Drain did not end as long as they wrote, commits never went directly again, and what had long
// been replayed stayed on disk.
func TestDrainEndsUnderSteadyWrites(t *testing.T) {
	f := open(t, func(opt *Options) { opt.SyncWrites, opt.StallThreshold = true, time.Second })
	f.spillOne("k", "v")
	// A group is done when somebody has come who is not in it, or when nobody comes for a while.
	f.hooks.set(func(op, path string) error {
		if op == "sync" && isSegment(path) {
			came := func() int64 { return f.pipe.Counters.Spilled.Load() + f.log.State().Queued }
			before, end := came(), f.now()+int64(20*time.Millisecond)
			for came() == before && f.now() < end {
				<-time.After(100 * time.Microsecond)
			}
		}
		return nil
	})
	ctx, stop := context.WithTimeout(t.Context(), waitLimit)
	var wg kit.WaitGroup
	defer wg.Wait()
	defer stop()
	var written atomic.Int64
	for range 32 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := put(f.DB, "k", "v"); err != nil {
					t.Error(err)
					return
				}
				written.Add(1)
			}
		})
	}
	eventually(t, "the writers are under way", func() bool { return written.Load() > 100 })
	require.NoError(t, f.Drain(ctx))
	require.Equal(t, int64(1), f.SpillStats().HandOvers)
}
