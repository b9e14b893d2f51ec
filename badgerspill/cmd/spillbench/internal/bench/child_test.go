package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

func onlyLinux(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
}

// preload puts the base database into the fake.
func preload(t *testing.T, r *runner, e *fakeEngine) {
	require.NoError(t, r.writeBatch(t.Context(), e, 0, r.cfg.preloaded()))
}

func TestBurstEndsWhenAllIsSettled(t *testing.T) {
	onlyLinux(t)
	synctest.Test(t, func(t *testing.T) {
		e := newFake(true)
		// 1,200 writes of 64 writers at 1 ms each are done 19 ms after the 200 ms in which the
		// database is seen ready.
		e.layer = func(at time.Duration) engine.Layer {
			l := engine.Layer{CommitsSpilled: 7, EntriesReplayed: 9}
			if at > readyFor && at < 3*time.Second {
				l.SpillPending = 1
			}
			return l
		}
		e.toDo = func(at time.Duration) bool { return at > 2*time.Second && at < 5*time.Second }
		r := fakeRunner(t, e, "settle", tiny())
		preload(t, r, e)
		require.NoError(t, runStage(t, r, "burst"))

		f := r.res.Figures
		require.InDelta(t, 4.8, f["settled"], 0.06, "without the second in which nothing happened")
		require.InDelta(t, 1200/0.019, f["accepted"], 1)
		require.EqualValues(t, 7, f["spilled"])
		require.EqualValues(t, 9, f["replayed"])
		for _, figure := range []string{"cpu", "written", "cancelled", "level0", "disk"} {
			require.Contains(t, f, figure)
		}
		require.Equal(t, []engine.Options{{}, {Checking: true}}, e.options)
		require.True(t, r.res.Verified.OK(), "%v", r.res.Verified.Examples)
		require.Greater(t, r.res.Verified.Checked, int64(1000))
		var stats engine.Layer
		require.NoError(t, json.Unmarshal(r.res.LayerStats, &stats))
		require.EqualValues(t, 7, stats.CommitsSpilled)
	})
}

func TestBurstOfAnEngineWithoutLevels(t *testing.T) {
	onlyLinux(t)
	synctest.Test(t, func(t *testing.T) {
		e := newFake(false)
		e.flat = true
		r := fakeRunner(t, e, "settle", tiny())
		preload(t, r, e)
		require.NoError(t, runStage(t, r, "burst"))
		require.Contains(t, r.res.Figures, "cpu")
		require.NotContains(t, r.res.Figures, "level0")
	})
}

func TestBurstFindsLostWrites(t *testing.T) {
	onlyLinux(t)
	synctest.Test(t, func(t *testing.T) {
		e := newFake(false)
		r := fakeRunner(t, e, "hot", tiny())
		preload(t, r, e)
		old := e.data[string(r.load.AppendKey(nil, 3))]
		r.openEngine = func(name, dir string, opt engine.Options) (engine.Engine, error) {
			if opt.Checking { // slot 3 is one of the 20 hot ones
				e.put(r.load.AppendKey(nil, 3), old)
			}
			return e.open(name, dir, opt)
		}
		require.NoError(t, runStage(t, r, "burst"))
		require.Positive(t, r.res.Verified.Wrong)
		require.Contains(t, r.res.Verified.Examples[0], "the one from before the run")
	})
}

// The load of the layer is measured from the begin of the replay to its end; that of plain Badger
// until it has settled. Latencies at other times are worse here, and must not be seen.
func TestForegroundIsMeasuredWhileThereIsWork(t *testing.T) {
	for _, layered := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e := newFake(layered)
			r := fakeRunner(t, e, "foreground", tiny())
			all := r.cfg.preloaded() + foregroundEntries(r.cfg)
			stage, from, until := "load", 2*time.Second, 4*time.Second
			if !layered {
				// After 200 ms to be ready, and 1,048 writes of 64 writers.
				from = readyFor + 17*time.Millisecond
			}
			e.layer = func(at time.Duration) engine.Layer {
				l := engine.Layer{}
				if at < until {
					l.SpillPending = 1
				}
				if at >= from {
					l.EntriesReplayed = 1
				}
				return l
			}
			e.toDo = func(at time.Duration) bool { return at > readyFor && at < until || layered && at < 6*time.Second }
			e.took = func(at time.Duration) time.Duration {
				switch {
				case at < readyFor+17*time.Millisecond && !layered:
					return time.Millisecond
				case at >= from && at < until:
					return 3 * time.Millisecond
				default:
					return 10 * time.Millisecond
				}
			}
			preload(t, r, e)
			if layered {
				require.NoError(t, r.writeBatch(t.Context(), e, r.cfg.preloaded(), foregroundEntries(r.cfg)))
			}
			require.NoError(t, runStage(t, r, stage))

			f := r.res.Figures
			require.InDelta(t, (until - from).Seconds(), f["time"], 0.06)
			for _, figure := range []string{"write_p50", "write_p99", "read_p50", "read_p99"} {
				if layered && strings.HasSuffix(figure, "p99") {
					// the layer is looked at every 20 ms: that much of the time before and after
					// may be in it
					continue
				}
				require.InDelta(t, 0.003, f[figure], 1e-5, figure)
			}
			if layered {
				require.InDelta(t, 4, f["settled"], 0.06)
				require.InDelta(t, 0.010, f["write_p99_settled"], 1e-4)
				require.InDelta(t, 0.010, f["read_p99_settled"], 1e-4)
			} else {
				require.Equal(t, f["time"], f["settled"])
				require.Equal(t, f["write_p99"], f["write_p99_settled"])
			}
			require.True(t, r.res.Verified.OK(), "%v", r.res.Verified.Examples)
			require.Greater(t, r.res.Verified.Checked, all, "the writes of the load, too")
			require.Greater(t, e.gotten, 2000*2)
		})
	}
}

