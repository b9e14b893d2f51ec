package badgerspill

import (
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

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
)

func TestAcknowledgedInTimestampOrder(t *testing.T) {
	f := open(t)
	f.stub.holdAnswers()
	first := f.putAsync("k", "1")
	eventually(t, "Badger has the first", func() bool { return f.stub.waiting() == 1 })
	second := f.putAsync("k", "2")
	eventually(t, "Badger has the second", func() bool { return f.stub.waiting() == 2 })
	f.stub.answerOne(1)
	never(t, 50*time.Millisecond, "the second is acknowledged, or visible, before the first", func() bool {
		return len(second) > 0 || f.MaxVersion() > 0
	})
	f.stub.release()
	require.NoError(t, receive(t, "first", first))
	require.NoError(t, receive(t, "second", second))
	require.EqualValues(t, 2, f.MaxVersion())
	require.Equal(t, "2", f.get("k"))
}

func TestWhoWaitsForCommitsInFlight(t *testing.T) {
	f := open(t)
	f.put("k", "old")
	f.stub.hold()
	inFlight := f.putAsync("k", "new")
	eventually(t, "the commit is in flight", func() bool { return f.stub.waiting() == 1 })

	created := receive(t, "NewTransaction", async(func() *Txn { return f.NewTransaction(false) }))
	defer created.Discard()
	require.EqualValues(t, 2, created.ReadTs(), "the snapshot has the commit in flight")

	placed := make(chan error, 1)
	require.NoError(t, receive(t, "a blind write gets its place", async(func() error {
		txn := f.NewTransaction(true)
		err := txn.Set([]byte("k"), []byte("newest"))
		txn.CommitWith(func(err error) { placed <- err })
		return err
	})))
	require.Equal(t, 2, f.stub.waiting())

	view := async(func() string { return get(t, f.DB, "k") })
	early := async(func() string { v, err := read(created, "k"); return fmt.Sprint(v, err) })
	never(t, 50*time.Millisecond, "a read before the commits it has to see", func() bool { return len(view)+len(early) > 0 })
	f.stub.release()
	require.NoError(t, receive(t, "the commit in flight", inFlight))
	require.NoError(t, receive(t, "the blind write", placed))
	require.Equal(t, "new<nil>", receive(t, "the early snapshot", early), "not the commit after it")
	require.Equal(t, "newest", receive(t, "View", view))
}

// TestSnapshotIsFixedAtCreation: with the first read long after, in Badger as in the spill.
func TestSnapshotIsFixedAtCreation(t *testing.T) {
	for _, spilled := range []bool{false, true} {
		t.Run(fmt.Sprintf("spilled %v", spilled), func(t *testing.T) {
			f := open(t)
			if spilled {
				f.spillOne("k", "1")
			} else {
				f.put("k", "1")
			}
			txn := f.NewTransaction(false)
			defer txn.Discard()
			f.put("k", "2")
			f.put("other", "2")
			for _, k := range []string{"k", "other"} {
				v, err := read(txn, k)
				require.NoError(t, err)
				require.Equal(t, map[string]string{"k": "1", "other": absent}[k], v)
			}
			require.Equal(t, "2", f.get("k"))
		})
	}
}

func TestBadgerRefusesADirectCommit(t *testing.T) {
	f := open(t)
	f.put("a", "1")
	f.stub.set(func() {
		f.stub.mu.failSend = func(c *pipeline.Commit) error {
			if string(c.Entries[0].Key) == "bad" {
				return errTest
			}
			return nil
		}
	})
	f.stub.hold()
	var acks []<-chan error
	for i, k := range []string{"b", "bad", "c"} {
		acks = append(acks, f.putAsync(k, "1"))
		eventually(t, "it is in flight", func() bool { return f.stub.waiting() == i+1 })
	}
	f.stub.release()
	require.NoError(t, receive(t, "the one before", acks[0]))
	require.ErrorIs(t, receive(t, "the refused one", acks[1]), errTest)
	require.NoError(t, receive(t, "the one after", acks[2]))
	require.EqualValues(t, 4, f.MaxVersion())
	require.Equal(t, "1", f.get("c"))
	require.Equal(t, absent, f.get("bad"))
	f.put("d", "1")
	require.Equal(t, Direct, f.routerState())
	require.Zero(t, f.SpillStats().MemoryInFlight)
	require.Zero(t, f.manager.Leaks())
}

