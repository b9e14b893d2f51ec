package badgerspill

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/replay"
)

// kinds returns the kinds of events, in their order.
func kinds(all []RecentEvent) (kinds []string) {
	for _, e := range all {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// Every kind of event with its words, each in one line, and no key in any.
func TestRecentEventsInWords(t *testing.T) {
	f := open(t)
	e := f.DB.events
	run := replay.Run{Reason: replay.ReasonAge, Bytes: 3 << 20, Entries: 7, Duration: 2 * time.Second, Drained: true}
	e.stallEnd(&pipeline.Stall{Lasted: time.Second, Commits: 12, Cause: int(StallLevelZero)})
	e.spillBegin(CauseMemory, 3)
	e.replayBegin(run)
	e.replayEnd(run)
	e.handOver(HandOverInfo{Held: time.Millisecond, Spilled: time.Minute})
	f.narrator.writerBlocked()
	f.narrator.writerBlocked()
	f.narrator.writerReleased(time.Second, nil)
	f.narrator.writerReleased(2*time.Second, ErrWriteBlocked)
	stopped := &HealthError{State: HealthStopped, Err: errors.New("no\nroom"), Way: "make some"}
	e.healthChange(HealthInfo{Old: HealthGood, New: HealthStopped, Err: stopped})
	e.healthChange(HealthInfo{Old: HealthStopped, New: HealthGood})
	e.backgroundError("replay the spill", errors.New("no room"), "")
	e.backgroundError("compact", fmt.Errorf("at last: %w", &keyError{[]byte("secret"), errTest}), "")

	begin := time.Now()
	want := []string{
		"StallEnd: Badger stalled for 1s, cause level-0, with 12 commits in flight",
		"SpillBegin: commits go to the spill, cause memory; 3 that were in flight are hedged",
		"ReplayBegin: replay begins, reason age",
		"ReplayEnd: replay ends, the spill is empty: 3 MiB and 7 entries in 2s, 1.5 MiB/s",
		"HandOver: commits go to Badger again after 1m0s: all of the spill is in Badger; writers were held up for 1ms",
		"WriterBlocked: memory and spill are exhausted: commits begin to wait for room",
		"WriterReleased: no commit waits for room any more: 2 did, for 2s at most, and 1 found none",
		"HealthChange: health is stopped, was good: replay has stopped: no room; make some",
		"HealthChange: health is good, was stopped",
		"BackgroundError: could not replay the spill: no room",
		"BackgroundError: could not compact; the log has the error",
	}
	got := f.RecentEvents()
	require.Len(t, got, len(want))
	for i, g := range got {
		require.Equal(t, want[i], g.Kind+": "+g.Text)
		require.WithinDuration(t, begin, g.Time, testLimit)
	}
}

// TestRecentEventsAreBounded: the last ones of each kind are there, whatever came of another.
func TestRecentEventsAreBounded(t *testing.T) {
	now := time.Unix(0, 0)
	r := recent{now: func() time.Time { return now }}
	r.note("HealthChange", HealthInfo{New: HealthStopped})
	for i := range 100 {
		r.note("SpillBegin", SpillBeginInfo{Hedged: i})
		r.note("HandOver", HandOverInfo{})
		now = now.Add(recentOnce)
	}
	all := r.all()
	require.Len(t, all, 1+2*recentOfAKind)
	require.Equal(t, []string{"HealthChange", "SpillBegin", "HandOver"}, kinds(all)[:3])
	require.Contains(t, all[len(all)-2].Text, "; 99 that were in flight")
}

// TestRecentEventsThatComeAgain: one that flaps is told with how often, every ten seconds.
func TestRecentEventsThatComeAgain(t *testing.T) {
	now := time.Unix(0, 0)
	r := recent{now: func() time.Time { return now }}
	for i := range 25 {
		r.note("SpillBegin", SpillBeginInfo{Hedged: i})
		r.note("BackgroundError", BackgroundErrorInfo{[]string{"sync", "read"}[i%2], errTest})
		r.note("HealthChange", HealthInfo{})
		now = now.Add(time.Second)
	}
	var texts []string
	for _, e := range r.all() {
		if e.Kind != "HealthChange" {
			texts = append(texts, e.Text)
		}
	}
	require.Equal(t, []string{
		"could not sync: injected failure (5 times in 8s)",
		"commits go to the spill, cause memory; 9 that were in flight are hedged (10 times in 9s)",
		"could not read: injected failure (5 times in 8s)",
		"could not sync: injected failure (5 times in 8s)",
		"commits go to the spill, cause memory; 19 that were in flight are hedged (10 times in 9s)",
		"could not read: injected failure (5 times in 8s)",
		"could not read: injected failure (2 times in 2s)",
		"commits go to the spill, cause memory; 24 that were in flight are hedged (5 times in 4s)",
		"could not sync: injected failure (3 times in 4s)",
	}, texts)
	require.Equal(t, recentOfAKind, len(r.all())-len(texts))
}

// TestRecentEventsOfABurst: they are kept without a listener and without a logger, and after Close.
func TestRecentEventsOfABurst(t *testing.T) {
	bounded(t)
	db, err := Open(testOptions(t.TempDir()).WithLogger(nil))
	require.NoError(t, err)
	require.Empty(t, db.RecentEvents())
	require.NoError(t, db.pipe.TurnToSpill(pipeline.CauseMemory))
	require.NoError(t, put(db, "k", "v"))
	require.NoError(t, db.Close())
	got := db.RecentEvents()
	require.Equal(t, []string{"SpillBegin", "ReplayBegin", "HandOver", "ReplayEnd"}, kinds(got))
	require.Contains(t, got[0].Text, "cause memory")
	for i := range got[1:] {
		require.False(t, got[i+1].Time.Before(got[i].Time))
	}
}

// TestRecentEventsNameNoKey: a merge operator that cannot compact tells its listener the key.
func TestRecentEventsNameNoKey(t *testing.T) {
	f := open(t)
	op := f.GetMergeOperator([]byte("secret"), func(_, new []byte) []byte { return new }, time.Hour)
	require.NoError(t, op.Add([]byte("a")))
	require.NoError(t, op.Add([]byte("b")))
	f.stub.set(func() { f.stub.mu.failSend = func(*pipeline.Commit) error { return errTest } })
	op.Stop() // compacts once more
	all := f.RecentEvents()
	require.NotEmpty(t, all)
	last := all[len(all)-1]
	require.Equal(t, "BackgroundError", last.Kind)
	require.Equal(t, "could not compact the values of a merge operator; the log has the error", last.Text)
}
