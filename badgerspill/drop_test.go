package badgerspill

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/replay"
)

// TestDropAllWaitsForHedges: a turn to the spill has enqueued its hedges and not appended them when
// Badger answers. Appended after the drop they would bring the key back.
func TestDropAllWaitsForHedges(t *testing.T) {
	f := open(t)
	f.stub.hold()
	done := f.putAsync("k", "v")
	eventually(t, "sent", func() bool { return f.stub.waiting() == 1 })
	gate := make(chan struct{})
	f.hooks.set(func(op, path string) error {
		if op == "write" && isSegment(path) {
			<-gate
		}
		return nil
	})
	turned := async(func() error { return f.pipe.TurnToSpill(pipeline.CauseStall) })
	eventually(t, "the turn", f.spilling)
	f.stub.release()
	require.NoError(t, receive(t, "commit", done))
	drop := async(f.DropAll)
	never(t, 100*time.Millisecond, "dropped past the hedge", func() bool { return len(drop) > 0 })
	close(gate)
	require.NoError(t, receive(t, "the turn", turned))
	require.NoError(t, receive(t, "drop", drop))
	require.Equal(t, absent, f.get("k"))
	require.Zero(t, f.log.State().LiveBatches)
	f.put("x", "1")
	require.Equal(t, absent, openAt(t, crash(t, f.opt.Dir)).get("k"))
}

// TestUnfinishedDropKeepsPlainBadgerOut: until the next Open finishes it, which would drop what
// plain Badger wrote.
func TestUnfinishedDropKeepsPlainBadgerOut(t *testing.T) {
	f := open(t)
	f.put("a", "v")
	f.hooks.set(func(op, path string) error {
		if op == "remove" && path == marker.DropPath(f.opt.Dir) {
			return errTest
		}
		return nil
	})
	require.ErrorIs(t, f.DropAll(), errTest)
	require.True(t, interlocked(f.DB))
	require.NoError(t, f.Close())
	require.True(t, interlocked(f.DB))
	f.hooks.clear()
	_, err := badger.Open(f.opt.Badger())
	require.ErrorContains(t, err, marker.InterlockName)

	f = openAt(t, f.opt.Dir)
	require.Equal(t, absent, f.get("a"))
	f.direct()
}