// TestFirstAppendFails: the spill is empty and cannot be begun, so what was meant for it goes to
// Badger after all.
func TestFirstAppendFails(t *testing.T) {
	for _, c := range []struct {
		name string
		hook func(op, path string) error
	}{
		{"segment cannot be created", func(op, path string) error {
			if op == "create" && isSegment(path) {
				return os.ErrPermission
			}
			return nil
		}},
		{"write of the segment fails", failSegmentWrites},
		{"second write of the segment fails", secondWriteFails()},
		{"interlock cannot be created", func(op, path string) error {
			if op == "create" && strings.HasSuffix(path, marker.InterlockName) {
				return os.ErrPermission
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := open(t)
			f.hooks.set(c.hook)
			free := f.occupy(f.share(0.95))
			require.NoError(t, receive(t, "the commit", f.putAsync("k", "v")))
			require.Equal(t, "v", f.inBadger("k"))
			require.Equal(t, Direct, f.routerState())
			require.True(t, f.log.Empty())
			receive(t, "BackgroundError", f.events.failed)
			f.put("k", "v2") // the spill is left alone for a while
			require.Equal(t, "v2", f.inBadger("k"))
			f.hooks.clear()
			free()
			require.Zero(t, f.SpillStats().MemoryInFlight)
			require.Zero(t, f.manager.Leaks())
			copied := crash(t, f.opt.Dir)
			require.NoError(t, f.Close())
			for _, dir := range []string{f.opt.Dir, copied} {
				g := openAt(t, dir)
				require.Equal(t, Direct, g.routerState())
				require.Equal(t, "v2", g.get("k"))
			}
		})
	}
}

func secondWriteFails() func(op, path string) error {
	var n atomic.Int64
	return func(op, path string) error {
		if op == "write" && isSegment(path) && n.Add(1) == 2 {
			return errTest
		}
		return nil
	}
}

// TestFailedSpillLeavesNoInterlock: plain Badger has all commits, so nothing must keep it from the
// directory.
func TestFailedSpillLeavesNoInterlock(t *testing.T) {
	f := open(t)
	f.hooks.set(failSegmentWrites)
	free := f.occupy(f.share(0.95))
	f.put("k", "v")
	require.Equal(t, Direct, f.routerState())
	f.hooks.clear()
	free()
	eventually(t, "the interlock is gone", func() bool { return !interlocked(f.DB) })
}

// TestFirstHedgeFails: a stall finds a spill that cannot be written; Badger has the commits and
// answers later.
func TestFirstHedgeFails(t *testing.T) {
	f := open(t, stalls)
	f.hooks.set(failSegmentWrites)
	f.stub.hold()
	done := f.putAsync("k", "v")
	receive(t, "StallBegin", f.events.stallBegin)
	receive(t, "BackgroundError", f.events.failed)
	eventually(t, "the router is direct again", func() bool { return f.routerState() == Direct })
	require.Empty(t, done)
	second := f.putAsync("k", "v2")
	eventually(t, "the second is sent to Badger", func() bool { return f.stub.waiting() == 2 })
	f.stub.release()
	require.NoError(t, receive(t, "first", done))
	require.NoError(t, receive(t, "second", second))
	receive(t, "StallEnd", f.events.stallEnd)
	require.Equal(t, "v2", f.inBadger("k"))
	require.Equal(t, "v2", f.get("k"))
}

// TestFirstAppendFailsWithAFollower: while the first append fails, the next commit already waits in
// the log's queue. It makes the spill live, so no later commit may go to Badger.
func TestFirstAppendFailsWithAFollower(t *testing.T) {
	f := open(t)
	writing, fail := make(chan struct{}, 1), make(chan struct{})
	var n atomic.Int64
	f.hooks.set(func(op, path string) error {
		if op == "write" && isSegment(path) && n.Add(1) == 1 {
			writing <- struct{}{}
			<-fail
			return errTest
		}
		return nil
	})
	free := f.occupy(f.share(0.95))
	first := f.putAsync("k", "1")
	receive(t, "the first append", writing)
	second := f.putAsync("k", "2")
	eventually(t, "the second is queued", func() bool { return f.inLine() == 2 })
	close(fail)
	require.NoError(t, receive(t, "first", first))
	require.NoError(t, receive(t, "second", second))
	f.hooks.clear()
	free()
	require.Equal(t, "2", f.get("k"))
	f.put("k", "3")
	require.Equal(t, "3", f.get("k"), "a stale read: the spill has version 2, Badger the newer one")
	state, live := f.routerState(), f.log.State().LiveBatches
	require.False(t, state == Direct && live > 0, "the router is Direct with %d commits in the spill", live)
	f.drained()
	require.Equal(t, "3", f.get("k"))
	require.Equal(t, "3", f.inBadger("k"))
}

func TestAppendFailsWithALiveSpill(t *testing.T) {
	f := open(t)
	f.spillOne("a", "1")
	gate := make(chan struct{})
	defer close(gate)
	f.stub.set(func() { f.stub.mu.onLoad = func(int, []entry) error { <-gate; return errTest } })
	f.hooks.set(failSegmentWrites)
	require.ErrorIs(t, put(f.DB, "bad", "1"), errTest)
	f.hooks.clear()
	require.Equal(t, Spilling, f.routerState())
	require.Equal(t, absent, f.get("bad"))
	// A spill that has just failed is left alone for a while, and nothing goes past it.
	later := f.putAsync("b", "1")
	require.NoError(t, receive(t, "a later commit", later))
	require.Equal(t, "1", f.get("b"))
	require.Zero(t, f.stub.sends())
	require.Zero(t, f.manager.Leaks())
	g := openAt(t, crash(t, f.opt.Dir))
	for k, v := range map[string]string{"a": "1", "b": "1", "bad": absent} {
		require.Equal(t, v, g.get(k), k)
	}
	g.drained()
	for k, v := range map[string]string{"a": "1", "b": "1", "bad": absent} {
		require.Equal(t, v, g.inBadger(k), k)
	}
}

func TestPolicyAlways(t *testing.T) {
	always := func(opt *Options) { opt.SpillPolicy = Always }
	f := open(t, always)
	require.Equal(t, SpillBeginInfo{Cause: CausePolicy}, receive(t, "SpillBegin", f.events.spillBegin))
	f.put("k", "1")
	require.Equal(t, absent, f.inBadger("k"))
	require.Equal(t, "1", f.get("k"))
	f.drained()
	require.Equal(t, "1", f.inBadger("k"))
	require.Equal(t, Spilling, f.routerState(), "no hand-over")
	f.put("k", "2")
	require.Equal(t, "2", f.get("k"))
	require.Equal(t, "1", f.inBadger("k"))
	f.hooks.set(failSegmentWrites)
	require.ErrorIs(t, put(f.DB, "k", "3"), errTest, "there is no other way")
	f.hooks.clear()
	require.Zero(t, f.stub.sends())
	require.Zero(t, f.SpillStats().HandOvers)
	require.Empty(t, f.events.handOver)
	g := openAt(t, crash(t, f.opt.Dir), always)
	require.Equal(t, "2", g.get("k"))
	require.NoError(t, g.Close())
	require.False(t, interlocked(g.DB))
	require.NoError(t, plainCheck(g.opt, map[string]string{"k": "2"}))
}

// plainCheck opens a closed database with plain Badger and compares.
func plainCheck(opt Options, want map[string]string) error {
	db, err := badger.Open(opt.Badger())
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(txn *badger.Txn) error {
		for k, v := range want {
			item, err := txn.Get([]byte(k))
			if err == badger.ErrKeyNotFound && v == absent {
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
			got, err := item.ValueCopy(nil)
			if err != nil || string(got) != v {
				return fmt.Errorf("%s is %q, not %q: %w", k, got, v, err)
			}
		}
		return nil
	})
}

// TestDrainOfNothingIsNoHandOver: the event and the counter stand for a turn back to Badger.
func TestDrainOfNothingIsNoHandOver(t *testing.T) {
	f := open(t)
	f.put("k", "v")
	f.drained()
	require.Zero(t, f.SpillStats().HandOvers)
	f.spillOne("k", "v")
	f.drained()
	f.drained()
	require.EqualValues(t, 1, f.SpillStats().HandOvers)
}

func TestPolicyNever(t *testing.T) {
	f := open(t, stalls, func(opt *Options) { opt.SpillPolicy = Never })
	f.occupy(f.share(0.95))
	f.stub.hold()
	done := f.putAsync("k", "v")
	never(t, 80*time.Millisecond, "acknowledged without Badger", func() bool { return len(done) > 0 })
	require.Equal(t, Direct, f.routerState())
	f.stub.release()
	require.NoError(t, receive(t, "the commit", done))
	require.Equal(t, "v", f.inBadger("k"))
	require.NoDirExists(t, f.DB.opt.SpillDir)
	require.Empty(t, f.events.spillBegin)
}

func TestCloseWaitsForBadger(t *testing.T) {
	for _, hedged := range []bool{false, true} {
		t.Run(fmt.Sprintf("hedged %v", hedged), func(t *testing.T) {
			f := open(t, func(opt *Options) {
				if hedged {
					stalls(opt)
				}
			})
			f.stub.hold()
			done := f.putAsync("k", "v")
			if hedged {
				require.NoError(t, receive(t, "the hedged commit", done))
			} else {
				eventually(t, "the commit is in flight", func() bool { return f.stub.waiting() == 1 })
			}
			closed := async(f.Close)
			eventually(t, "new commits are refused", f.closing.Load)
			txn := f.NewTransaction(true)
			require.NoError(t, txn.Set([]byte("late"), []byte("v")))
			require.ErrorIs(t, txn.Commit(), ErrBlockedWrites)
			never(t, 50*time.Millisecond, "closed under a commit that Badger holds", func() bool { return len(closed) > 0 })
			f.stub.release()
			require.NoError(t, receive(t, "Close", closed))
			if !hedged {
				require.NoError(t, receive(t, "the commit", done))
			}
			require.NoError(t, f.Close())
			require.ErrorIs(t, f.View(func(*Txn) error { return nil }), ErrDBClosed)
			require.NoError(t, plainCheck(f.opt, map[string]string{"k": "v", "late": absent}))
		})
	}
}

// TestBadgerFailsToOpen: the error comes back, and the spill is as safe as before.
func TestBadgerFailsToOpen(t *testing.T) {
	for _, name := range []string{"*.sst", "*.vlog"} {
		t.Run(name, func(t *testing.T) {
			f := open(t, func(opt *Options) { opt.KeepSpillOnClose = true })
			f.put("a", "1")
			f.spillOne("k", "v")
			require.NoError(t, f.Close())
			paths, err := filepath.Glob(filepath.Join(f.opt.Dir, name))
			require.NoError(t, err)
			require.NotEmpty(t, paths)
			away := filepath.Join(t.TempDir(), "away")
			require.NoError(t, os.Rename(paths[0], away))
			require.NoError(t, os.Mkdir(paths[0], 0o700)) // not a file that Badger can open
			for range 2 {
				_, err = tryOpen(t, f.opt.Dir)
				require.Error(t, err)
				require.True(t, interlocked(f.DB))
			}
			require.NoError(t, os.Remove(paths[0]))
			require.NoError(t, os.Rename(away, paths[0]))
			g := openAt(t, f.opt.Dir)
			require.Equal(t, "1", g.get("a"))
			require.Equal(t, "v", g.get("k"))
		})
	}
}

func TestCloseWithoutDrainKeepsTheSpill(t *testing.T) {
	keep := func(opt *Options) { opt.KeepSpillOnClose = true }
	f := open(t, keep)
	f.put("a", "1")
	f.spillOne("k", "v")
	f.delete("a")
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	require.Zero(t, f.stub.loads())
	require.True(t, interlocked(f.DB))
	_, err := badger.Open(f.opt.Badger())
	require.ErrorContains(t, err, strings.TrimSuffix(marker.InterlockName, ".mem"), "plain Badger must not serve the past")

	g := openAt(t, f.opt.Dir, keep)
	require.Equal(t, SpillBeginInfo{Cause: CauseRecovery}, receive(t, "SpillBegin", g.events.spillBegin))
	require.EqualValues(t, 3, g.MaxVersion())
	require.Equal(t, "v", g.get("k"))
	require.Equal(t, absent, g.get("a"))
	g.put("k", "v2")
	require.Zero(t, g.stub.sends())
	g.drained()
	g.direct()
	require.Equal(t, "v2", g.inBadger("k"))
	txn := g.inner.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	item, err := txn.Get([]byte("k"))
	require.NoError(t, err)
	require.EqualValues(t, 4, item.Version(), "replay keeps the commit timestamp")
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
