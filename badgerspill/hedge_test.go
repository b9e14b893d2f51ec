package badgerspill

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
)

func stalls(opt *Options) { opt.StallThreshold = 10 * time.Millisecond }

func TestStallIsHedged(t *testing.T) {
	f := open(t, stalls)
	f.put("before", "1")
	f.stub.hold()

	begin := time.Now()
	require.NoError(t, receive(t, "acknowledgement by the spill", f.putAsync("k", "v")))
	require.Less(t, time.Since(begin), 2*time.Second)

	require.Equal(t, 1, f.stub.waiting(), "Badger still has it")
	require.Equal(t, absent, f.inBadger("k"))
	require.Equal(t, "v", f.get("k"))
	require.Equal(t, "1", f.get("before"))
	var seen []string
	require.NoError(t, f.View(func(txn *Txn) error {
		it := txn.NewIterator(DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			v, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			seen = append(seen, fmt.Sprintf("%s=%s@%d", it.Item().Key(), v, it.Item().Version()))
		}
		return nil
	}))
	require.Equal(t, []string{"before=1@1", "k=v@2"}, seen)

	require.Equal(t, Spilling, f.routerState())
	require.True(t, interlocked(f.DB))
	begun := receive(t, "StallBegin", f.events.stallBegin)
	require.Equal(t, 1, begun.Commits)
	require.GreaterOrEqual(t, begun.Duration, 10*time.Millisecond)
	require.Equal(t, SpillBeginInfo{Cause: CauseStall, Hedged: 1}, receive(t, "SpillBegin", f.events.spillBegin))
	require.Empty(t, f.events.stallEnd)

	// What follows goes to the spill at once, without asking Badger.
	f.put("k2", "v2")
	require.Equal(t, 1, f.stub.waiting())

	drain := async(func() error { return f.Drain(f.ctx) })
	never(t, 150*time.Millisecond, "replayed what Badger still holds", func() bool { return f.stub.loads() > 0 })
	require.Equal(t, Spilling, f.routerState())
	f.stub.release()
	ended := receive(t, "StallEnd", f.events.stallEnd)
	require.Equal(t, 1, ended.Commits)
	st := f.SpillStats()
	require.Equal(t, map[string]int64{"stall": 1}, st.SpillStarts)
	require.Equal(t, []int64{1, 1, 1, 1}, []int64{st.Stalls, st.CommitsDirect, st.CommitsHedged, st.CommitsSpilled})
	require.Positive(t, st.BytesSpilled)
	require.EqualValues(t, 1, st.Append.Count, "of the two that were appended one was a hedge")
	require.Empty(t, f.events.stallBegin)
	require.Empty(t, f.events.stallEnd)
	require.NoError(t, receive(t, "Drain", drain))
	require.Positive(t, f.stub.loads())
	f.direct()
	require.Equal(t, "v", f.inBadger("k"))
	require.Zero(t, f.SpillStats().MemoryInFlight)
	require.Zero(t, f.manager.Leaks())
}

// TestStallIsSeenUnderAnOpenIterator: the watcher slows down while it has only pinned memtables to
// look at; a stall has to be seen in time all the same.
func TestStallIsSeenUnderAnOpenIterator(t *testing.T) {
	f := open(t, small, stalls)
	f.put("first", "1")
	txn := f.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(DefaultIteratorOptions)
	defer it.Close()
	it.Rewind()
	fillMemtable(t, f.DB, "a")
	fillMemtable(t, f.DB, "b")
	f.drained()
	eventually(t, "a pinned memtable is left", func() bool {
		f.relieve()
		return f.SpillStats().MemoryPinned > 0 && !f.memtables.Flushing()
	})
	// Only then does the watcher slow down.
	never(t, time.Duration(watchIdle)*5/4, "commits take the spill", func() bool { return f.routerState() != Direct })

	f.drained()
	f.stub.hold()
	begin := time.Now()
	require.NoError(t, receive(t, "acknowledgement by the spill", f.putAsync("k", "v")))
	require.Less(t, time.Since(begin), 400*time.Millisecond)
}

