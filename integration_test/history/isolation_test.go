package history_test

import (
	"context"
	"flag"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
	"github.com/badgerspill/badgerspill/integration_test/states"
)

// Isolation checked from outside: concurrent clients run random transactions while the router is
// pushed through its states, the database is closed under them and opened again, and their history
// is checked.

var killModes = states.All()

var isolationSteps = flag.Int("isolationsteps", 60, "transactions of each client of the isolation test between two openings")

// churning makes Badger flush and compact all the time, and keep nothing that it may forget:
// versions that a reader still needs are there because the layer says so, or they are not.
func churning(dir string) badger.Options {
	return states.Small(dir).WithNumVersionsToKeep(1).WithMemTableSize(1 << 20).WithNumLevelZeroTables(1).
		WithNumLevelZeroTablesStall(3).WithBaseTableSize(256 << 10).WithBaseLevelSize(1 << 20).WithValueThreshold(512).WithValueLogFileSize(1 << 20)
}

// toAndFro spills each commit, and hands over whenever it can.
func toAndFro(o badgerspill.Options) badgerspill.Options {
	return o.WithStallThreshold(-1).WithSpillRate(-1).WithLimitRatios(1e-5, 1e-5).WithQuiet(1e12, time.Millisecond).WithSegmentSize(16 << 10)
}

// TestIsolation takes the states of the kill test, and one that changes them all the time.
func TestIsolation(t *testing.T) {
	for _, m := range killModes {
		t.Run(m.Name, func(t *testing.T) {
			ends := isolation(t, m.Change, func(t *testing.T, w *historyLoad) { isolationStorm(t, w, m.Drain) })
			require.Positive(t, ends[txnConflicted])
		})
	}
	t.Run("to and fro", func(t *testing.T) { isolation(t, toAndFro, isolationCalm) })
}

// isolation checks the history of three openings of one database.
func isolation(t *testing.T, change func(badgerspill.Options) badgerspill.Options, epoch func(*testing.T, *historyLoad)) map[txnOutcome]int {
	t.Helper()
	rng := seed.Random(t)
	opt := change(badgerspill.OptionsFrom(churning(filepath.Join(t.TempDir(), "db"))))
	j, ids := &memoryJournal{}, &atomic.Int64{}
	var total badgerspill.SpillStats
	for i := range 3 {
		db, err := badgerspill.Open(opt.WithDrainOnClose(i%2 == 1))
		require.NoError(t, err)
		w := &historyLoad{db: db, nextID: ids, journal: j, rng: rng}
		epoch(t, w)
		closeUnder(t, w)
		require.Empty(t, w.failures)
		st := db.SpillStats()
		total.CommitsDirect += st.CommitsDirect
		total.CommitsHedged += st.CommitsHedged
		total.CommitsSpilled += st.CommitsSpilled
		total.EntriesReplayed += st.EntriesReplayed
		total.HandOvers += st.HandOvers
	}
	db, err := badgerspill.Open(opt)
	require.NoError(t, err)
	auditHistory(t, db, j, ids)
	require.NoError(t, db.Drain(context.Background()))
	h := auditHistory(t, db, j, ids)
	require.NoError(t, db.Close())
	ends := map[txnOutcome]int{}
	for _, r := range h.records {
		ends[r.Outcome]++
	}
	t.Logf("%d transactions: %v; commits direct %d, hedged %d, spilled %d; %d entries replayed, %d hand-overs",
		len(h.records), ends, total.CommitsDirect, total.CommitsHedged, total.CommitsSpilled, total.EntriesReplayed, total.HandOvers)
	h.require(t)
	require.Positive(t, ends[txnCommitted])
	require.Positive(t, ends[txnRefused])
	return ends
}

// isolationStorm lets several clients do everything at once, while Badger flushes and compacts
// under one old snapshot.
func isolationStorm(t *testing.T, w *historyLoad, drain bool) {
	t.Helper()
	const clients = 5
	over := make(chan struct{})
	var beside kit.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if drain {
		beside.Go(func() { handOvers(ctx, w.db) })
	}
	old, update := w.client(clients), w.rng.IntN(2) == 0
	beside.Go(func() { w.ended(old.old(update, over)) })
	var steps atomic.Int64
	limit := int64(clients * *isolationSteps)
	filled := make(chan struct{})
	beside.Go(func() {
		defer close(filled)
		parts := int64(4)
		if drain { // which this keeps from ending
			parts = 1
		}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := range parts {
			for steps.Load() < limit*n/parts {
				<-tick.C
			}
			w.ended(fillMemtable(w.db))
		}
	})
	w.start(0, clients, (*historyClient).step, func() bool { return steps.Add(1) > limit })()
	<-filled
	close(over)
	cancel()
	beside.Wait()
}

// isolationCalm lets one client write and drain after each commit, while others read, most of them
// in transactions of one read.
func isolationCalm(t *testing.T, w *historyLoad) {
	t.Helper()
	const readers = 2
	stop := make(chan struct{})
	read := w.start(1, 1+readers, (*historyClient).reads, func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	})
	left := *isolationSteps
	w.start(0, 1, func(c *historyClient) error {
		if err := c.writes(); err != nil {
			return err
		}
		return w.db.Drain(context.Background())
	}, func() bool { left--; return left < 0 })()
	close(stop)
	read()
}

// closeUnder closes the database under clients that write.
func closeUnder(t *testing.T, w *historyLoad) {
	t.Helper()
	var steps atomic.Int64
	begun := make(chan struct{})
	writers := w.start(10, 13, (*historyClient).blind, func() bool {
		if steps.Add(1) == 20 {
			close(begun)
		}
		return false
	})
	kit.MustEnd(t, "20 commits", func() { <-begun })
	kit.MustEnd(t, "Close", func() { require.NoError(t, w.db.Close()) })
	kit.MustEnd(t, "end of the writers", writers)
}
