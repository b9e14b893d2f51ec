//go:build go1.25

package pipeline

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/wbm"
)

// More than MaxInFlight do not go to Badger: the spill takes them, or they wait for an answer.
func TestFullQueue(t *testing.T) {
	for name, change := range map[string]func(*world){
		"spill":      func(*world) {},
		"full spill": func(w *world) { w.room.full = true },
		"no spill":   func(w *world) { w.env.Log = nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				change(w)
				w.badger.hold()
				var all []*outcome
				for i := range MaxInFlight {
					all = append(all, w.put(fmt.Sprint(i)))
				}
				synctest.Wait()
				require.Equal(t, Direct, w.State())
				require.NotContains(t, knownOnes(all), true)
				require.Len(t, w.badger.keys(), MaxInFlight)
				more := w.put("more")
				synctest.Wait()
				require.Len(t, w.badger.keys(), MaxInFlight)
				if name == "spill" {
					succeeded(t, append(all, more)...)
					require.Equal(t, []string{"queue"}, w.audience.notes())
					require.Equal(t, []int{MaxInFlight}, w.audience.hedged)
					require.EqualValues(t, 1, w.Counters.SpillStarts[CauseQueue].Load())
					require.Equal(t, append(w.badger.keys(), "more"), w.log.appended())
				} else {
					require.False(t, more.known())
					require.True(t, w.Status().Waiting)
					require.Equal(t, Direct, w.State())
				}
				w.badger.answer(nil, true)
				succeeded(t, append(all, more)...)
				w.room.nothing()
			})
		})
	}
}

// The queue to Badger is full when the turn to the spill fails at its first append. Who has come
// meanwhile gets no error of the spill's disk: Badger is merely slow.
func TestQueueFullAndFirstAppendFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		var all []*outcome
		for i := range MaxInFlight {
			all = append(all, w.put(fmt.Sprint(i)))
		}
		synctest.Wait()
		gate := make(chan struct{})
		w.log.write(gate, errFake)
		w.room.set(func() { w.room.shuns = true })
		all = append(all, w.put("turns")) // it appends the hedges before it has a place
		synctest.Wait()
		require.Equal(t, Spilling, w.State())
		all = append(all, w.put("late"))
		synctest.Wait()
		require.Equal(t, MaxInFlight+1, w.Status().InLine)
		close(gate)
		time.Sleep(time.Second)
		require.Equal(t, Direct, w.State())
		require.Equal(t, "late", w.badger.keys()[MaxInFlight])
		require.NotContains(t, knownOnes(all), true)
		w.badger.answer(nil, false)
		succeeded(t, all...)
		require.Empty(t, w.log.history)
		w.room.nothing()
	})
}

// What waits for an answer takes the spill as soon as that is there again.
func TestFullQueueLooksAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		w.room.full = true
		for i := range MaxInFlight {
			w.put(fmt.Sprint(i))
		}
		synctest.Wait()
		more := w.put("more")
		synctest.Wait()
		w.room.set(func() { w.room.full = false })
		w.LookAgain()
		succeeded(t, more)
		require.Equal(t, Spilling, w.State())
	})
}

// And where another commit, or the clock, has turned to it.
func TestFullQueueTakesTheTurn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		w.room.full = true
		for i := range MaxInFlight {
			w.put(fmt.Sprint(i))
		}
		synctest.Wait()
		more := w.put("more")
		synctest.Wait()
		w.room.set(func() { w.room.full = false })
		require.NoError(t, w.TurnToSpill(CauseRate))
		succeeded(t, more)
	})
}

