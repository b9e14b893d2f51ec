//go:build go1.25

package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
)

// Closing waits until it is told that the spill holds nothing: what follows from that must not be
// done when the files are another's. No commit need be on its way any more by then.
func TestCloseWaitsForGivenUp(t *testing.T) {
	for name, held := range map[string]bool{"commits go to Badger": false, "commits fail": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				require.NoError(t, w.TurnToSpill(CauseRate))
				w.log.fail, w.room.held, w.audience.gate = errFake, held, make(chan struct{})
				w.put("a")
				synctest.Wait()
				w.Close()
				w.Settle()
				closed := make(chan struct{})
				go func() {
					defer close(closed)
					w.env.Background.Wait()
				}()
				synctest.Wait()
				select {
				case <-closed:
					t.Error("nothing is waited for")
				default:
				}
				close(w.audience.gate)
				<-closed
				require.Contains(t, w.audience.notes(), "given up")
			})
		})
	}
}

// Stop refuses, waits for what is on its way, and lets commits through again.
func TestStop(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		first := w.putInOrder("a")
		var resume func()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			resume, _ = w.Stop()
		}()
		synctest.Wait()
		refused := w.put("b")
		synctest.Wait()
		require.Equal(t, badger.ErrBlockedWrites, refused.err)
		require.ErrorIs(t, w.TurnToSpill(CauseRate), badger.ErrBlockedWrites)
		require.False(t, w.HoldDirect())
		_, err := w.Stop()
		require.ErrorIs(t, err, badger.ErrBlockedWrites)
		w.badger.answer(nil, false)
		<-stopped
		succeeded(t, first...)
		w.Because(errFake)
		refused = w.put("b")
		synctest.Wait()
		require.ErrorIs(t, refused.err, errFake)
		resume()
		succeeded(t, w.put("c"))
		w.room.nothing()
	})
}

// A hedge that Badger has answered may be appended yet: Stop waits for that, too.
func TestStopWaitsForHedges(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		all := w.putInOrder("a")
		w.log.gate = make(chan struct{})
		go func() { _ = w.TurnToSpill(CauseRate) }()
		synctest.Wait()
		w.badger.answer(nil, false)
		succeeded(t, all...)
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			_, _ = w.Stop()
		}()
		time.Sleep(time.Minute)
		select {
		case <-stopped:
			require.Fail(t, "a hedge is on its way")
		default:
		}
		close(w.log.gate)
		<-stopped
		require.Equal(t, []string{"a"}, w.log.appended())
	})
}

// A commit that was admitted before Close gets no place after it.
func TestCloseBetweenAdmissionAndPlace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		open := w.HoldCommits()
		o := w.put("a")
		synctest.Wait()
		w.Close()
		open()
		synctest.Wait()
		require.ErrorIs(t, o.err, badger.ErrBlockedWrites)
		require.Empty(t, w.badger.keys())
		w.room.nothing()
	})
}

func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		first := w.putInOrder("a")
		require.True(t, w.Hold())
		w.Close()
		require.True(t, w.Closed())
		require.False(t, w.Hold())
		late := w.put("b")
		synctest.Wait()
		require.ErrorIs(t, late.err, badger.ErrBlockedWrites)
		settled := make(chan struct{})
		go func() {
			defer close(settled)
			w.Settle()
		}()
		synctest.Wait()
		require.False(t, first[0].known())
		w.badger.answer(nil, false)
		<-settled
		succeeded(t, first...)
	})
}