// TestRefusedButHedged: Badger fails what the spill has acknowledged. Replay brings it again.
func TestRefusedButHedged(t *testing.T) {
	f := open(t, stalls)
	f.stub.hold()
	f.put("k", "v")
	f.stub.set(func() { f.stub.mu.failSend = func(*pipeline.Commit) error { return errTest } })
	f.stub.release()
	receive(t, "StallEnd", f.events.stallEnd)
	require.Equal(t, absent, f.inBadger("k"))
	require.Equal(t, "v", f.get("k"))
	f.drained()
	require.Equal(t, "v", f.inBadger("k"))
	require.Zero(t, f.manager.Leaks())
	require.Zero(t, f.SpillStats().MemoryInFlight)
}

// TestTornHedge: a crash leaves only the beginning of the hedges, and Badger has them all.
func TestTornHedge(t *testing.T) {
	f := open(t, func(opt *Options) { opt.StallThreshold = 300 * time.Millisecond })
	f.put("a", "0")
	f.stub.holdAnswers()
	var acks []<-chan error
	for i, k := range []string{"a", "b", "c"} {
		acks = append(acks, f.putAsync(k, "1"))
		eventually(t, "Badger has it", func() bool { return f.stub.waiting() == i+1 })
	}
	for _, ack := range acks {
		require.NoError(t, receive(t, "acknowledgement by the spill", ack))
	}
	require.Equal(t, SpillBeginInfo{Cause: CauseStall, Hedged: 3}, receive(t, "SpillBegin", f.events.spillBegin))
	var ends []int64
	for pos := (spillfile.Position{}); len(ends) < 3; {
		chunk, err := f.log.ReadChunk(pos, 1)
		require.NoError(t, err)
		require.Len(t, chunk.Entries, 1)
		pos = chunk.Next
		ends = append(ends, pos.Offset)
	}
	for _, c := range []struct {
		name string
		size int64
		live bool
	}{
		{"after the first batch", ends[0], false},
		{"in the second batch", ends[0] + 10, false},
		{"after the second batch", ends[1], false},
		{"not torn", ends[2], true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := crash(t, f.opt.Dir)
			paths := segments(t, dir)
			require.Len(t, paths, 1)
			require.NoError(t, os.Truncate(paths[0], c.size))
			g := openAt(t, dir)
			require.EqualValues(t, 4, g.MaxVersion())
			for _, k := range []string{"a", "b", "c"} {
				require.Equal(t, "1", g.get(k))
			}
			if c.live {
				require.Equal(t, Spilling, g.routerState())
				require.True(t, interlocked(g.DB))
				return
			}
			g.direct()
			g.delete("a")
			eventually(t, "Badger has flushed what it found", func() bool {
				numbers, err := host.MemNumbers(dir)
				return err == nil && len(numbers) == 1
			})
			h := openAt(t, crash(t, dir))
			require.Equal(t, absent, h.get("a"), "the torn hedge is dead for good")
		})
	}
}

// TestForeignWrites: somebody removed the interlock and wrote with plain Badger while the spill
// held commits.
func TestForeignWrites(t *testing.T) {
	f := open(t)
	f.put("a", "1")
	f.spillOne("k", "spilled")
	dir := crash(t, f.opt.Dir)
	opt := withDir(f.opt, dir)
	_, err := badger.Open(opt.Badger())
	require.ErrorContains(t, err, "UNREPLAYED-SPILL")
	require.NoError(t, os.Remove(filepath.Join(dir, marker.InterlockName)))
	plain, err := badger.Open(opt.Badger())
	require.NoError(t, err)
	for i := range 3 {
		require.NoError(t, plain.Update(func(txn *badger.Txn) error { return txn.Set([]byte("k"), fmt.Append(nil, "foreign ", i)) }))
	}
	require.NoError(t, plain.Close())
	for range 2 { // an Open that fails changes nothing that the next one needs
		_, err = tryOpen(t, dir)
		require.ErrorIs(t, err, ErrForeignWrites)
		require.ErrorContains(t, err, "version 4")
		require.FileExists(t, filepath.Join(dir, marker.InterlockName))
	}
	// What is done by hand is noticed, too.
	require.NoError(t, os.Rename(filepath.Join(dir, "spill"), filepath.Join(t.TempDir(), "away")))
	_, err = tryOpen(t, dir)
	require.ErrorIs(t, err, ErrMissingSpill)
	require.ErrorContains(t, err, "commits in "+filepath.Join(dir, "spill")+";")
	require.NoError(t, os.Remove(filepath.Join(dir, marker.InterlockName)))
	g := openAt(t, dir)
	require.Equal(t, "foreign 2", g.get("k"))
	require.False(t, interlocked(g.DB))
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
