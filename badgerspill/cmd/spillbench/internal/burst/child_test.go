package burst

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

// runChild returns the result and the stages that were reported, each once.
func runChild(t *testing.T, name string, cfg Config, open OpenFunc) (*EngineResult, []string, error) {
	t.Helper()
	var res *EngineResult
	var stages []string
	c := newChild(Job{Engine: name, Dir: t.TempDir(), Config: cfg}, func(m Message) {
		if m.Result != nil {
			res = m.Result
		}
		if p := m.Progress; p != nil && (len(stages) == 0 || stages[len(stages)-1] != p.Stage) {
			stages = append(stages, p.Stage)
		}
	}, false)
	err := c.run(t.Context(), open)
	return res, stages, err
}

func TestPlainEngineIsLoadedReopenedAndChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := smallConfig()
		cfg.Sync = true
		disk := newFakeDisk()
		res, stages, err := runChild(t, Badger, cfg, disk.opener(nil))
		require.NoError(t, err)
		require.Equal(t, []engine.Options{{SyncWrites: true}, {Checking: true}}, disk.opened)
		require.Equal(t, []string{stageLoad, stageClose, stageVerify}, stages)
		require.Len(t, res.Phases, 3)
		require.EqualValues(t, 100, res.phase(PhaseBurst).Acked)
		require.Equal(t, time.Millisecond, res.phase(PhaseBurst).P99)
		require.EqualValues(t, 130, res.Verified.Checked)
		require.True(t, res.Verified.OK())
		require.Len(t, res.Seconds, 3)
		require.EqualValues(t, 100, res.Seconds[1].AckedRate)
		require.Equal(t, time.Millisecond, res.Seconds[1].P99)
		require.Nil(t, res.Seconds[1].Layer)
		require.Equal(t, 2901*time.Millisecond, res.LastAnswer)
		require.Nil(t, res.Layer)
		require.Nil(t, res.Spill)
		require.Empty(t, res.WriteError)
	})
}

func TestBaseIsMadeOfOtherKeysAndSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := smallConfig()
		cfg.Base = 50
		disk := newFakeDisk()
		var results int
		c := newChild(Job{Engine: Badgerspill, Dir: t.TempDir(), Config: cfg, Fill: true}, func(m Message) {
			if m.Result != nil {
				results++
			}
		}, false)
		begin := time.Now()
		// The layer has something in the spill for a while.
		require.NoError(t, c.fill(t.Context(), disk.opener(func(e *fakeEngine) { e.spillTo = 3 * time.Second })))
		require.Equal(t, 1, results)
		require.Len(t, disk.opened, 2, "once more, since the close makes a table")
		require.Greater(t, time.Since(begin), 3*time.Second+filledFor)
		require.Len(t, disk.data, 50)

		res, _, err := runChild(t, Badger, cfg, disk.opener(nil))
		require.NoError(t, err)
		require.True(t, res.Verified.OK())
		require.EqualValues(t, 50+130, res.Verified.Checked)
		require.Len(t, disk.data, 50+130)

		res, _, err = runChild(t, Log, cfg, func(name, dir string, opt engine.Options) (Engine, error) {
			e, err := disk.opener(nil)(name, dir, opt)
			if opt.Checking {
				clear(disk.data)
			}
			return e, err
		})
		require.NoError(t, err)
		require.EqualValues(t, 50+130+2, res.Verified.Missing, "two are also read by themselves")
	})
}

func TestBaseThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := smallConfig()
		cfg.Base = 50
		c := newChild(Job{Engine: Badger, Dir: t.TempDir(), Config: cfg, Fill: true}, func(Message) {}, false)
		err := c.fill(t.Context(), newFakeDisk().opener(func(e *fakeEngine) { e.writeErr = errDiskFull }))
		require.ErrorIs(t, err, errDiskFull)
		require.ErrorContains(t, err, "fill badger")
	})
}

