package badgerspill

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/notify"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

func segmentCreated(n uint64) spillfile.Event {
	return spillfile.Event{Kind: spillfile.SegmentCreated, Segment: n}
}

// Every line that the listener can log, for eyes and for docs/operations.md.
func TestLoggingListenerLines(t *testing.T) {
	lines := &logLines{}
	now := time.Unix(0, 0)
	logger := &eventLogger{to: lines, notable: notable{now: func() time.Time { return now }}}
	l := logger.listener()
	run := replay.Run{Reason: replay.ReasonQuiet, Bytes: 300 << 20, Entries: 2_000_000, Duration: 4321 * time.Millisecond}

	// too often, and nothing to see
	l.TierChange(TierChangeInfo{wbm.Normal, wbm.Flush, 81 << 20, 100 << 20})
	l.TierChange(TierChangeInfo{wbm.Flush, wbm.Spill, 91 << 20, 100 << 20})
	l.TierChange(TierChangeInfo{wbm.Spill, wbm.Normal, 1<<20 + 1<<19, 100 << 20})
	l.StallEnd(StallInfo{StallLevelZero, 12, 123456 * time.Microsecond})
	l.SpillBegin(SpillBeginInfo{CauseStall, 12})
	l.HandOver(HandOverInfo{Held: 612345 * time.Nanosecond, Spilled: 12345 * time.Millisecond})
	l.HandOver(HandOverInfo{Dropped: true})
	l.HandOver(HandOverInfo{Err: errors.New("full")})
	l.ReplayBegin(run)
	now = now.Add(9 * time.Second)
	l.ReplayProgress(run)
	now = now.Add(time.Second)
	l.ReplayProgress(run)
	l.ReplayProgress(run)
	l.ReplayEnd(run)
	run.Drained = true
	l.ReplayEnd(run)
	run.Drained, run.Err = false, errors.New("full")
	l.ReplayEnd(run)
	require.Equal(t, []string{
		"I badgerspill: memory tier spill, was flush: 91 MiB of 100 MiB in use",
		"I badgerspill: memory tier normal, was spill: 1.5 MiB of 100 MiB in use",
		"I badgerspill: Badger stalled for 123ms, cause level-0, with 12 commits in flight",
		"I badgerspill: commits go to the spill, cause stall; 12 that were in flight are hedged",
		"I badgerspill: commits go to Badger again after 12.3s: all of the spill is in Badger; writers were held up for 612µs",
		"I badgerspill: commits go to Badger again after 0s: what the spill held was dropped; writers were held up for 0s",
		"I badgerspill: commits go to Badger again after 0s: the spill could not be written; writers were held up for 0s",
		"I badgerspill: replay begins, reason quiet",
		"I badgerspill: replay goes on, reason quiet: 300 MiB and 2000000 entries in 4.32s, 69.4 MiB/s",
		"I badgerspill: replay ends, the spill holds more: 300 MiB and 2000000 entries in 4.32s, 69.4 MiB/s",
		"I badgerspill: replay ends, the spill is empty: 300 MiB and 2000000 entries in 4.32s, 69.4 MiB/s",
		"I badgerspill: replay ends, it failed: 300 MiB and 2000000 entries in 4.32s, 69.4 MiB/s",
	}, lines.all())
}

// A flapping layer does not fill the log.
func TestLoggingListenerIsLimited(t *testing.T) {
	lines := &logLines{}
	now := time.Unix(0, 0)
	logger := &eventLogger{to: lines, notable: notable{now: func() time.Time { return now }}}
	logger.lines.Now = logger.now
	l := logger.listener()
	for range 1000 {
		l.SpillBegin(SpillBeginInfo{})
		l.HandOver(HandOverInfo{})
	}
	require.Len(t, lines.all(), 2*notify.LinesPerInterval)
	now = now.Add(notify.LineInterval)
	l.SpillBegin(SpillBeginInfo{})
	require.Equal(t, "I badgerspill: commits go to the spill, cause memory; 0 that were in flight are hedged (and 995 more such lines since the last)", lines.all()[2*notify.LinesPerInterval])
}

// The listener is what a program gives to Options, and the log has the way to the spill and back.
func TestLoggingListenerOfADatabase(t *testing.T) {
	lines := &logLines{}
	f := open(t, func(opt *Options) { opt.EventListener = NewLoggingListener(lines) })
	f.spillOne("k", "v")
	f.drained()
	require.NoError(t, f.Close())
	require.Contains(t, lines.all(), "I badgerspill: commits go to the spill, cause memory; 0 that were in flight are hedged")
	require.Contains(t, lines.all(), "I badgerspill: replay begins, reason drain")
	require.Equal(t, EventListener{}, *NewLoggingListener(nil))
}

func TestSizeOf(t *testing.T) {
	for n, want := range map[sizeOf]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 200<<10 + 1: "200 KiB", 8 << 30: "8 GiB", 3 << 50: "3072 TiB", -5: "-5 B",
	} {
		require.Equal(t, want, n.String())
	}
}

func TestRound(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 999: "999ns", 1234567: "1.23ms", 612345: "612µs", 123456 * time.Microsecond: "123ms", 12345678 * time.Microsecond: "12.3s",
	} {
		require.Equal(t, want, round(d).String())
	}
}
