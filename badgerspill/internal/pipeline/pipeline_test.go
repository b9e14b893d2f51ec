//go:build go1.25

package pipeline

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// bubble runs a test of a new world in time that passes when nothing else can.
func bubble(t *testing.T, test func(t *testing.T, w *world), change ...func(*Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, change...)) })
}

// putInOrder commits keys one after the other, each when the one before has its place.
func (w *world) putInOrder(keys ...string) (outcomes []*outcome) {
	for _, k := range keys {
		outcomes = append(outcomes, w.put(k))
		synctest.Wait()
	}
	return outcomes
}

func knownOnes(outcomes []*outcome) (known []bool) {
	for _, o := range outcomes {
		known = append(known, o.known())
	}
	return known
}

func succeeded(t *testing.T, outcomes ...*outcome) {
	t.Helper()
	synctest.Wait()
	for i, o := range outcomes {
		require.True(t, o.known(), "commit %d has an outcome", i)
		require.NoError(t, o.err, "commit %d", i)
	}
}

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

// An error of Badger's is the outcome of its commit alone.
func TestBadgersErrorIsItsCommitsOutcome(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		all := w.putInOrder("a", "b")
		w.badger.kept()[0](errFake)
		w.badger.kept()[1](nil)
		synctest.Wait()
		require.ErrorIs(t, all[0].err, errFake)
		succeeded(t, all[1])
		w.room.nothing()
	})
}

// A commit that the tier sends to the spill is behind all that is in flight there, with their
// timestamps; they are acknowledged from there.
func TestTurnHedgesWhatIsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		direct := w.putInOrder("a", "b")
		w.room.set(func() { w.room.spills = true })
		later := w.putInOrder("c")
		succeeded(t, append(direct, later...)...)
		require.Equal(t, []string{"a", "b", "c"}, w.log.appended())
		require.Equal(t, []string{"a", "b"}, w.badger.keys())
		require.Equal(t, []uint64{12}, w.log.rotated, "through which timestamp Badger may have more")
		require.Equal(t, Spilling, w.State())
		require.EqualValues(t, 2, w.Counters.Hedged.Load())
		require.EqualValues(t, 1, w.Counters.Spilled.Load())
		require.Equal(t, []string{"memory"}, w.audience.notes())
		w.badger.answer(nil, true)
		synctest.Wait()
		require.Zero(t, w.Counters.Direct.Load())
		w.room.nothing()
	})
}

// What Badger has answered before an earlier commit is hedged, too: the spill would hide it.
func TestTurnHedgesWhatIsNotAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		all := w.putInOrder("a", "b")
		w.badger.kept()[1](nil)
		require.NoError(t, w.TurnToSpill(CauseRate))
		succeeded(t, all...)
		require.Equal(t, []string{"a", "b"}, w.log.appended())
		w.badger.kept()[0](nil)
		w.room.nothing()
	})
}

// What Badger gets is a copy: it may read it after the commit was acknowledged from the spill.
func TestBadgerGetsACopy(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		s, key := w.begin(), []byte("a")
		c := w.NewCommit(1, 0, false, nil)
		w.Add(c, spillfile.Entry{Key: key, Value: key})
		require.NoError(t, w.Submit(context.Background(), 0, s, c))
		sent := c.Entries[0]
		require.NoError(t, w.TurnToSpill(CauseRate))
		require.NoError(t, w.Await(c))
		key[0] = 'x'
		require.Equal(t, "a", string(sent.Key))
		require.Equal(t, "a", string(sent.Value))
		require.Nil(t, c.Entries, "an acknowledged commit keeps nothing alive")
	})
}

// Badger's error after the spill has a commit changes nothing; before, the spill decides.
func TestHedgeSavesWhatBadgerRefuses(t *testing.T) {
	for _, failing := range []bool{false, true} {
		t.Run(fmt.Sprint("the spill fails ", failing), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.badger.hold()
				w.log.gate = make(chan struct{})
				if failing {
					w.log.fail = errFake
				}
				direct := w.putInOrder("a")
				go func() { _ = w.TurnToSpill(CauseRate) }()
				synctest.Wait()
				refused := fmt.Errorf("refused")
				w.badger.answer(refused, false)
				synctest.Wait()
				require.False(t, direct[0].known())
				close(w.log.gate)
				synctest.Wait()
				if failing {
					require.ErrorIs(t, direct[0].err, refused)
				} else {
					succeeded(t, direct...)
				}
				w.room.nothing()
			})
		})
	}
}