// The database is settled at 4 s, and its writers are stuck from 0.5 s to 6 s: most writes of the
// time that is measured are sent after it.
func TestForegroundCountsWritesThatAreStillToBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(false)
		e.toDo = func(at time.Duration) bool { return at > readyFor && at < 4*time.Second }
		e.took = func(at time.Duration) time.Duration {
			if at > 500*time.Millisecond && at < 6*time.Second {
				return 6*time.Second - at
			}
			return time.Millisecond
		}
		r := fakeRunner(t, e, "foreground", tiny())
		preload(t, r, e)
		require.NoError(t, runStage(t, r, "load"))
		require.InDelta(t, 3.8, r.res.Figures["time"], 0.06)
		require.Greater(t, r.res.Figures["write_p50"], 3.0)
		require.Greater(t, r.res.Figures["read_p50"], 3.0)
	})
}

func TestForegroundIsMeasuredForASecondAtLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(false)
		cfg := tiny()
		cfg.SettledFor = minSettledFor
		r := fakeRunner(t, e, "foreground", cfg)
		preload(t, r, e)
		require.NoError(t, runStage(t, r, "load"))
		require.InDelta(t, 0, r.res.Figures["settled"], 1e-3)
		require.EqualValues(t, 1, r.res.Figures["time"])
		require.InDelta(t, 0.001, r.res.Figures["write_p99"], 1e-5)
		require.GreaterOrEqual(t, e.gotten, 2000)
	})
}

func TestForegroundReadThatFailsIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(false)
		r := fakeRunner(t, e, "foreground", tiny())
		err := runStage(t, r, "load") // nothing was preloaded
		require.ErrorContains(t, err, "foreground, load of badger: key ")
		require.ErrorContains(t, err, "not found")
	})
}

func TestOverloadCountsFromTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(true)
		e.layer = func(time.Duration) engine.Layer { return engine.Layer{CommitsBlocked: 5, CommitsSpilled: 6} }
		// For half a second nobody is answered, later everybody takes 128 ms: 64 writers make 500
		// writes a second.
		e.took = func(at time.Duration) time.Duration {
			switch {
			case at < time.Second:
				return time.Millisecond
			case at < 1500*time.Millisecond:
				return 1500*time.Millisecond - at
			default:
				return 128 * time.Millisecond
			}
		}
		r := fakeRunner(t, e, "overload", tiny())
		r.job.Sustained = 1000
		require.NoError(t, runStage(t, r, "overload"))

		f := r.res.Figures
		require.EqualValues(t, 2000, f["offered"])
		require.InDelta(t, 0.5, f["longest"], 1e-3, "most of what is late was never sent, and waits outside of the engine")
		require.EqualValues(t, 64, f["long"])
		require.InDelta(t, 500, f["last"], 30)
		require.InDelta(t, (2000+500*18.5)/20, f["accepted"], 10)
		require.EqualValues(t, 5, f["blocked"])
		require.EqualValues(t, 6, f["spilled"])
		require.True(t, r.res.Verified.OK(), "%v", r.res.Verified.Examples)
		require.Equal(t, []engine.Options{{SpillCapacity: minCapacity}, {Checking: true}}, e.options)
	})
}

func TestOverloadOfNothingOrTooMuch(t *testing.T) {
	for _, sustained := range []float64{0.01, 1e9} {
		r := fakeRunner(t, newFake(false), "overload", tiny())
		r.job.Sustained = sustained
		require.ErrorContains(t, runStage(t, r, "overload"), "change --duration")
	}
}

