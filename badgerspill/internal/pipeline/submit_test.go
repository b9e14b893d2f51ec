//go:build go1.25

package pipeline

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// Commits go to Badger, one by one, and nobody touches the spill.
func TestCommitsGoToBadger(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var keys []string
		for i := range 20 {
			keys = append(keys, fmt.Sprint(i))
			succeeded(t, w.put(keys[i]))
			require.Equal(t, keys, w.badger.keys())
		}
		for i, entries := range w.badger.carried {
			require.Equal(t, keys[i], string(entries[0].Key))
			require.Equal(t, "v", string(entries[0].Value))
		}
		require.Equal(t, Direct, w.State())
		require.EqualValues(t, 20, w.Counters.Direct.Load())
		require.Zero(t, w.Counters.Spilled.Load()+w.Counters.Hedged.Load())
		require.Empty(t, w.log.history)
		require.Empty(t, w.log.rotated)
		require.Empty(t, w.audience.notes())
		require.Empty(t, w.audience.appends)
		w.room.nothing()
	})
}

// An error of Badger's is the outcome of its commit alone, and nothing turns because of it.
func TestBadgersErrorIsItsCommitsOutcome(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		all := w.putInOrder("a", "bad", "b")
		answers := w.badger.taken()
		answers[1](errFake)
		answers[0](nil)
		answers[2](nil)
		succeeded(t, all[0], all[2])
		require.ErrorIs(t, all[1].err, errFake)
		require.EqualValues(t, 13, w.Visible())
		succeeded(t, w.put("c"))
		require.Equal(t, Direct, w.State())
		require.Empty(t, w.log.history)
		require.EqualValues(t, 3, w.Counters.Direct.Load())
		require.Empty(t, w.audience.notes())
		w.room.nothing()
	})
}

// A claim that fails gives everything back; if the spill counts as full now, another way is tried.
func TestClaimFails(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("again ", again), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.room.spills = true
				w.room.claimErr = func(way wbm.Outcome) (bool, error) {
					if way == wbm.Spilled {
						w.room.full = true
						return again, errFake
					}
					return false, errFake
				}
				o := w.put("a")
				synctest.Wait()
				require.ErrorIs(t, o.err, errFake)
				require.Len(t, w.room.reserved, map[bool]int{false: 1, true: 2}[again])
				w.room.nothing()
			})
		})
	}
}

// The first group fails: it goes to Badger, and what was queued behind it, in order.
func TestFirstAppendFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.log.fail = errFake
		require.NoError(t, w.TurnToSpill(CauseRate))
		w.log.gate = make(chan struct{})
		all := w.putInOrder("a", "b")
		close(w.log.gate)
		succeeded(t, all...)
		require.Equal(t, []string{"a", "b"}, w.badger.keys())
		require.Equal(t, Direct, w.State())
		require.Contains(t, w.audience.notes(), "given up")
		require.NotZero(t, w.room.failed)
		require.ErrorIs(t, w.audience.turns[0].Err, errFake)
		w.room.nothing()
	})
}

// While the first append fails the next commit already waits in the log's queue. It makes the spill
// live, so no later commit may go to Badger.
func TestFirstAppendFailsWithAFollower(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		gate := make(chan struct{})
		w.log.write(gate, errFake)
		w.room.set(func() { w.room.spills = true })
		first := w.putInOrder("a")
		w.log.write(nil, nil)
		second := w.putInOrder("b")
		require.Equal(t, 2, w.Status().InLine)
		w.room.set(func() { w.room.spills = false })
		close(gate)
		succeeded(t, append(first, second...)...)
		require.Equal(t, []string{"a"}, w.badger.keys())
		require.Equal(t, []string{"b"}, w.log.appended())
		require.Equal(t, Spilling, w.State())
		succeeded(t, w.put("c"))
		require.Equal(t, []string{"b", "c"}, w.log.appended(), "the spill would hide it in Badger")
		require.Equal(t, []string{"memory", "append failed"}, w.audience.notes(), "the spill is not given up")
		_, turned, err := w.HandOver(time.Second, w.log.replayed)
		require.NoError(t, err)
		require.True(t, turned)
		succeeded(t, w.put("d"))
		require.Equal(t, []string{"a", "d"}, w.badger.keys())
		w.room.nothing()
	})
}

