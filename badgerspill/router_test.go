package badgerspill

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
)

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
			eventually(t, "plain Badger, which has all commits, is not kept out", func() bool { return !interlocked(f.DB) })
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
