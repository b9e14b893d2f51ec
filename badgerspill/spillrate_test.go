package badgerspill

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
)

func spillRate(perSecond float64) func(*Options) {
	return func(opt *Options) {
		opt.Tuning.SpillRate, opt.Tuning.QuietWindow, opt.Tuning.QuietRate = perSecond, 50*time.Millisecond, 1e15
	}
}

// commitUntil commits about one key a millisecond until cond holds, and returns how many there are
// then.
func (f *fixture) commitUntil(what string, cond func() bool) int {
	f.t.Helper()
	n := 0
	eventually(f.t, what, func() bool {
		f.put(fmt.Sprintf("key%05d", n), "v")
		n++
		return cond()
	})
	return n
}

func (f *fixture) spilling() bool { return f.routerState() == Spilling }

// TestFastCommitsAreSpilled: at SpillRate commits turn to the spill, although memory is free and
// Badger answers; they stay there while they come at half of it, however few bytes they are, and
// return when they have ceased.
func TestFastCommitsAreSpilled(t *testing.T) {
	f := open(t, spillRate(40))
	n := f.commitUntil("the turn", f.spilling)
	require.Equal(t, CauseRate, receive(t, "SpillBegin", f.events.spillBegin).Cause)
	require.True(t, interlocked(f.DB))
	require.Zero(t, f.SpillStats().Stalls)
	require.Greater(t, f.SpillStats().CommitRate, 20.0)

	end := time.Now().Add(300 * time.Millisecond)
	more := f.commitUntil("some time", func() bool { return time.Now().After(end) })
	require.True(t, f.spilling(), "bytes are few, commits are not")
	require.Zero(t, f.SpillStats().HandOvers)
	require.False(t, f.SpillStats().Quiet)
	require.Positive(t, f.SpillStats().CommitsSpilled)

	eventually(t, "the return", func() bool { return f.routerState() == Direct })
	require.Positive(t, f.SpillStats().EntriesReplayed)
	for i := range max(n, more) {
		require.Equal(t, "v", f.inBadger(fmt.Sprintf("key%05d", i)))
	}
}

// TestTurnForTheRateIsPrepared: the first commit that is spilled finds interlock and segment made.
func TestTurnForTheRateIsPrepared(t *testing.T) {
	f := open(t, spillRate(40))
	var late []string
	f.hooks.set(func(op, path string) error {
		if op == "create" && (isSegment(path) || strings.HasSuffix(path, marker.InterlockName)) && f.spilling() {
			late = append(late, path)
		}
		return nil
	})
	f.commitUntil("the turn", f.spilling)
	f.put("k", "v")
	f.hooks.clear()
	require.Empty(t, late)
	require.Positive(t, f.SpillStats().Segments)
}

func TestSpillRateNegativeOrOtherPolicy(t *testing.T) {
	for _, policy := range []SpillPolicy{Auto, Never} {
		f := open(t, spillRate(-1), func(opt *Options) {
			if opt.SpillPolicy = policy; policy == Never {
				opt.Tuning.SpillRate = 1
			}
		})
		end := time.Now().Add(100 * time.Millisecond)
		f.commitUntil("some time", func() bool { return time.Now().After(end) })
		require.Equal(t, Direct, f.routerState())
		require.Zero(t, f.SpillStats().CommitRate)
	}
}

// TestTurnForTheRateFails: what cannot be prepared leaves commits with Badger, and nothing behind.
func TestTurnForTheRateFails(t *testing.T) {
	for _, row := range []struct {
		name  string
		fails func(path string) bool
	}{
		{"interlock", func(path string) bool { return strings.HasSuffix(path, marker.InterlockName) }},
		{"segment", isSegment},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := open(t, spillRate(40))
			f.hooks.set(func(op, path string) error {
				if op == "create" && row.fails(path) {
					return os.ErrPermission
				}
				return nil
			})
			f.commitUntil("the error", func() bool { return len(f.events.failed) > 0 })
			require.ErrorIs(t, receive(t, "BackgroundError", f.events.failed).Err, os.ErrPermission)
			require.Equal(t, Direct, f.routerState())
			eventually(t, "the end of the try", func() bool { return !f.turning.Load() })
			require.False(t, interlocked(f.DB))
			f.hooks.clear()
			f.room.RetrySpill(0) // it is tried again at once
			f.commitUntil("the turn", f.spilling)
		})
	}
}