// It fails if the spill holds something, if Badger takes no writes, and under Always.
func TestAppendFailsForGood(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"live spill": func(w *world) { succeeded(w.t, w.put("first")) },
		"held":       func(w *world) { w.room.held = true },
		"always":     func(w *world) { require.NoError(w.t, w.Adopt(true, true, func() {})) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				require.NoError(t, w.TurnToSpill(CauseRate))
				change(w)
				w.log.fail = errFake
				o := w.put("a")
				synctest.Wait()
				require.ErrorIs(t, o.err, errFake)
				require.Empty(t, w.badger.keys())
				w.room.nothing()
			})
		})
	}
}

// The list of a commit's entries is cleared for the next commit once the spill has acknowledged it.
// What Badger has got is left to it.
func TestEntriesAfterTheAcknowledgement(t *testing.T) {
	for _, spilled := range []bool{false, true} {
		t.Run(fmt.Sprint("spilled ", spilled), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				if spilled {
					require.NoError(t, w.TurnToSpill(CauseRate))
				}
				w.badger.hold()
				s := w.begin()
				c := w.NewCommit(2, 0, false, nil)
				for range 2 {
					w.Add(c, spillfile.Entry{Key: []byte("k")})
				}
				require.NoError(t, w.Submit(context.Background(), 0, s, c))
				entries := c.Entries
				w.badger.answer(nil, false)
				require.NoError(t, w.Await(c))
				require.Nil(t, c.Entries)
				require.Equal(t, spilled, entries[1].Key == nil)
			})
		})
	}
}

// Room may ask for a turn to the spill: then that is made, and room is asked again.
func TestRoomAsksForATurn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		first := w.putInOrder("a")
		w.room.set(func() { w.room.turns = []Cause{CauseSpace, CauseHeld} })
		// The second finds the turn made.
		second := w.putInOrder("b")
		succeeded(t, append(first, second...)...)
		require.Equal(t, []string{"space"}, w.audience.notes())
		require.Equal(t, []string{"a", "b"}, w.log.appended())
		require.Equal(t, []string{"a"}, w.badger.keys())
		w.badger.answer(nil, false)
		synctest.Wait()
		w.room.nothing()
	})
}

// If there is no spill to turn to by then, room says what else there is. While commits are refused
// this one is, too, and when its context has ended meanwhile it is given up.
func TestRoomAsksForATurnThatCannotBe(t *testing.T) {
	t.Run("no spill", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.room.full, w.room.turns = true, []Cause{CauseHeld}
			succeeded(t, w.put("a"))
			require.Equal(t, Direct, w.State())
			require.Equal(t, []string{"a"}, w.badger.keys())
			w.room.nothing()
		})
	})
	t.Run("refused", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			resume, err := w.Stop()
			require.NoError(t, err)
			w.room.turns = []Cause{CauseHeld}
			o := w.put("a")
			synctest.Wait()
			require.Equal(t, badger.ErrBlockedWrites, o.err)
			require.Empty(t, w.room.reserved)
			resume()
			w.room.nothing()
		})
	})
	t.Run("given up", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.badger.hold()
			first := w.putInOrder("a")
			w.room.set(func() { w.room.turns = []Cause{CauseSpace} })
			w.log.gate = make(chan struct{})
			ctx, cancel := context.WithCancel(context.Background())
			o := w.putIn(ctx, w.begin(), "b")
			synctest.Wait()
			require.False(t, o.known(), "the hedge is not in the spill yet")
			cancel()
			close(w.log.gate)
			synctest.Wait()
			require.ErrorIs(t, o.err, context.Canceled)
			succeeded(t, first...)
			require.Equal(t, []string{"a"}, w.log.appended())
			w.badger.answer(nil, false)
			synctest.Wait()
			w.room.nothing()
		})
	})
}
