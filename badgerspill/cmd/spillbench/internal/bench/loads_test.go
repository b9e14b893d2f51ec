package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

func TestClosedLoopIsCountedBySecondAndEntry(t *testing.T) {
	onlyLinux(t)
	synctest.Test(t, func(t *testing.T) {
		e := newFake(true)
		// In the second second 80 writes, in the others 800.
		e.took = func(at time.Duration) time.Duration {
			if at >= time.Second && at < 2*time.Second {
				return 100 * time.Millisecond
			}
			return 10 * time.Millisecond
		}
		e.toDo = func(at time.Duration) bool { return at < 5*time.Second }
		cfg := tiny()
		cfg.Scale = 0.05
		r := fakeRunner(t, e, "closed8", cfg)
		require.NoError(t, runStage(t, r, "load"))

		f := r.res.Figures
		require.InDelta(t, 1680/3.0, f["accepted"], 8)
		require.InDelta(t, 80, f["worst"], 8)
		require.InDelta(t, 800, f["median"], 8)
		require.InDelta(t, 0.1, f["worst_by_median"], 0.01)
		require.InDelta(t, 0.1, f["longest"], 1e-9)
		require.InDelta(t, 5, f["settled"], 0.06)
		entries := f["accepted"] * 3
		require.InEpsilon(t, f["cpu"]/entries, f["cpu_entry"], 0.01)
		require.Contains(t, f, "written_entry")
		require.True(t, r.res.Verified.OK(), "%v", r.res.Verified.Examples)
		require.InDelta(t, entries, r.res.Verified.Checked, 8)
	})
}

// TestKeysInOrderAreNew also sees that each lies behind all that are there.
func TestKeysInOrderAreNew(t *testing.T) {
	onlyLinux(t)
	synctest.Test(t, func(t *testing.T) {
		e := newFake(true)
		r := fakeRunner(t, e, "ordered", tiny())
		preload(t, r, e)
		before := slices.Max(slices.Collect(maps.Keys(e.data)))
		n := len(e.data)
		require.NoError(t, runStage(t, r, "burst"))
		require.True(t, r.res.Verified.OK(), "%v", r.res.Verified.Examples)
		behind := 0
		for key := range e.data {
			if key > before {
				behind++
			}
		}
		require.EqualValues(t, r.cfg.written(), behind)
		require.Len(t, e.data, n+behind)
	})
}

// Round n takes n milliseconds a commit.
func TestCommitsOfEachRoundGoToADatabaseOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(true)
		e.took = func(time.Duration) time.Duration {
			// each round opens it a second time, to check
			return time.Duration((len(e.options)+1)/2) * time.Millisecond
		}
		e.layer = func(time.Duration) engine.Layer { return engine.Layer{CommitsSpilled: 3} }
		cfg := tiny()
		cfg.Scale = 0.3
		r := fakeRunner(t, e, "commit1sync", cfg)
		var dirs []string
		r.openEngine = func(name, dir string, opt engine.Options) (engine.Engine, error) {
			dirs = append(dirs, filepath.Base(dir))
			return e.open(name, dir, opt)
		}
		require.NoError(t, runStage(t, r, "commit"))

		require.Equal(t, strings.Fields("round-1 round-1 round-2 round-2 round-3 round-3"), dirs)
		require.Equal(t, []engine.Options{{SyncWrites: true}, {Checking: true}}, e.options[:2])
		f := r.res.Figures
		require.InDelta(t, 0.002, f["p50"], 1e-9)
		require.InDelta(t, 0.002, f["p99"], 1e-9)
		require.InDelta(t, 500, f["rate"], 1)
		require.EqualValues(t, 9, f["spilled"])
		require.True(t, r.res.Verified.OK(), "%v", r.res.Verified.Examples)
		require.EqualValues(t, 3*syncedCommits, r.res.Verified.Checked)
	})
}

