package badgerspill

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/feed"
	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
)

func TestHandOverWhenQuiet(t *testing.T) {
	f := open(t, eager)
	free := f.occupy(f.share(0.95))
	f.put("k", "v")
	f.put("k", "v2")
	free()
	receive(t, "HandOver", f.events.handOver)
	f.direct()
	require.Equal(t, "v2", f.inBadger("k"))
	require.EqualValues(t, 1, f.SpillStats().HandOvers)
	require.Zero(t, f.SpillStats().SpillPending)
	require.True(t, receive(t, "ReplayEnd", f.events.replayEnd).Drained)
	f.put("k", "v3")
	require.Equal(t, "v3", f.inBadger("k"))
	require.Equal(t, 1, f.stub.sends())
	require.False(t, interlocked(f.DB))
	require.NoError(t, f.Close())
	require.NoError(t, plainCheck(f.opt, map[string]string{"k": "v3"}))
}

// holdSegmentWrites lets every write to a segment wait for release.
func holdSegmentWrites(f *fixture) (writing <-chan struct{}, release func()) {
	began, resume := make(chan struct{}, 100), make(chan struct{})
	f.hooks.set(func(op, path string) error {
		if op == "write" && isSegment(path) {
			began <- struct{}{}
			<-resume
		}
		return nil
	})
	release = sync.OnceFunc(func() { close(resume) })
	f.t.Cleanup(release)
	return began, release
}

func TestNoHandOverWhileABatchIsQueued(t *testing.T) {
	f := open(t)
	f.spillOne("k", "1")
	var writing <-chan struct{}
	var release func()
	var late <-chan error
	f.stub.set(func() {
		f.stub.mu.afterLoad = func(n int) {
			if n > 1 {
				return
			}
			// All that the replayer has read is in Badger; before it tries the hand-over a commit
			// gets its place.
			writing, release = holdSegmentWrites(f)
			late = f.putAsync("k", "2")
			<-writing
		}
	})
	drain := async(func() error { return f.Drain(f.ctx) })
	eventually(t, "the chunk is loaded", func() bool { return f.stub.loads() == 1 })
	never(t, 100*time.Millisecond, "handed over past a queued commit", func() bool {
		return len(drain) > 0 || f.pipe.Counters.HandOvers.Load() > 0
	})
	release()
	require.NoError(t, receive(t, "the queued commit", late))
	require.NoError(t, receive(t, "Drain", drain))
	f.direct()
	require.Equal(t, "2", f.inBadger("k"))
}

// TestHandOverDoesNotWaitForAnAppend: nobody may hold the commit lock while a file is written or
// synced.
func TestHandOverDoesNotWaitForAnAppend(t *testing.T) {
	f := open(t)
	f.spillOne("k", "1")
	ready := make(chan func(), 1)
	f.stub.set(func() {
		f.stub.mu.afterLoad = func(n int) {
			if n == 1 {
				writing, release := holdSegmentWrites(f)
				f.putAsync("k", "2")
				<-writing
				ready <- release
			}
		}
	})
	drain := async(func() error { return f.Drain(f.ctx) })
	release := receive(t, "an append under way", ready)
	never(t, 50*time.Millisecond, "drained past the append", func() bool { return len(drain) > 0 })
	began := async(func() bool { f.NewTransaction(false).Discard(); return true })
	limit := time.NewTimer(time.Second)
	defer limit.Stop()
	select {
	case <-began:
	case <-limit.C:
		release()
		require.FailNow(t, "NewTransaction waits for the append: the hand-over holds the commit lock")
	}
	release()
	require.NoError(t, receive(t, "Drain", drain))
}

// duringHandOver makes a hand-over that has something left to load: a commit that comes after the
// last replay.
func duringHandOver(f *fixture, key, value string) {
	f.stub.set(func() {
		f.stub.mu.afterLoad = func(n int) {
			if n == 1 {
				_ = put(f.DB, key, value)
			}
		}
	})
}

