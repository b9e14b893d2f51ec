//go:build go1.25

package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// I1: if the router should ever be wrong, a commit fails before it passes what is in the spill.
func TestNoCommitPassesTheSpill(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.TurnToSpill(CauseRate))
		succeeded(t, w.put("a"))
		w.mu.Lock()
		w.turn(Direct)
		w.mu.Unlock()
		o := w.put("b")
		synctest.Wait()
		require.ErrorIs(t, o.err, ErrPastTheSpill)
		require.Empty(t, w.badger.keys())
		w.room.nothing()
	})
}

// Between the encoding of a commit for the spill and its place the router turned back.
func TestAdmittedForTheSpillAndPlacedDirect(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.room.active = true // the router is Direct
		w.room.claimErr = func(wbm.Outcome) (bool, error) {
			w.room.active = false
			return false, nil
		}
		o := w.put("a")
		succeeded(t, o)
		require.Equal(t, []wbm.Outcome{wbm.Spilled, wbm.Direct}, w.room.reserved)
		require.Equal(t, []string{"a"}, w.badger.keys())
		require.Empty(t, w.log.appended())
		w.room.nothing()
	})
}

// And the other way round: Badger's transaction is given up.
func TestAdmittedForBadgerAndPlacedInTheSpill(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		once := true
		w.room.claimErr = func(wbm.Outcome) (bool, error) {
			if once {
				once = false
				w.room.mu.Unlock()
				defer w.room.mu.Lock()
				require.NoError(t, w.TurnToSpill(CauseRate))
			}
			return false, nil
		}
		succeeded(t, w.put("a"))
		require.Equal(t, []string{"a"}, w.log.appended())
		require.Empty(t, w.badger.keys())
		require.Equal(t, 1, w.badger.given)
		w.room.nothing()
	})
}

// HandOver: who comes meanwhile waits, and goes to Badger then.
func TestHandOver(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.TurnToSpill(CauseRate))
		succeeded(t, w.put("a"))
		var waits *outcome
		step := make(chan struct{})
		w.log.gate = make(chan struct{})
		slow := w.put("b") // the queue must run empty first
		synctest.Wait()
		result := make(chan []any, 1)
		go func() {
			done, turned, err := w.HandOver(time.Second, func() (bool, error) {
				<-step
				return w.log.replayed()
			})
			result <- []any{done, turned, err}
		}()
		synctest.Wait()
		waits = w.put("c")
		synctest.Wait()
		require.False(t, waits.known())
		time.Sleep(time.Millisecond)
		close(w.log.gate)
		w.log.gate = nil
		time.Sleep(time.Millisecond)
		succeeded(t, slow)
		close(step)
		synctest.Wait()
		require.Equal(t, []any{true, true, nil}, <-result)
		require.Equal(t, Direct, w.State())
		succeeded(t, waits)
		require.Equal(t, []string{"c"}, w.badger.keys())
		require.Equal(t, []string{"rate", "badger"}, w.audience.notes())
		require.EqualValues(t, 1, w.Counters.HandOvers.Load())
		require.GreaterOrEqual(t, w.audience.turns[0].Held, 2*time.Millisecond)
		require.Equal(t, 1, w.log.relieve)
		w.room.nothing()
	})
}

// The event and the counter stand for a turn back to Badger: in the state Direct there is none.
func TestHandOverOfNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		none := func() {
			t.Helper()
			done, turned, err := w.HandOver(time.Second, func() (bool, error) { panic("called") })
			require.NoError(t, err)
			require.True(t, done)
			require.False(t, turned)
		}
		succeeded(t, w.put("a"))
		none()
		require.Zero(t, w.Counters.HandOvers.Load())
		require.NoError(t, w.TurnToSpill(CauseRate))
		succeeded(t, w.put("b"))
		_, turned, err := w.HandOver(time.Second, w.log.replayed)
		require.NoError(t, err)
		require.True(t, turned)
		none()
		require.EqualValues(t, 1, w.Counters.HandOvers.Load())
		require.Equal(t, []string{"rate", "badger"}, w.audience.notes())
	})
}

// There is none while something is on its way, when the last step says no, and under Always.
func TestNoHandOver(t *testing.T) {
	never := func() (bool, error) { panic("called") }
	for name, c := range map[string]struct {
		before func(w *world)
		last   func() (bool, error)
		done   bool
		err    error
	}{
		"in flight": {func(w *world) {
			w.badger.hold()
			w.putInOrder("a")
			_ = w.TurnToSpill(CauseRate)
		}, never, false, nil},
		"queued": {func(w *world) {
			_ = w.TurnToSpill(CauseRate)
			w.log.gate = make(chan struct{})
			w.putInOrder("a")
			time.AfterFunc(time.Hour, func() { close(w.log.gate) })
		}, never, false, nil},
		"hedges queued": {func(w *world) {
			w.badger.hold()
			w.putInOrder("a")
			w.log.gate = make(chan struct{})
			go func() { _ = w.TurnToSpill(CauseRate) }()
			synctest.Wait()
			w.badger.answer(nil, false)
			time.AfterFunc(time.Hour, func() { close(w.log.gate) })
		}, never, false, nil},
		"more is left": {func(w *world) { _ = w.TurnToSpill(CauseRate) }, func() (bool, error) { return false, nil }, false, nil},
		"an error":     {func(w *world) { _ = w.TurnToSpill(CauseRate) }, func() (bool, error) { return true, errFake }, true, errFake},
		"always": {func(w *world) {
			_ = w.Adopt(true, true, func() {})
		}, func() (bool, error) { return true, nil }, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				c.before(w)
				done, turned, err := w.HandOver(time.Millisecond, c.last)
				require.Equal(t, c.done, done)
				require.False(t, turned)
				require.Equal(t, c.err, err)
				require.Equal(t, Spilling, w.State())
				time.Sleep(2 * time.Hour)
				w.badger.answer(nil, false)
				synctest.Wait()
			})
		})
	}
}

// A group that the log has answered, and the pipeline has not heard of: a hand-over in between
// would let later commits pass it.
func TestNoHandOverBetweenAFailedGroupAndItsNews(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.TurnToSpill(CauseRate))
		s := w.begin()
		c := w.commit(s, "a", nil)
		require.NoError(t, w.Submit(context.Background(), 0, s, c))
		w.log.queue, w.log.queued = nil, 0 // written, or not: nobody was told
		done, turned, err := w.HandOver(time.Millisecond, func() (bool, error) { panic("called") })
		require.NoError(t, err)
		require.False(t, done || turned)
		w.Spilled([]*spillfile.Batch{c.Batch}, errFake)
		require.Equal(t, Direct, w.State())
		synctest.Wait()
		require.Equal(t, []string{"a"}, w.badger.keys())
		require.EqualValues(t, 11, w.Visible())
	})
}
