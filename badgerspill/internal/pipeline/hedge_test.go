//go:build go1.25

package pipeline

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
)

// A commit that the tier sends to the spill is behind all that is in flight there, with their
// timestamps; they are acknowledged from there.
func TestTurnHedgesWhatIsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		require.False(t, w.InFlight())
		direct := w.putInOrder("a", "b")
		require.True(t, w.InFlight())
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
		require.Equal(t, []int{2}, w.audience.hedged)
		require.True(t, w.InFlight(), "until Badger has answered")
		w.badger.answer(nil, true)
		synctest.Wait()
		require.False(t, w.InFlight())
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
		require.NoError(t, w.TurnToSpill(CauseRate))
		require.NoError(t, w.Await(c))
		key[0] = 'x'
		sent := w.badger.carried[0][0]
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
					require.Empty(t, w.log.history)
					require.Equal(t, Direct, w.State())
				} else {
					succeeded(t, direct...)
					require.Equal(t, []string{"a"}, w.log.appended())
				}
				w.log.write(nil, nil)
				succeeded(t, w.put("later"))
				w.room.nothing()
			})
		})
	}
	t.Run("acknowledged before", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.badger.hold()
			direct := w.putInOrder("a")
			time.Sleep(20 * time.Millisecond)
			w.CheckStall()
			succeeded(t, direct...)
			w.badger.answer(errFake, false)
			synctest.Wait()
			require.Equal(t, []string{"a"}, w.log.appended())
			require.Equal(t, []string{"stall begins", "stall", "stall ends"}, w.audience.notes())
			require.Zero(t, w.Counters.Direct.Load())
			require.Equal(t, Spilling, w.State())
			require.False(t, w.InFlight())
			w.room.nothing()
		})
	})
}

// A stall finds a spill that cannot be written. Badger has the commits, and answers later.
func TestFirstHedgeFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		w.log.write(nil, errFake)
		all := w.putInOrder("a")
		time.Sleep(20 * time.Millisecond)
		w.CheckStall()
		require.Equal(t, Direct, w.State())
		all = append(all, w.putInOrder("b")...)
		require.Equal(t, []bool{false, false}, knownOnes(all))
		require.Equal(t, []string{"a", "b"}, w.badger.keys())
		w.badger.answer(nil, false)
		succeeded(t, all...)
		require.Empty(t, w.log.history)
		require.Equal(t, []string{"stall begins", "stall", "badger", "given up", "append failed", "stall ends"}, w.audience.notes())
		require.EqualValues(t, 2, w.Counters.Direct.Load())
		w.room.nothing()
	})
}

// A commit that was meant for the spill, went to Badger since that failed, and is hedged there,
// gives back what it claimed on the disks.
func TestClaimsOfAHedgeAfterAFailedAppend(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		w.log.write(nil, errFake)
		w.room.set(func() { w.room.spills = true })
		o := w.putInOrder("a")
		require.Equal(t, []string{"a"}, w.badger.keys())
		require.False(t, o[0].known())
		w.room.set(func() { w.room.spills = false })
		w.log.write(nil, nil)
		require.NoError(t, w.TurnToSpill(CauseStall))
		succeeded(t, o...)
		require.Equal(t, []string{"a"}, w.log.appended())
		require.EqualValues(t, 2, w.room.claims, "of Badger, which has not answered")
		w.badger.answer(nil, false)
		synctest.Wait()
		w.room.nothing()
	})
}

// What is written to the log counts, hedges as well, and what could not be written does not. A
// hedge is no append of its writer's: he waits for Badger.
func TestBytesSpilled(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		succeeded(t, w.put("before"))
		require.Zero(t, w.Counters.SpilledBytes.Load())
		w.badger.hold()
		hedge := w.putInOrder("a")
		require.NoError(t, w.TurnToSpill(CauseStall))
		succeeded(t, hedge...)
		hedged := w.Counters.SpilledBytes.Load()
		require.Positive(t, hedged)
		succeeded(t, w.put("b"))
		spilled := w.Counters.SpilledBytes.Load()
		require.Greater(t, spilled, hedged)
		w.log.write(nil, errFake)
		o := w.put("c")
		synctest.Wait()
		require.ErrorIs(t, o.err, errFake)
		require.Equal(t, spilled, w.Counters.SpilledBytes.Load())
		require.Equal(t, []error{nil, errFake}, w.audience.appends)
		w.badger.answer(nil, false)
		synctest.Wait()
		w.room.nothing()
	})
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

// A negative StallThreshold waits for Badger, and so does who has no spill, or one that is full.
func TestNoStallTurns(t *testing.T) {
	for name, change := range map[string]func(*world){
		"negative": func(w *world) { w.opt.StallThreshold = -1 },
		"full":     func(w *world) { w.room.full = true },
		"no spill": func(w *world) { w.env.Log = nil },
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
				require.Equal(t, Direct, w.State())
				require.Empty(t, w.audience.notes())
				require.Empty(t, w.log.history)
			})
		})
	}
}
