package badgerspill

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/notify"
	"github.com/badgerspill/badgerspill/replay"
)

// withLogger gives a database a logger that keeps what the layer says; what Badger says of itself
// is left out.
func withLogger(lines *logLines) func(*Options) {
	return func(opt *Options) { opt.Logger = lines }
}

func (l *logLines) ours() (ours []string) {
	for _, line := range l.all() {
		if strings.Contains(line, "badgerspill: ") {
			ours = append(ours, line)
		}
	}
	return ours
}

// Every line of the narrator, for eyes and for docs/operations.md; each kind once in ten seconds.
func TestNarratorLines(t *testing.T) {
	lines := &logLines{}
	f := open(t)
	n := newNarrator(f.DB, lines)
	now := time.Unix(0, 0)
	n.lines.Now = func() time.Time { return now }
	l := n.listener()
	told := func() {
		done := make(chan error, 1)
		notify.Deliver(f.DB.events.Queue, func(err error) { done <- err }, nil, notify.Rare)
		require.NoError(t, receive(t, "the lines", done))
	}
	for round := range 2 {
		for range 3 {
			n.turned(CauseStall)
			told()
			f.pipe.Counters.Spilled.Add(1_200_000)
			f.pipe.Counters.Hedged.Add(12)
			f.pipe.Counters.SpilledBytes.Add(1 << 30)
			n.burst.begun = time.Now().Add(-20 * time.Second)
			l.ReplayBegin(replay.Run{Reason: replay.ReasonHighWater})
			l.ReplayBegin(replay.Run{Reason: replay.ReasonQuiet})
			l.ReplayBegin(replay.Run{Reason: replay.ReasonQuiet})
			n.turnedBack(HandOverInfo{Spilled: 61 * time.Second})
			told()
			n.writerBlocked()
			n.writerBlocked()
			n.writerReleased(2*time.Second, ErrWriteBlocked)
			n.writerReleased(time.Second, nil)
			progress := DrainProgressInfo{Bytes: 1 << 30, TotalBytes: 4 << 30, Duration: 10 * time.Second}
			n.draining(progress) // of Drain
			f.closing.Store(true)
			n.draining(progress)
			f.closing.Store(false)
			told()
			n.slowed, n.full = true, true
			n.look() // neither
			f.spill.Force(f.spill.Capacity(), 0)
			n.look()
			n.look()
			f.spill.AdjustSpill(-f.spill.Capacity())
		}
		want := []string{
			"I badgerspill: a burst begins: commits go to the spill, cause stall",
			"I badgerspill: the burst is over: the spill has taken 1200012 commits, 1 GiB in 20s; replay begins",
			"I badgerspill: replay is done, commits go to Badger again after 1m1s: the spill has taken 1200012 commits, 1 GiB",
			"W badgerspill: memory and spill are exhausted, commits wait for room: raise MemoryLimit or SpillCapacity, or write less",
			"W badgerspill: no commit waits for room any more: 2 did, for 2s at most, and 1 found none",
			"I badgerspill: Close replays the spill: 1 GiB of 4 GiB are done, about 30s to go",
			fmt.Sprintf("W badgerspill: the spill is full, %v of %[1]v: commits wait for what replay frees", sizeOf(f.spill.Capacity())),
		}
		got := lines.all()
		require.Len(t, got, (round+1)*len(want))
		for i, line := range want {
			if round > 0 {
				require.True(t, strings.HasPrefix(got[len(want)+i], line), got[len(want)+i])
				require.Contains(t, got[len(want)+i], "(and 2 more such lines since the last)")
			} else {
				require.Equal(t, line, got[i])
			}
		}
		now = now.Add(notify.LineInterval)
	}
	now = now.Add(notify.LineInterval)
	lines.lines = nil
	n.lines = notify.Limiter{Now: n.lines.Now, Most: 1}
	n.turned(CauseRecovery)
	told()
	l.ReplayBegin(replay.Run{Reason: replay.ReasonQuiet})
	n.turnedBack(HandOverInfo{Dropped: true})
	told()
	now = now.Add(notify.LineInterval)
	n.turned(CausePolicy)
	n.turnedBack(HandOverInfo{Err: errors.New("full")})
	told()
	require.Equal(t, []string{
		"I badgerspill: commits go to the spill, which holds some from before",
		"I badgerspill: commits go to Badger again: what the spill held was dropped",
		"I badgerspill: commits go to Badger: the spill could not be written",
	}, lines.all())
	require.Nil(t, newNarrator(f.DB, nil).listener())
}

// TestLogOfABurst: the default log has the burst, and nothing of a database at rest.
func TestLogOfABurst(t *testing.T) {
	lines := &logLines{}
	f := open(t, withLogger(lines))
	never(t, 300*time.Millisecond, "a line of a database at rest", func() bool { return len(lines.ours()) > 0 })
	f.spillOne("k", "v")
	f.drained()
	require.NoError(t, f.Close())
	ours := lines.ours()
	require.Len(t, ours, 2, "%v", ours)
	require.Equal(t, "I badgerspill: a burst begins: commits go to the spill, cause memory", ours[0])
	require.True(t, strings.HasPrefix(ours[1], "I badgerspill: replay is done, commits go to Badger again after "), ours[1])
	require.Contains(t, ours[1], "the spill has taken 1 commits")
}

// TestLogCountsFromTheTurn: the lines are late under load, and count what there was at the turns.
func TestLogCountsFromTheTurn(t *testing.T) {
	lines := &logLines{}
	f := open(t, withLogger(lines))
	held, hold := make(chan struct{}), make(chan struct{})
	notify.Deliver(f.DB.events.Queue, func(struct{}) { close(held); <-hold }, struct{}{}, notify.Rare)
	<-held
	for range 2 {
		f.spillOne("k", "v")
		f.drained()
	}
	f.narrator.lines.Most = 2
	close(hold)
	require.NoError(t, f.Close())
	var ends []string
	for _, line := range lines.ours() {
		if strings.Contains(line, "replay is done") {
			ends = append(ends, line)
		}
	}
	require.Len(t, ends, 2)
	for _, line := range ends {
		require.Contains(t, line, "the spill has taken 1 commits")
	}
}

// TestLogOfSlowedCommits: it says once that commits are slowed.
func TestLogOfSlowedCommits(t *testing.T) {
	lines := &logLines{}
	f := open(t, withLogger(lines), func(opt *Options) { opt.SpillPolicy, opt.SpillCapacity = Always, 64<<20 })
	f.put("a", "1")
	filled := f.spill.Capacity() * 3 / 4
	f.spill.Force(filled, 0)
	done := make(chan error, 8)
	for i := range cap(done) {
		go func() { done <- put(f.DB, fmt.Sprint(i), strings.Repeat("x", 1<<20)) }()
	}
	said := func() (n int) {
		for _, line := range lines.ours() {
			if strings.Contains(line, "commits are slowed to what replay frees: the spill takes ") {
				n++
			}
		}
		return n
	}
	eventually(t, "the line", func() bool { return said() > 0 })
	f.spill.AdjustSpill(-filled)
	for range cap(done) {
		require.NoError(t, receive(t, "a commit", done))
	}
	require.Equal(t, 1, said())
}
