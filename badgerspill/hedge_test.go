package badgerspill

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	require.True(t, f.interlock.exists())
	begun := receive(t, "StallBegin", f.events.stallBegin)
	require.Equal(t, 1, begun.Commits)
	require.GreaterOrEqual(t, begun.Duration, 10*time.Millisecond)
	require.Equal(t, SpillBeginInfo{Cause: CauseStall, Hedged: 1}, receive(t, "SpillBegin", f.events.spillBegin))
	require.Empty(t, f.events.stallEnd)

	// What follows goes to the spill at once, without asking Badger.
	f.put("k2", "v2")
	require.Equal(t, 1, f.stub.waiting())

	f.stub.release()
	ended := receive(t, "StallEnd", f.events.stallEnd)
	require.Equal(t, 1, ended.Commits)
	st := f.SpillStats()
	require.Equal(t, map[string]int64{"stall": 1}, st.SpillStarts)
	require.Equal(t, []int64{1, 1, 1, 1}, []int64{st.Stalls, st.CommitsDirect, st.CommitsHedged, st.CommitsSpilled})
	require.Empty(t, f.events.stallBegin)
	require.Empty(t, f.events.stallEnd)
	f.drained()
	require.Equal(t, "v", f.inBadger("k"))
	require.Zero(t, f.SpillStats().MemoryInFlight)
	require.Zero(t, f.manager.Leaks())
}

func TestStallThresholdNegativeWaitsForBadger(t *testing.T) {
	f := open(t)
	f.stub.hold()
	done := f.putAsync("k", "v")
	never(t, 100*time.Millisecond, "acknowledged, or spilling", func() bool { return len(done) > 0 || f.routerState() == Spilling })
	f.stub.release()
	require.NoError(t, receive(t, "Badger's answer", done))
	require.Equal(t, Direct, f.routerState())
}

// TestStallIsSeenUnderAnOpenIterator: the watcher slows down while it has only pinned memtables to look at; a stall
// has to be seen in time all the same.
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
		f.memtables.relieve()
		return f.SpillStats().MemoryPinned > 0 && !f.memtables.flushing()
	})
	// An idle watcher that has nothing pinned is asleep after watchIdle; this one must not be.
	never(t, time.Duration(watchIdle)*5/4, "asleep under a pinned memtable", f.watch.asleep.Load)

	f.drained()
	f.stub.hold()
	begin := time.Now()
	require.NoError(t, receive(t, "acknowledgement by the spill", f.putAsync("k", "v")))
	require.Less(t, time.Since(begin), 400*time.Millisecond)
}

func TestQueueBound(t *testing.T) {
	f := open(t)
	f.stub.hold()
	acks := make(chan error, maxInFlight)
	for i := range maxInFlight {
		txn := f.NewTransaction(true)
		require.NoError(t, txn.Set([]byte(key(i)), []byte("v")))
		txn.CommitWith(func(err error) { acks <- err })
	}
	require.Equal(t, Direct, f.routerState())
	require.Equal(t, maxInFlight, f.stub.waiting())
	require.Empty(t, acks)

	require.NoError(t, receive(t, "acknowledgement of one more", f.putAsync("more", "v")))
	for range maxInFlight {
		require.NoError(t, receive(t, "acknowledgement of the queued", acks))
	}
	require.Equal(t, SpillBeginInfo{Cause: CauseQueue, Hedged: maxInFlight}, receive(t, "SpillBegin", f.events.spillBegin))
	require.Equal(t, maxInFlight, f.stub.sends(), "no more goes to Badger")
	require.Equal(t, map[string]int64{"queue": 1}, f.SpillStats().SpillStarts)
	f.stub.release()
	f.drained()
	for i := range maxInFlight {
		require.Equal(t, "v", f.inBadger(key(i)))
	}
	require.Equal(t, "v", f.inBadger("more"))
}