// A key of the base takes one time in the fake, one that was written later another.
func TestGetsOfBothKindsAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(true)
		r := fakeRunner(t, e, "reads", tiny())
		preload(t, r, e)
		require.NoError(t, r.writeBatch(t.Context(), e, r.cfg.preloaded(), readsEntries(r.cfg)))
		base := map[string]bool{}
		for slot := range r.cfg.preloaded() {
			base[string(r.load.AppendKey(nil, slot))] = true
		}
		e.slow = func(key []byte) time.Duration {
			if base[string(key)] {
				return 5 * time.Millisecond
			}
			return 2 * time.Millisecond
		}
		e.layer = func(time.Duration) engine.Layer { return engine.Layer{SpillPending: 77, SpillBytes: 99} }
		require.NoError(t, runStage(t, r, "read"))

		f := r.res.Figures
		// one more for any write or read of the fake
		require.InDelta(t, 0.003, f["get_spilled_p50"], 1e-9)
		require.InDelta(t, 0.003, f["get_spilled_p99"], 1e-9)
		require.InDelta(t, 0.006, f["get_other_p50"], 1e-9)
		require.InDelta(t, 0.006, f["get_other_p99"], 1e-9)
		require.EqualValues(t, 77, f["pending"])
		require.EqualValues(t, 99, f["spill"])
		require.True(t, r.res.Verified.OK(), "%v", r.res.Verified.Examples)
		require.Equal(t, []engine.Options{{HoldSpill: true}}, e.options)
	})
}

func TestScanThatMissesAnEntryIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(false)
		r := fakeRunner(t, e, "reads", tiny())
		preload(t, r, e)
		require.NoError(t, runStage(t, r, "write"))
		delete(e.data, string(r.load.AppendKey(nil, 17)))
		err := r.scan(t.Context(), e, "scan", r.cfg.preloaded()+readsEntries(r.cfg), func(visit func() bool) error {
			return e.ScanKeys(func([]byte) bool { return visit() })
		})
		require.ErrorIs(t, err, errMissed)
		require.ErrorContains(t, err, "3096 of 3097 visited")
	})
}

func TestInterruptedStageEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(false)
		e.toDo = func(time.Duration) bool { return true }
		r := fakeRunner(t, e, "settle", tiny())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := r.ready(ctx, e)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "ready: not settled (level 0 to compact")
	})
}

func TestChildThatIsToldNonsense(t *testing.T) {
	for _, row := range []struct{ name, job, want string }{
		{"unknown case", `{"case":"sprint"}`, `case "sprint": must be settle, hot`},
		{"unknown stage", `{"case":"rss","stage":"read","engine":"badger"}`, `case rss has no stage "read" of badger`},
		{"unknown engine", `{"case":"rss","stage":"open","engine":"bolt"}`, `unknown engine "bolt"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			// The input stays open: else the child would rightly think that it was interrupted.
			in, job := io.Pipe()
			go func() { _, _ = io.WriteString(job, row.job) }()
			defer job.Close()
			var out bytes.Buffer
			err := ChildMain(t.Context(), in, &out)
			require.ErrorContains(t, err, row.want)
			var m Message
			require.NoError(t, json.NewDecoder(&out).Decode(&m))
			require.Equal(t, err.Error(), m.Error)
		})
	}
}

func TestWhatTheLayerCountsByName(t *testing.T) {
	r := newRunner(Job{}, &Case{}, nil)
	require.NoError(t, r.setCounted("slowed", "CommitsSlowed"))
	require.Empty(t, r.res.Figures, "no layer")
	r.res.LayerStats = json.RawMessage(`{"CommitsBlocked": 3, "CommitsSlowed": 12, "State": "direct"}`)
	require.NoError(t, r.setCounted("slowed", "CommitsSlowed"))
	require.NoError(t, r.setCounted("else", "CommitsElse"))
	require.Equal(t, map[string]float64{"slowed": 12}, r.res.Figures)
	require.ErrorContains(t, r.setCounted("state", "State"), "State of the layer")
}

func TestQuantile(t *testing.T) {
	var sorted []time.Duration
	require.Zero(t, quantile(sorted, 0.5))
	for i := range 101 {
		sorted = append(sorted, time.Duration(i))
	}
	require.EqualValues(t, 50, quantile(sorted, 0.5))
	require.EqualValues(t, 99, quantile(sorted, 0.99))
	require.EqualValues(t, 100, quantile(sorted, 1))
	require.EqualValues(t, 7, quantile([]time.Duration{7}, 0.99))
}

func TestMemoryWatchEndsWithTheLastLook(t *testing.T) {
	onlyLinux(t)
	w := watchMemory(newFake(false))
	last, peak, err := w.stop()
	require.NoError(t, err)
	require.Positive(t, last.beside)
	require.GreaterOrEqual(t, peak, last.beside)
	require.Positive(t, last.mapped)
}
