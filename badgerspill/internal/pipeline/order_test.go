//go:build go1.25

package pipeline

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
	"github.com/badgerspill/badgerspill/spillfile"
)

// An answer to a later commit acknowledges nothing before the earlier ones have theirs.
func TestAcknowledgedInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		all := w.putInOrder("a", "b", "c")
		require.Equal(t, []string{"a", "b", "c"}, w.badger.keys())
		require.EqualValues(t, 10, w.Visible())
		answers := w.badger.kept()
		answers[2](nil)
		answers[1](nil)
		synctest.Wait()
		require.Equal(t, []bool{false, false, false}, knownOnes(all))
		require.EqualValues(t, 10, w.Visible())
		require.Equal(t, Status{InLine: 3, InFlight: 1, StallCause: -1, Remembered: w.Status().Remembered, Recent: w.Status().Recent}, w.Status())
		answers[0](nil)
		succeeded(t, all...)
		require.EqualValues(t, 13, w.Visible())
		require.Equal(t, []uint64{11, 12, 13}, []uint64{all[0].c.Ts, all[1].c.Ts, all[2].c.Ts})
		require.EqualValues(t, 3, w.Counters.Direct.Load())
		w.room.nothing()
	})
}

func TestConflicts(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		reader, blind := w.begin("k"), w.begin()
		first := w.putInOrder("k") // has its timestamp and no answer: it counts
		again := w.putIn(context.Background(), reader, "x")
		synctest.Wait()
		require.ErrorIs(t, again.err, badger.ErrConflict)
		more := w.putIn(context.Background(), blind, "y")
		synctest.Wait()
		w.badger.answer(nil, false)
		succeeded(t, first[0], more)
		succeeded(t, w.putIn(context.Background(), w.begin("k"), "z"))
		require.Zero(t, w.Status().Remembered, "nobody is left to conflict")
		w.room.nothing()
	})
}

// What Badger may discard is below the oldest reader, and nothing while that is held.
func TestDiscardable(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		discard := func() uint64 { _, ts := w.Progress(); return ts }
		require.Zero(t, discard(), "replay comes first")
		require.Zero(t, w.Discardable())
		w.Replayed(4)
		require.Zero(t, discard())
		w.Replayed(5)
		require.EqualValues(t, 10, discard())
		require.Equal(t, []string{"discard ended"}, w.audience.notes())
		old := w.begin()
		succeeded(t, w.put("a"), w.put("b"))
		require.EqualValues(t, 9, discard())
		w.HoldDiscard(true)
		require.Zero(t, discard())
		require.EqualValues(t, 9, w.Discardable())
		w.HoldDiscard(false)
		_, ended := w.End(old)
		require.True(t, ended)
		_, ended = w.End(old)
		require.False(t, ended)
		ts, _ := w.End(w.begin())
		require.EqualValues(t, 12, ts)
		require.EqualValues(t, 12, discard())
		require.Empty(t, w.badger.discarded, "only in managed mode is it told here")
	}, func(o *Options) { o.ReplayFirst = 5 })
}

func TestManagedDiscard(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.SetDiscardTs(7)
		w.HoldDiscard(true)
		w.SetDiscardTs(8)
		w.HoldDiscard(false)
		require.Equal(t, []uint64{7, 0, 8}, w.badger.discarded)
		require.EqualValues(t, 8, w.DiscardTs())
		require.EqualValues(t, 8, w.Discardable())
	}, func(o *Options) { o.Managed = true })
}

// A load takes no timestamp, and the log is told that timestamps say nothing about order.
func TestLoad(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.TurnToSpill(CauseRate))
		c := w.NewCommit(1, 0, true, nil)
		w.Add(c, spillfile.Entry{Key: []byte("a"), Version: 3})
		s := &Snapshot{}
		require.NoError(t, w.Submit(context.Background(), 0, s, c))
		require.NoError(t, w.Await(c))
		require.EqualValues(t, 10, c.Ts)
		require.EqualValues(t, spillfile.Unordered, w.log.rotated[len(w.log.rotated)-1])
		next, _ := w.Progress()
		require.EqualValues(t, 11, next)
		w.Raise(20)
		succeeded(t, w.put("b"))
		require.EqualValues(t, 21, w.Visible())
	})
}

// TestRandomOrder drives writers, turns, hand-overs, answers and failures at random. Whatever
// happens: acknowledged in order, nothing twice, nothing lost, nothing past the spill, and all room
// given back.
func TestRandomOrder(t *testing.T) {
	n := seed.Of(t)
	bubble(t, func(t *testing.T, w *world) {
		r := rand.New(rand.NewPCG(n, 0))
		var all []*outcome
		for i := range 3000 {
			switch r.IntN(12) {
			case 0:
				w.badger.hold()
			case 1:
				w.badger.answer(nil, r.IntN(2) == 0)
			case 2:
				w.room.set(func() { w.room.spills = r.IntN(2) == 0 })
			case 3:
				go w.CheckStall()
			case 4:
				go func() { _, _, _ = w.HandOver(time.Millisecond, w.log.replayed) }()
			case 5:
				w.room.set(func() { w.room.full = r.IntN(3) == 0 })
				w.LookAgain()
			case 6:
				w.log.mu.Lock()
				if w.log.fail = nil; r.IntN(4) == 0 {
					w.log.fail = errFake
				}
				w.log.mu.Unlock()
			case 7:
				time.Sleep(time.Duration(r.IntN(15)) * time.Millisecond)
			default:
				all = append(all, w.put(fmt.Sprint(i)))
			}
			if r.IntN(2) == 0 {
				synctest.Wait()
			}
		}
		w.log.mu.Lock()
		w.log.fail = nil
		w.log.mu.Unlock()
		w.room.set(func() { w.room.full = false })
		for range 10 {
			w.badger.answer(nil, true)
			w.LookAgain()
			time.Sleep(time.Second)
		}
		stamps, written := map[string]uint64{}, map[string]bool{}
		for i, o := range all {
			require.True(t, o.known(), "commit %d has no outcome", i)
			stamps[o.key] = o.c.Ts
			if written[o.key] = o.err == nil; o.err != nil {
				require.ErrorIs(t, o.err, errFake)
			}
		}
		for where, keys := range map[string][]string{"Badger": w.badger.keys(), "the log": w.log.history} {
			last := uint64(0)
			for _, k := range keys {
				require.Greater(t, stamps[k], last, "%s got %s out of order", where, k)
				last = stamps[k]
				delete(written, k)
			}
		}
		require.NotContains(t, slices.Collect(maps.Values(written)), true, "acknowledged, and nowhere")
		next, _ := w.Progress()
		require.Equal(t, next-1, w.Visible())
		require.Zero(t, w.Status().InLine+w.Status().InFlight)
		w.room.nothing()
	})
}
