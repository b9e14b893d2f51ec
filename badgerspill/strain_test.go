package badgerspill

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// The monitor hears of what goes through the spill, and of nothing else.
func TestForegroundIsMeasuredWhileThereIsASpill(t *testing.T) {
	for _, policy := range []SpillPolicy{Auto, Always} {
		t.Run(policy.String(), func(t *testing.T) {
			f := open(t, func(o *Options) { o.SpillPolicy = policy })
			for range 10 {
				f.put("k", "v")
			}
			require.NoError(t, f.View(func(txn *Txn) error {
				for range 800 {
					if _, err := txn.Get([]byte("k")); err != nil {
						return err
					}
				}
				txn.NewIterator(DefaultIteratorOptions).Close()
				return nil
			}))
			commits, reads, scans := f.strain.Recorded()
			if policy == Auto {
				require.Zero(t, commits+reads+scans)
				return
			}
			// The replayer asks, too, and has taken what was there then.
			require.LessOrEqual(t, commits, int64(10))
			require.Positive(t, commits)
			require.Positive(t, reads)
			require.LessOrEqual(t, reads, int64(160))
			require.EqualValues(t, 1, scans)
		})
	}
}

func TestReplayGivesWay(t *testing.T) {
	f := open(t, eager, func(o *Options) {
		o.SpillPolicy, o.Tuning.ReplayMaxRate = Always, 1<<20
		o.seams.strain = func(float64) float64 { return 2 }
	})
	require.EqualValues(t, 1, f.SpillStats().ReplayDuty)
	for i := range 256 { // 16 s at that rate, if it held for Drain
		f.put(fmt.Sprint(i), incompressible(64<<10, i))
	}
	eventually(t, "replay works the least share of its time, at that rate", func() bool {
		st := f.SpillStats()
		return st.ReplayDuty == 1.0/16 && st.ReplayRate > 0 && st.ReplayRate < 2<<20
	})
	st := f.SpillStats()
	require.Positive(t, st.ReplayPausedTime)
	require.Positive(t, st.SpillPending)

	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	require.NoError(t, f.Drain(ctx), "who drains waits for it: the ceiling does not hold")
	require.EqualValues(t, 1, f.SpillStats().ReplayDuty, "nor does replay give way")
}