func TestTimeUntilTheSpillIsEmpty(t *testing.T) {
	for _, row := range []struct {
		name     string
		from, to time.Duration
		replays  []fakeReplay
		want     SpillTimes
		stages   []string
	}{
		{
			name:    "never used",
			replays: []fakeReplay{{500 * time.Millisecond, "quiet"}},
			want:    SpillTimes{},
			stages:  []string{stageLoad, stageClose, stageVerify},
		},
		{
			name: "empty before the burst is over",
			from: 1250 * time.Millisecond, to: 1650 * time.Millisecond,
			replays: []fakeReplay{{1350 * time.Millisecond, "high-water"}, {1900 * time.Millisecond, "unfinished"}},
			want: SpillTimes{Used: true, First: 1300 * time.Millisecond, Empty: 1700 * time.Millisecond, AfterBurst: -300 * time.Millisecond,
				By: "high-water", Begun: 1400 * time.Millisecond, BegunAfterBurst: -600 * time.Millisecond},
			stages: []string{stageLoad, stageClose, stageVerify},
		},
		{
			name: "empty after the load",
			from: 1250 * time.Millisecond, to: 3750 * time.Millisecond,
			replays: []fakeReplay{{1850 * time.Millisecond, "age"}, {2150 * time.Millisecond, "quiet"}},
			want: SpillTimes{Used: true, First: 1300 * time.Millisecond, Empty: 3800 * time.Millisecond, AfterBurst: 1800 * time.Millisecond,
				By: "quiet", Begun: 2200 * time.Millisecond, BegunAfterBurst: 200 * time.Millisecond},
			stages: []string{stageLoad, stageClose, stageVerify},
		},
		{
			name: "time is up",
			from: 1250 * time.Millisecond, to: time.Hour,
			want: SpillTimes{Used: true, First: 1300 * time.Millisecond, Empty: 6 * time.Second, AfterBurst: 4 * time.Second, Drained: true,
				By: "drain", Begun: 6 * time.Second, BegunAfterBurst: 4 * time.Second},
			stages: []string{stageLoad, stageReplay, stageClose, stageVerify},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				open := newFakeDisk().opener(func(e *fakeEngine) { e.spillFrom, e.spillTo, e.replays = row.from, row.to, row.replays })
				res, stages, err := runChild(t, Badgerspill, smallConfig(), open)
				require.NoError(t, err)
				require.Equal(t, row.stages, stages)
				// The ticks of the load and of the wait for the replay are not in step.
				got, step := *res.Spill, 100*time.Millisecond
				require.InDelta(t, float64(row.want.Empty), float64(got.Empty), float64(step))
				require.InDelta(t, float64(row.want.AfterBurst), float64(got.AfterBurst), float64(step))
				got.Empty, got.AfterBurst = row.want.Empty, row.want.AfterBurst
				require.InDelta(t, float64(row.want.Begun), float64(got.Begun), float64(step))
				require.InDelta(t, float64(row.want.BegunAfterBurst), float64(got.BegunAfterBurst), float64(step))
				got.Begun, got.BegunAfterBurst = row.want.Begun, row.want.BegunAfterBurst
				require.Equal(t, row.want, got)
				require.Equal(t, "direct", res.Layer.State)
				requireSpilling(t, row.from, min(row.to, row.want.Empty), res.Seconds)
			})
		})
	}
}

// requireSpilling checks that the layer was seen to spill in the seconds from from to to and in no
// other, and that these are all there.
func requireSpilling(t *testing.T, from, to time.Duration, seconds []Second) {
	t.Helper()
	require.GreaterOrEqual(t, seconds[len(seconds)-1].End(), to)
	for _, s := range seconds {
		require.NotNil(t, s.Layer, "%v", s.At)
		// the last look that sees it may be here or in the second before
		if (s.At - to).Abs() <= sampleEvery {
			continue
		}
		spills := s.At < to && s.End() > from
		require.Equal(t, spills, s.Layer.Spilling, "%v", s.At)
		if spills {
			require.EqualValues(t, 7, s.Layer.SpillPending)
		}
	}
}

func TestWorkIsMeasuredByPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := newFakeDisk().opener(func(e *fakeEngine) {
			e.spillFrom, e.spillTo, e.blockedPerSecond = 1250*time.Millisecond, 3500*time.Millisecond, 40
		})
		res, _, err := runChild(t, Badgerspill, smallConfig(), open)
		require.NoError(t, err)
		var phases []string
		var blocked, direct, spilled []int64
		for _, w := range res.Work {
			direct, spilled = append(direct, *w.Direct), append(spilled, *w.Spilled)
			phases = append(phases, w.Phase)
			blocked = append(blocked, *w.Blocked)
			if runtime.GOOS == "linux" {
				require.NotNil(t, w.CPU)
				require.GreaterOrEqual(t, *w.CPU, time.Duration(0))
			}
		}
		require.Equal(t, []string{PhaseCalm, PhaseBurst, PhaseQuiet, PhaseAfter}, phases)
		// They are counted twice a second, and the last write is acknowledged at 2.901 s.
		require.Equal(t, []int64{40, 40, 20, 40}, blocked)
		require.Equal(t, []int64{100, 25, 0}, direct[:3])
		require.Equal(t, []int64{0, 75, 90}, spilled[:3], "hedged ones included")
		n, all, ok := res.direct(PhaseBurst)
		require.Equal(t, []int64{25, 100}, []int64{n, all})
		require.True(t, ok)
		sum := int64(0)
		for _, s := range res.Seconds {
			sum += s.Layer.Blocked
		}
		require.EqualValues(t, 140, sum)
	})
}

func TestFailedWritesAreReportedWithTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res, _, err := runChild(t, Badger, smallConfig(), newFakeDisk().opener(func(e *fakeEngine) { e.writeErr = errDiskFull }))
		require.NoError(t, err)
		require.EqualValues(t, 130, res.failed())
		require.Equal(t, "disk full", res.WriteError)
		require.Zero(t, res.Verified.Checked)
	})
}

func TestLostKeyIsFoundAfterTheReopen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newFakeDisk()
		inner := disk.opener(nil)
		open := func(name, dir string, opt engine.Options) (Engine, error) {
			if opt.Checking {
				// Not the first key, which is read by itself too and would count twice.
				keys := slices.Sorted(maps.Keys(disk.data))
				delete(disk.data, keys[10])
				disk.data[keys[20]][31] ^= 0x80
			}
			return inner(name, dir, opt)
		}
		res, _, err := runChild(t, Badgerspill, smallConfig(), open)
		require.NoError(t, err)
		require.EqualValues(t, 1, res.Verified.Missing)
		require.EqualValues(t, 1, res.Verified.Wrong)
		require.Len(t, res.Verified.Examples, 2)
	})
}

func TestEngineThatDoesNotOpen(t *testing.T) {
	broken := func(string, string, engine.Options) (Engine, error) { return nil, errDiskFull }
	_, _, err := runChild(t, Badger, smallConfig(), broken)
	require.EqualError(t, err, "open badger: disk full")
}

func TestEngineThatDoesNotOpenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newFakeDisk().opener(nil)
		_, _, err := runChild(t, Badger, smallConfig(), func(name, dir string, opt engine.Options) (Engine, error) {
			if opt.Checking {
				return nil, errors.New("corrupt")
			}
			return inner(name, dir, opt)
		})
		require.EqualError(t, err, "reopen badger: corrupt")
	})
}

func TestInterruptedChildEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		c := newChild(Job{Engine: Badger, Dir: t.TempDir(), Config: smallConfig()}, func(Message) {}, false)
		require.ErrorIs(t, c.run(ctx, newFakeDisk().opener(nil)), context.DeadlineExceeded)
		time.Sleep(time.Second) // of the fake clock, for the writers to notice
	})
}