func TestQueueBoundWithoutSpillWaits(t *testing.T) {
	f := open(t, func(opt *Options) { opt.SpillCapacity = 0 })
	f.stub.hold()
	acks := make(chan error, maxInFlight)
	for i := range maxInFlight {
		txn := f.NewTransaction(true)
		require.NoError(t, txn.Set([]byte(key(i)), []byte("v")))
		txn.CommitWith(func(err error) { acks <- err })
	}
	more := f.putAsync("more", "v")
	never(t, 50*time.Millisecond, "sent beyond the bound", func() bool { return f.stub.sends() > maxInFlight || len(more) > 0 })
	f.stub.release()
	require.NoError(t, receive(t, "commit after the queue moved", more))
	for range maxInFlight {
		require.NoError(t, receive(t, "queued commit", acks))
	}
}

func TestHedgeOwnsItsBytes(t *testing.T) {
	f := open(t, stalls)
	f.stub.hold()
	k, v := []byte("the key"), bytes.Repeat([]byte("v"), 100)
	require.NoError(t, f.Update(func(txn *Txn) error { return txn.Set(k, v) }))
	require.Equal(t, 1, f.stub.waiting())
	copy(k, "XXXXXXX")
	copy(v, bytes.Repeat([]byte("X"), 100))
	f.stub.release()
	receive(t, "StallEnd", f.events.stallEnd)
	require.Equal(t, strings.Repeat("v", 100), f.inBadger("the key"))
	require.Equal(t, absent, f.inBadger("XXXXXXX"))
	require.Equal(t, strings.Repeat("v", 100), f.get("the key"))
}

func TestReplayWaitsForBadgersAnswers(t *testing.T) {
	f := open(t, stalls, eager)
	f.stub.hold()
	f.put("k", "v")
	f.put("k2", "v")
	drain := async(func() error { return f.Drain(f.ctx) })
	never(t, 150*time.Millisecond, "replayed what Badger still holds", func() bool { return f.stub.loads() > 0 })
	require.Equal(t, Spilling, f.routerState())
	f.stub.release()
	require.NoError(t, receive(t, "Drain", drain))
	require.Positive(t, f.stub.loads())
	f.direct()
}

// TestRefusedButHedged: Badger fails what the spill has acknowledged, or is about to.
func TestRefusedButHedged(t *testing.T) {
	t.Run("refused after the acknowledgement", func(t *testing.T) {
		f := open(t, stalls)
		f.stub.hold()
		f.put("k", "v")
		f.stub.set(func() { f.stub.mu.failSend = func(*commit) error { return errTest } })
		f.stub.release()
		receive(t, "StallEnd", f.events.stallEnd)
		require.Equal(t, absent, f.inBadger("k"))
		require.Equal(t, "v", f.get("k"))
		f.drained()
		require.Equal(t, "v", f.inBadger("k"))
		require.Zero(t, f.manager.Leaks())
		require.Zero(t, f.SpillStats().MemoryInFlight)
	})
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprintf("refused while it is appended, append fails %v", fails), func(t *testing.T) {
			f := open(t, stalls)
			f.stub.hold()
			f.stub.set(func() { f.stub.mu.failSend = func(*commit) error { return os.ErrPermission } })
			writing, resume := make(chan struct{}, 100), make(chan struct{})
			f.hooks.set(func(op, path string) error {
				if op == "write" && isSegment(path) {
					writing <- struct{}{}
					<-resume
					if fails {
						return errTest
					}
				}
				return nil
			})
			done := f.putAsync("k", "v")
			receive(t, "append of the hedge", writing)
			f.stub.release()
			receive(t, "StallEnd", f.events.stallEnd)
			require.Empty(t, done)
			close(resume)
			err := receive(t, "outcome", done)
			f.hooks.clear()
			f.stub.set(func() { f.stub.mu.failSend = nil })
			if fails {
				require.ErrorIs(t, err, os.ErrPermission, "Badger's answer is what is left")
				require.Equal(t, absent, f.get("k"))
				require.Equal(t, Direct, f.routerState())
			} else {
				require.NoError(t, err)
				require.Equal(t, "v", f.get("k"))
				f.drained()
				require.Equal(t, "v", f.inBadger("k"))
			}
			f.put("later", "v")
			require.Equal(t, "v", f.get("later"))
		})
	}
}