// TestDropAllWaitsForTheLoadOfAHandOver that was given up: it must not reach Badger after the drop.
func TestDropAllWaitsForTheLoadOfAHandOver(t *testing.T) {
	f := open(t)
	f.spillOne("k", "1")
	duringHandOver(f, "k", "2")
	gate, given := make(chan struct{}), make(chan struct{}, 1)
	release := sync.OnceFunc(func() { close(gate) })
	defer release()
	f.stub.set(func() {
		f.stub.mu.onLoad = func(n int, _ []entry) error {
			if n == 2 {
				given <- struct{}{}
				<-gate
			}
			return nil
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	drain := async(func() error { return f.Drain(ctx) })
	receive(t, "the load of the hand-over", given)
	cancel()
	require.ErrorIs(t, receive(t, "drain", drain), context.Canceled)
	drop := async(f.DropAll)
	never(t, 200*time.Millisecond, "dropped before the load", func() bool { return len(drop) > 0 })
	release()
	require.NoError(t, receive(t, "drop", drop))
	require.Equal(t, absent, f.get("k"))
	require.Equal(t, absent, f.inBadger("k"))
}

// TestFailedPrepareDropsNothingLater: a file that says that a drop was interrupted must not stay
// when commits go on.
func TestFailedPrepareDropsNothingLater(t *testing.T) {
	f := open(t)
	f.put("old", "1")
	f.hooks.set(func(op, path string) error {
		if op == "syncdir" && path == f.opt.Dir {
			if _, err := os.Stat(marker.DropPath(f.opt.Dir)); err == nil {
				return errTest // it is there, and not durable
			}
		}
		return nil
	})
	sw := f.NewStreamWriter()
	require.ErrorIs(t, sw.Prepare(), errTest)
	f.hooks.clear()
	sw.Cancel()
	f.put("new", "1")
	require.NoError(t, f.Close())
	g := openAt(t, f.opt.Dir)
	require.Equal(t, "1", g.get("old"))
	require.Equal(t, "1", g.get("new"))
}

// TestDropThatFailsInTheMiddleIsFinishedByOpen: Badger's part is dropped and the spill's is not.
func TestDropThatFailsInTheMiddleIsFinishedByOpen(t *testing.T) {
	f := openInTheMiddleOfADrop(t)
	require.ErrorIs(t, f.Health(), ErrReplayStopped)
	require.ErrorIs(t, f.Health(), errTest)
	require.ErrorIs(t, f.Close(), errTest)
	f.hooks.clear()
	g := openAt(t, f.opt.Dir)
	require.Equal(t, absent, g.get("direct"))
	require.Equal(t, absent, g.get("k"))
	g.put("new", "1")
}

func TestCloseWaitsForADrop(t *testing.T) {
	f := open(t)
	f.put("k", "1")
	gate, begun := make(chan struct{}), make(chan struct{}, 1)
	release := sync.OnceFunc(func() { close(gate) })
	defer release()
	f.hooks.set(func(op, path string) error {
		if op == "rename" && filepath.Base(path) == marker.DropName {
			begun <- struct{}{}
			<-gate
		}
		return nil
	})
	drop := async(f.DropAll)
	receive(t, "drop", begun)
	closed := async(f.Close)
	never(t, 200*time.Millisecond, "closed within the drop", func() bool { return len(closed) > 0 })
	release()
	require.NoError(t, receive(t, "drop", drop))
	require.NoError(t, receive(t, "close", closed))
	require.NoFileExists(t, marker.DropPath(f.opt.Dir))
}

// TestPlainBadgerIsKeptOutOfADrop: what it writes before Open has finished the drop would be
// dropped with the rest.
func TestPlainBadgerIsKeptOutOfADrop(t *testing.T) {
	f := open(t)
	f.put("k", "1")
	var copied string
	f.hooks.set(func(op, path string) error {
		if op == "remove" && path == marker.DropPath(f.opt.Dir) && copied == "" {
			copied = crash(t, f.opt.Dir)
		}
		return nil
	})
	require.NoError(t, f.DropAll())
	f.hooks.clear()
	require.NotEmpty(t, copied)
	_, err := badger.Open(testOptions(copied).Badger())
	require.ErrorContains(t, err, "UNREPLAYED-SPILL")
	require.Equal(t, absent, openAt(t, copied).get("k"))
}

// TestEmptyLogsOfOthersStay: the name of Dir is no pattern.
func TestEmptyLogsOfOthersStay(t *testing.T) {
	base := t.TempDir()
	foreign := filepath.Join(base, "db1", "00001.mem")
	require.NoError(t, os.MkdirAll(filepath.Dir(foreign), 0o700))
	require.NoError(t, os.WriteFile(foreign, nil, 0o600))
	openAt(t, filepath.Join(base, "db[1]")).put("k", "1")
	require.FileExists(t, foreign)
	openAt(t, filepath.Join(base, "db[1")).put("k", "1")
}

// TestSubscriberWhoComesWhileACommitWaits is told of it: it is not in the snapshot that he may read
// then.
func TestSubscriberWhoComesWhileACommitWaits(t *testing.T) {
	f := open(t)
	resume := f.pipe.HoldCommits() // as a hand-over does; it may as well wait for room
	done := f.putAsync("k", "v")
	never(t, 50*time.Millisecond, "committed", func() bool { return len(done) > 0 })
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan string, 10)
	ended := async(func() error {
		return f.Subscribe(ctx, func(l *KVList) error {
			for _, kv := range l.Kv {
				got <- string(kv.Key)
			}
			return nil
		}, []pb.Match{{Prefix: []byte("k")}})
	})
	eventually(t, "subscribed", func() bool { return f.publisher.count.Load() == 1 })
	require.Equal(t, absent, f.get("k"))
	resume()
	require.NoError(t, receive(t, "commit", done))
	require.Equal(t, "k", receive(t, "the update", got))
	cancel()
	require.ErrorIs(t, receive(t, "end", ended), context.Canceled)
}

// TestSpilledLoadIsNoForeignWrite: a load's batch stands at the timestamp of a commit that only
// Badger has.
func TestSpilledLoadIsNoForeignWrite(t *testing.T) {
	f := open(t)
	f.put("direct", "1")
	free := f.occupy(f.share(0.95))
	l := f.NewKVLoader(1)
	require.NoError(t, l.Set(&pb.KV{Key: []byte("k"), Value: []byte("1"), Version: 1}))
	require.NoError(t, l.Finish())
	free()
	require.Equal(t, Spilling, f.routerState())
	dir := crash(t, f.opt.Dir)
	require.NoError(t, os.Remove(filepath.Join(dir, marker.InterlockName))) // killed within an Open
	g := openAt(t, dir)
	require.Equal(t, "1", g.get("direct"))
	require.Equal(t, "1", g.get("k"))
}

// TestHedgedLoadIsNoForeignWrite is the same for a load that was on its way to Badger and is
// hedged.
func TestHedgedLoadIsNoForeignWrite(t *testing.T) {
	f := open(t)
	f.put("direct", "1")
	f.stub.holdAnswers()
	l := f.NewKVLoader(1)
	require.NoError(t, l.Set(&pb.KV{Key: []byte("k"), Value: []byte("1"), Version: 1}))
	finished := async(l.Finish)
	eventually(t, "Badger has the load", func() bool { return f.stub.waiting() == 1 })
	require.NoError(t, f.pipe.TurnToSpill(pipeline.CauseStall))
	require.NoError(t, receive(t, "the load", finished))
	dir := crash(t, f.opt.Dir)
	require.NoError(t, os.Remove(filepath.Join(dir, marker.InterlockName))) // killed within an Open
	g := openAt(t, dir)
	require.Equal(t, "1", g.get("direct"))
	require.Equal(t, "1", g.get("k"))
}

// Close gives up a chunk that is begun, and so does a drop: one after the other.
func TestCloseDuringDropWithAChunkBegun(t *testing.T) {
	f := open(t, sorted, func(opt *Options) { opt.KeepSpillOnClose = true })
	f.spillMany(100, 100, 200)
	p, err := f.feed.Replay(f.ctx, 1000)
	require.NoError(t, err)
	require.True(t, p.Midway)
	dropping, openingEnded := make(chan struct{}), make(chan struct{})
	f.hooks.set(func(op, path string) error {
		if op == "rename" && path == filepath.Join(f.opt.Dir, "spill", "MANIFEST") {
			close(dropping)
			<-openingEnded
		}
		return nil
	})
	dropped := async(f.DropAll)
	receive(t, "the spill is dropped", dropping)
	f.hooks.clear()
	closed := async(f.Close)
	eventually(t, "replay has stopped", func() bool { return f.replayer.State() == replay.Stopped })
	never(t, 20*time.Millisecond, "Close does not wait for the drop", func() bool { return len(closed) > 0 })
	close(openingEnded)
	require.NoError(t, receive(t, "end of DropAll", dropped))
	require.NoError(t, receive(t, "end of Close", closed))
}

// TestInterruptedDropWithoutASpill: a database whose spill is not made yet must open again after a
// DropAll that was interrupted, wherever that was.
func TestInterruptedDropWithoutASpill(t *testing.T) {
	for _, at := range []struct{ op, name string }{
		{"rename", marker.DropName}, // before it is announced
		{"remove", marker.DropName}, // before that is withdrawn
	} {
		t.Run(at.op, func(t *testing.T) {
			f := open(t, noSpill)
			f.put("k", "v")
			var dir string
			f.hooks.set(func(op, path string) error {
				if dir == "" && op == at.op && filepath.Base(path) == at.name {
					dir = crash(t, f.opt.Dir)
				}
				return nil
			})
			require.NoError(t, f.DropAll())
			f.hooks.clear()
			require.NotEmpty(t, dir)
			again, err := tryOpen(t, dir, noSpill)
			require.NoError(t, err)
			want := absent
			if at.op == "rename" {
				want = "v"
			}
			require.Equal(t, want, again.get("k"))
		})
	}
}