func TestEveryIncrementIsCounted(t *testing.T) {
	for _, row := range []struct {
		name                  string
		spoil                 func(e *fakeEngine, key string)
		missing, wrong, total int64
	}{
		{"none lost", func(*fakeEngine, string) {}, 0, 0, 100},
		{"one lost", func(e *fakeEngine, key string) {
			e.put([]byte(key), binary.BigEndian.AppendUint64(nil, engine.Counter(e.data[key])-1))
		}, 0, 1, 100},
		{"one counted twice", func(e *fakeEngine, key string) {
			e.put([]byte(key), binary.BigEndian.AppendUint64(nil, engine.Counter(e.data[key])+1))
		}, 0, 1, 100},
		{"counter lost", func(e *fakeEngine, key string) { delete(e.data, key) }, 1, 0, 100},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFake(false)
				r := fakeRunner(t, e, "rmw", tiny())
				r.openEngine = func(name, dir string, opt engine.Options) (engine.Engine, error) {
					if opt.Checking {
						row.spoil(e, string(r.load.AppendKey(nil, 7)))
					}
					return e.open(name, dir, opt)
				}
				require.NoError(t, runStage(t, r, "increment"))
				require.InDelta(t, 16_000, r.res.Figures["committed"], 20)
				require.InDelta(t, 1, r.res.Figures["conflicts"], 1e-9)
				require.InDelta(t, 0.001, r.res.Figures["p99"], 1e-9)
				v := r.res.Verified
				require.Equal(t, []int64{row.missing, row.wrong, row.total}, []int64{v.Missing, v.Wrong, v.Checked}, "%v", v.Examples)
			})
		})
	}
}

// A key that is there takes one time in the fake, one that is not another.
func TestViewsOfEachKindAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(true)
		r := fakeRunner(t, e, "view", tiny())
		preload(t, r, e)
		there := map[string]bool{}
		for slot := range r.cfg.preloaded() {
			there[string(r.load.AppendKey(nil, slot))] = true
		}
		e.slow = func(key []byte) time.Duration {
			if there[string(key)] {
				return 0
			}
			return time.Millisecond
		}
		require.NoError(t, runStage(t, r, "view"))
		for _, kind := range viewKinds() {
			want := 500.0 * float64(kind.readers)
			if kind.hit {
				want *= 2
			}
			require.InDelta(t, want, r.res.Figures[kind.figure], 1e-6, kind.name)
		}
		require.True(t, r.res.Verified.OK(), "%v", r.res.Verified.Examples)
	})
}

func TestZipfHasFewHotKeys(t *testing.T) {
	v := newRunner(Job{Config: DefaultConfig()}, &Case{}, nil).viewer(nil, 0)
	const n = 100_000
	first := 0
	for range n {
		if slot := v.zipf.Uint64(); slot == 0 {
			first++
		} else {
			require.Less(t, slot, uint64(v.n))
		}
	}
	require.InDelta(t, 0.07*n, first, 0.01*n)
}

func TestViewThatFindsWhatItShouldNotIsAnError(t *testing.T) {
	for _, row := range []struct {
		name  string
		slots int64 // that are there, of 1,000 to hit and 1,000 to miss
		want  string
	}{
		{"hits that are missing", 0, "error key not found, wanted <nil>"},
		{"misses that are there", 2000, "error <nil>, wanted key not found"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFake(false)
				r := fakeRunner(t, e, "view", tiny())
				require.NoError(t, r.writeBatch(t.Context(), e, 0, row.slots))
				require.ErrorContains(t, runStage(t, r, "view"), row.want)
			})
		})
	}
}

func TestIterationsOfBothKindsAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(true)
		scanned := 0
		e.scan = func(values bool) time.Duration {
			if scanned++; scanned == 1 {
				return time.Hour // the first one must not count
			}
			if values {
				return 100 * time.Millisecond
			}
			return 50 * time.Millisecond
		}
		r := fakeRunner(t, e, "iterate", tiny())
		preload(t, r, e)
		require.NoError(t, runStage(t, r, "iterate"))
		require.InDelta(t, 10_000, r.res.Figures["values"], 1e-6)
		require.InDelta(t, 20_000, r.res.Figures["keys"], 1e-6)

		delete(e.data, string(r.load.AppendKey(nil, 17)))
		require.ErrorIs(t, r.passes(t.Context(), e), errMissed)
	})
}