// A commit waits for its place as long as its context, BlockTimeout and the database allow.
func TestWaits(t *testing.T) {
	for _, c := range []struct {
		name    string
		timeout time.Duration
		end     func(w *world, cancel func())
		want    error
		after   time.Duration
	}{
		{"no bound", 0, func(w *world, _ func()) { time.Sleep(time.Hour); close(w.room.blocked) }, nil, time.Hour},
		{"context", time.Minute, func(w *world, cancel func()) { time.Sleep(time.Second); cancel() }, context.Canceled, time.Second},
		{"BlockTimeout", time.Minute, func(*world, func()) {}, wbm.ErrWriteBlocked, time.Minute},
		{"closing", 0, func(w *world, _ func()) { time.Sleep(time.Second); w.Close(); w.cancel() }, badger.ErrBlockedWrites, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.room.blocked, w.timeout = make(chan struct{}), c.timeout
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				begin := time.Now()
				o := w.putIn(ctx, w.begin(), "a")
				synctest.Wait()
				c.end(w, cancel)
				<-o.done
				require.ErrorIs(t, o.err, c.want)
				require.Equal(t, c.after, time.Since(begin))
				w.room.nothing()
			})
		})
	}
}

// A negative BlockTimeout does not wait for a full queue, and does for a hand-over.
func TestNegativeBlockTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.timeout = -1
		open := w.HoldCommits()
		held := w.put("a")
		time.Sleep(time.Hour)
		require.False(t, held.known())
		open()
		succeeded(t, held)
		w.badger.hold()
		w.room.full = true
		for i := range MaxInFlight {
			w.put(fmt.Sprint(i))
		}
		synctest.Wait()
		o := w.put("more")
		synctest.Wait()
		require.ErrorIs(t, o.err, wbm.ErrWriteBlocked)
		require.EqualValues(t, 1, w.Counters.BlockTimeouts.Load())
		w.badger.answer(nil, false)
		synctest.Wait()
		w.room.nothing()
	})
}

// Who goes on asking after his context has ended starts no goroutine for each question.
func TestAwaitVisible(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		all := w.putInOrder("a")
		newest := w.Begin(&Snapshot{})
		require.Same(t, all[0].c, newest)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, newest.AwaitVisible(ctx), context.DeadlineExceeded)
		before := runtime.NumGoroutine()
		for range 100 {
			require.ErrorIs(t, newest.AwaitVisible(ctx), context.DeadlineExceeded)
		}
		require.Less(t, runtime.NumGoroutine(), before+50)
		w.badger.answer(nil, false)
		require.NoError(t, newest.AwaitVisible(context.Background()))
		require.Nil(t, w.Begin(&Snapshot{}))
	})
}

// A snapshot has the commits that are in flight when it is made, and waits for those alone. A write
// that has read nothing has its place at once.
func TestWhoWaitsForCommitsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		inFlight := w.putInOrder("k")
		created := &Snapshot{}
		seen := w.Begin(created)
		require.EqualValues(t, 11, created.ReadTs)
		blind := w.putInOrder("k")
		require.Equal(t, []string{"k", "k"}, w.badger.keys())
		later := &Snapshot{}
		newest := w.Begin(later)
		require.EqualValues(t, 12, later.ReadTs)

		read := make(chan uint64, 2)
		wait := func(s *Snapshot, c *Commit) {
			if c.AwaitVisible(context.Background()) == nil {
				read <- s.ReadTs
			}
		}
		go wait(later, newest)
		go wait(created, seen)
		time.Sleep(time.Hour)
		require.Empty(t, read, "a read before the commits it has to see")
		answers := w.badger.taken()
		answers[0](nil)
		succeeded(t, inFlight...)
		require.EqualValues(t, 11, <-read)
		time.Sleep(time.Hour)
		require.Empty(t, read)
		answers[1](nil)
		succeeded(t, blind...)
		require.EqualValues(t, 12, <-read)
	})
}

// Somebody who begins to listen while a commit waits for its place is told of it.
func TestListenerWhoComesMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		open := w.HoldCommits()
		o := w.put("a")
		synctest.Wait()
		w.audience.mu.Lock()
		w.audience.subscribers = 1
		w.audience.mu.Unlock()
		open()
		succeeded(t, o)
		require.Equal(t, []uint64{11}, w.audience.delivered)
	})
}