func TestSlowHandOverIsGivenUp(t *testing.T) {
	f := open(t)
	f.spillOne("k", "1")
	duringHandOver(f, "k", "2")
	gate, second := make(chan struct{}), make(chan struct{}, 100)
	release := sync.OnceFunc(func() { close(gate) })
	defer release()
	f.stub.set(func() {
		f.stub.mu.onLoad = func(n int, _ []entry) error {
			if n >= 2 {
				second <- struct{}{}
				<-gate
			}
			return nil
		}
	})
	drain := async(func() error { return f.Drain(f.ctx) })
	receive(t, "the load of the hand-over", second)
	// Badger takes nothing. Writers go on.
	var longest time.Duration
	for i := range 50 {
		begin := time.Now()
		f.put(key(i), "v")
		longest = max(longest, time.Since(begin))
	}
	require.Less(t, longest, feed.HandOverWait+500*time.Millisecond)
	require.Equal(t, Spilling, f.routerState())
	require.Empty(t, drain)
	require.Zero(t, f.SpillStats().HandOvers)
	release()
	require.NoError(t, receive(t, "Drain", drain))
	f.direct()
	require.Equal(t, "2", f.inBadger("k"))
	for i := range 50 {
		require.Equal(t, "v", f.inBadger(key(i)))
	}
	require.Zero(t, f.manager.Leaks())
}

func TestFailedHandOverLoadIsTriedAgain(t *testing.T) {
	f := open(t)
	f.spillOne("k", "1")
	duringHandOver(f, "k", "2")
	f.stub.set(func() {
		f.stub.mu.onLoad = func(n int, _ []entry) error {
			if n == 2 {
				return errTest
			}
			return nil
		}
	})
	f.drained()
	f.direct()
	require.Equal(t, "2", f.inBadger("k"))
	require.ErrorIs(t, receive(t, "BackgroundError", f.events.failed).Err, errTest)
	require.Zero(t, f.manager.Leaks())
	require.Zero(t, f.SpillStats().MemoryInFlight)
}

// TestDeleteRightAfterHandOver: the spilled put must not come back.
func TestDeleteRightAfterHandOver(t *testing.T) {
	f := open(t, stalls)
	f.stub.hold()
	f.put("hedged", "v")
	f.spillOne("spilled", "v")
	f.stub.release()
	f.drained()
	require.Equal(t, Direct, f.routerState())
	f.delete("hedged")
	f.delete("spilled")
	copied := crash(t, f.opt.Dir)
	require.NoError(t, f.Close())
	for _, dir := range []string{copied, f.opt.Dir} {
		g := openAt(t, dir)
		for range 2 {
			require.Equal(t, absent, g.get("hedged"))
			require.Equal(t, absent, g.get("spilled"))
			g.drained()
		}
	}
}

func TestReadersKeepTheirSnapshotThroughHandOver(t *testing.T) {
	f := open(t)
	f.put("a", "badger 1")
	f.put("b", "badger 1")
	free := f.occupy(f.share(0.95))
	f.put("b", "spill 1")
	f.put("c", "spill 1")
	free()

	point, iterated := f.NewTransaction(false), f.NewTransaction(false)
	v, err := read(point, "a")
	require.NoError(t, err)
	require.Equal(t, "badger 1", v)
	item, err := point.Get([]byte("b"))
	require.NoError(t, err)
	it := iterated.NewIterator(IteratorOptions{})
	it.Rewind()
	require.Equal(t, "a", string(it.Item().Key()))

	f.put("a", "spill 2")
	f.delete("c")
	f.drained()
	require.Equal(t, Direct, f.routerState())
	f.put("b", "direct 3")
	f.put("d", "direct 3")

	late, err := item.ValueCopy(nil)
	require.NoError(t, err)
	require.Equal(t, "spill 1", string(late))
	want := map[string]string{"a": "badger 1", "b": "spill 1", "c": "spill 1", "d": absent}
	for k, w := range want {
		v, err := read(point, k)
		require.NoError(t, err)
		require.Equal(t, w, v, k)
	}
	seen := map[string]string{"d": absent}
	for ; it.Valid(); it.Next() {
		v, err := it.Item().ValueCopy(nil)
		require.NoError(t, err)
		seen[string(it.Item().Key())] = string(v)
	}
	require.Equal(t, want, seen)
	fresh := f.NewTransaction(false)
	for k, w := range map[string]string{"a": "spill 2", "b": "direct 3", "c": absent, "d": "direct 3"} {
		v, err := read(fresh, k)
		require.NoError(t, err)
		require.Equal(t, w, v, k)
	}
	fresh.Discard()

	require.Positive(t, f.log.State().DiskBytes, "pinned by the readers")
	point.Discard()
	it.Close()
	require.Positive(t, f.log.State().DiskBytes, "pinned by the second transaction")
	iterated.Discard()
	eventually(t, "the pinned files are closed and gone", func() bool { return f.log.State().DiskBytes == 0 })
	require.Empty(t, segments(t, f.opt.Dir))
}

