package burst

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

func TestSecondsTellTheWorstThatWasSeen(t *testing.T) {
	ms := time.Millisecond
	look := func(at time.Duration, tier, state, replay string, pending, blocked int64) sample {
		l := &engine.Layer{
			State: state, Tier: tier, Replay: replay,
			SpillPending: pending, SpillBytes: 10 * pending, CommitsBlocked: blocked,
		}
		for _, name := range []string{"normal", "flush", "spill", "block"} {
			l.TiersEntered = append(l.TiersEntered, engine.TierEntered{Tier: name})
		}
		return sample{at, l}
	}
	samples := []sample{
		look(100*ms, "normal", "direct", "idle", 0, 0),
		look(500*ms, "spill", "direct", "idle", 0, 0),
		look(900*ms, "flush", "spilling", "waiting", 3, 2),
		look(1000*ms, "normal", "spilling", "replaying", 5, 2),
		look(1900*ms, "normal", "direct", "idle", 0, 7),
		// Nobody looked in the third second.
		look(3500*ms, "block", "direct", "idle", 0, 8),
	}
	var load []openloop.Second
	for i := range 4 {
		load = append(load, openloop.Second{At: time.Duration(i) * time.Second, Length: time.Second, Due: int64(i)})
	}
	got := seconds(load, samples)
	for i := range got {
		require.Equal(t, load[i], got[i].Second)
	}
	require.Equal(t, &LayerSecond{Tier: "spill", Spilling: true, SpillBytes: 30, SpillPending: 3, Blocked: 2}, got[0].Layer)
	require.Equal(t, &LayerSecond{Tier: "normal", Spilling: true, Replaying: true, SpillBytes: 50, SpillPending: 5, Blocked: 5}, got[1].Layer)
	require.Nil(t, got[2].Layer)
	require.Equal(t, &LayerSecond{Tier: "block", Blocked: 1}, got[3].Layer)

	require.Equal(t, time.Second, busyUntil(samples))
	require.Zero(t, busyUntil(samples[:2]))
	require.Zero(t, busyUntil(nil))
}