// The oldest commit in flight is waited for as long as StallThreshold, to the nanosecond.
func TestStall(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.Equal(t, 20*time.Millisecond, w.CheckStall())
		w.badger.hold()
		first := w.putInOrder("a")
		time.Sleep(15 * time.Millisecond)
		second := w.putInOrder("b")
		require.Equal(t, 5*time.Millisecond, w.CheckStall())
		time.Sleep(5*time.Millisecond - 1)
		require.EqualValues(t, 1, w.CheckStall())
		require.Equal(t, Direct, w.State())
		time.Sleep(time.Nanosecond)
		w.CheckStall()
		require.Equal(t, Spilling, w.State())
		succeeded(t, append(first, second...)...)
		require.Equal(t, []string{"stall begins", "stall"}, w.audience.notes())
		w.audience.cause = 2
		w.CheckStall()
		require.Equal(t, 2, w.Status().StallCause, "the most exact so far")
		w.badger.answer(nil, false)
		require.Equal(t, []string{"stall begins", "stall", "stall ends"}, w.audience.notes())
		require.Equal(t, -1, w.Status().StallCause)
	})
}

// A negative StallThreshold waits for Badger, and a spill that is full does, too.
func TestNoStallTurns(t *testing.T) {
	for name, change := range map[string]func(*world){
		"negative": func(w *world) { w.opt.StallThreshold = -1 },
		"full":     func(w *world) { w.room.full = true },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				change(w)
				w.badger.hold()
				all := w.putInOrder("a")
				time.Sleep(time.Hour)
				w.CheckStall()
				require.Equal(t, Direct, w.State())
				require.False(t, all[0].known())
				w.badger.answer(nil, false)
				succeeded(t, all...)
			})
		})
	}
}

// More than MaxInFlight do not go to Badger: the spill takes them, or they wait for an answer.
func TestFullQueue(t *testing.T) {
	for _, full := range []bool{false, true} {
		t.Run(fmt.Sprint("spill full ", full), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.badger.hold()
				w.room.full = full
				var all []*outcome
				for i := range MaxInFlight {
					all = append(all, w.put(fmt.Sprint(i)))
				}
				synctest.Wait()
				more := w.put("more")
				synctest.Wait()
				require.Len(t, w.badger.keys(), MaxInFlight)
				if full {
					require.False(t, more.known())
					require.True(t, w.Status().Waiting)
					require.Equal(t, Direct, w.State())
					w.badger.answer(nil, true)
				} else {
					require.Equal(t, []string{"queue"}, w.audience.notes())
					require.Equal(t, "more", w.log.appended()[MaxInFlight])
				}
				succeeded(t, append(all, more)...)
				w.badger.answer(nil, false)
				synctest.Wait()
				w.room.nothing()
			})
		})
	}
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

// The parts sum up to the whole, and a commit that nobody measures takes no time for them.
func TestTrace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		trace := new(Trace)
		trace.Start()
		s := w.begin()
		c := w.commit(s, "a", trace)
		require.NoError(t, w.Submit(context.Background(), 0, s, c))
		time.AfterFunc(time.Second, func() { w.badger.answer(nil, false) })
		require.NoError(t, w.Await(c))
		require.Equal(t, ByBadger, trace.By)
		require.Equal(t, time.Second, trace.Spent[PartToBadger])
		require.Equal(t, time.Second, trace.Total)

		var none *Trace
		c.Batch = spillfile.NewBatch()
		require.Zero(t, testing.AllocsPerRun(100, func() {
			none.Start()
			none.ended(PartRoom)
			none.wasSent()
			none.wasHedged()
			none.answeredBadger(nil)
			none.answeredSpill(c.Batch, nil)
			none.finish(c)
			none.failed()
			if none.batchTimes() != nil {
				t.Fatal("times that nobody asks for")
			}
		}))
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