func TestReadersHoldTheirTransactionsWhileWritersCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(true)
		r := fakeRunner(t, e, "readers", tiny())
		preload(t, r, e)
		require.NoError(t, runStage(t, r, "load"))
		f := r.res.Figures
		require.InDelta(t, 8000, f["commits"], 10)
		require.InDelta(t, 0.001, f["p50"], 1e-9)
		// 10 readers, each of which reads for 1 ms and holds for 5.5 ms on average.
		require.InDelta(t, 10/0.0065, f["reads"], 100)
		require.True(t, r.res.Verified.OK(), "%v", r.res.Verified.Examples)
		require.InDelta(t, 1000+8000, r.res.Verified.Checked, 10)
	})
}

func TestReaderThatFailsIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.ErrorContains(t, runStage(t, fakeRunner(t, newFake(false), "readers", tiny()), "load"), "not found")
	})
}

func TestGrowthIsByTheFirstSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake(true)
		r := fakeRunner(t, e, "growth", tiny())
		size := func() int { // in GiB, before scaling
			e.mu.Lock()
			defer e.mu.Unlock()
			for i, gib := range growthSizes {
				if int64(len(e.data)) <= growthEntries(r.cfg, gib) {
					return i
				}
			}
			return -1
		}
		e.took = func(time.Duration) time.Duration { return []time.Duration{2, 5, 3}[size()] * time.Millisecond }
		r.openEngine = func(name, dir string, opt engine.Options) (engine.Engine, error) {
			time.Sleep([]time.Duration{10, 10, 11}[size()] * time.Millisecond)
			return e.open(name, dir, opt)
		}
		require.NoError(t, runStage(t, r, "grow"))
		f := r.res.Figures
		for i, ms := range []float64{2, 5, 3} {
			for _, figure := range []string{"append_p50", "append_p99", "get_p50", "get_p99"} {
				if figure == "append_p99" && i > 0 {
					// the first appends of a size are those that come after the last of the size
					// before
					continue
				}
				require.InDelta(t, ms/1000, f[fmt.Sprintf("%s_%d", figure, growthSizes[i])], 1e-9, "%s, size %d", figure, i)
			}
		}
		require.InDelta(t, 2.5, f["append_grown"], 1e-9)
		require.InDelta(t, 2.5, f["get_grown"], 1e-9)
		require.InDelta(t, 1.1, f["open_grown"], 1e-9)
		require.True(t, r.res.Verified.OK(), "%v", r.res.Verified.Examples)
		require.EqualValues(t, 3*20, r.res.Verified.Checked)
		require.Len(t, e.data, int(growthEntries(r.cfg, 16)))
		require.Equal(t, engine.Options{HoldSpill: true, SpillCapacity: 8 * minCapacity}, e.options[0])
	})
}

// An acknowledged key that a fresh Open does not find must show in every case that writes.
func TestLostKeysAreFound(t *testing.T) {
	onlyLinux(t)
	for name, stage := range map[string]string{"closed8": "load", "commit8sync": "commit", "readers": "load"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFake(false)
				e.took = func(time.Duration) time.Duration { return 20 * time.Millisecond }
				r := fakeRunner(t, e, name, tiny())
				first := int64(0)
				if name == "readers" {
					preload(t, r, e)
					first = r.cfg.preloaded()
				}
				r.openEngine = func(name, dir string, opt engine.Options) (engine.Engine, error) {
					if opt.Checking {
						delete(e.data, string(r.load.AppendKey(nil, first)))
					}
					return e.open(name, dir, opt)
				}
				require.NoError(t, runStage(t, r, stage))
				require.EqualValues(t, 1, r.res.Verified.Missing)
			})
		})
	}
}

func TestInterruptedLoadsEnd(t *testing.T) {
	onlyLinux(t)
	for _, name := range strings.Fields("closed64 commit1 rmw view readers growth") {
		synctest.Test(t, func(t *testing.T) {
			e := newFake(true)
			r := fakeRunner(t, e, name, tiny())
			preload(t, r, e)
			ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
			defer cancel()
			c, err := Find(name)
			require.NoError(t, err)
			require.ErrorIs(t, c.stages(engine.Badgerspill)[0].run(ctx, r), context.DeadlineExceeded, name)
		})
	}
}