// TestCrashInEveryStepOfTheHandOver copies the directory before every change of a file from the
// last replay to the first direct commits, and opens each copy: all that was acknowledged is there,
// and plain Badger gets in only if it has all.
func TestCrashInEveryStepOfTheHandOver(t *testing.T) {
	f := open(t, small, func(opt *Options) { opt.ValueLogFileSize, opt.StallThreshold = 1<<20, 10*time.Millisecond })
	f.put("old", "1")
	f.put("gone", "1")
	f.stub.hold()
	f.put("hedged", "1") // Badger gets it late, the spill at once
	f.put("k", "1")
	f.delete("gone")

	want := map[string]string{"old": "1", "gone": absent, "hedged": "1", "k": "1"}
	type crashed struct{ step, dir string }
	var mu sync.Mutex
	var copies []crashed
	failure := error(nil)
	snapshot := func(step string) {
		mu.Lock()
		defer mu.Unlock()
		dir := filepath.Join(t.TempDir(), fmt.Sprint(len(copies)))
		if err := copyTree(f.opt.Dir, dir); err != nil && failure == nil {
			failure = err
		}
		copies = append(copies, crashed{step, dir})
	}
	snapshot("Badger holds the hedged commit")
	f.stub.release()
	receive(t, "StallEnd", f.events.stallEnd)
	snapshot("Badger has answered")
	f.hooks.set(func(op, path string) error {
		snapshot("before " + op + " of " + filepath.Base(path))
		return nil
	})
	f.stub.set(func() {
		f.stub.mu.onLoad = func(n int, _ []entry) error { snapshot(fmt.Sprint("before load ", n)); return nil }
		f.stub.mu.afterLoad = func(n int) { snapshot(fmt.Sprint("after load ", n)) }
		f.stub.mu.onSync = func() error { snapshot("before sync of Badger"); return nil }
	})
	f.drained()
	f.direct()
	f.hooks.clear()
	snapshot("handed over")
	f.delete("hedged")
	f.delete("k")
	snapshot("direct commits after it")
	require.NoError(t, failure)
	require.Greater(t, len(copies), 8)

	var steps []string
	for i, c := range copies {
		steps = append(steps, c.step)
		if i == len(copies)-1 {
			want["hedged"], want["k"] = absent, absent
		}
		g, err := tryOpen(t, c.dir, func(opt *Options) { *opt = withDir(f.opt, c.dir) })
		require.NoError(t, err, c.step)
		for k, v := range want {
			require.Equal(t, v, g.get(k), "%s: %s", c.step, k)
		}
		require.NoError(t, g.Close(), c.step)
		require.NoError(t, plainCheck(g.opt, want), c.step)
	}
	require.Contains(t, steps, "before rename of MANIFEST")
	require.Contains(t, steps, "before remove of "+marker.InterlockName)
}

// TestCrashInTheHandOverLeavesPlainBadgerOut: without the interlock plain Badger must find
// everything.
func TestCrashInTheHandOverLeavesPlainBadgerOut(t *testing.T) {
	f := open(t, small, func(opt *Options) { opt.ValueLogFileSize = 1 << 20 })
	f.spillOne("k", "1")
	var mu sync.Mutex // files are removed by two goroutines
	var dirs []string
	f.hooks.set(func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		dir := filepath.Join(t.TempDir(), "copy")
		dirs = append(dirs, dir)
		return copyTree(f.opt.Dir, dir)
	})
	f.drained()
	f.direct()
	f.hooks.clear()
	mu.Lock()
	defer mu.Unlock()
	admitted := 0
	for _, dir := range dirs {
		err := plainCheck(withDir(f.opt, dir), map[string]string{"k": "1"})
		if err == nil {
			admitted++
			continue
		}
		require.ErrorContains(t, err, "UNREPLAYED-SPILL")
	}
	require.Less(t, admitted, len(dirs))
}

func withDir(opt Options, dir string) Options {
	opt.Dir, opt.ValueDir, opt.SpillDir = dir, dir, ""
	return opt
}
