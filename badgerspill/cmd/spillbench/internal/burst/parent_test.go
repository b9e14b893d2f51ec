package burst

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// fakeStart answers every job with a result, after change has had its way with it, and leaves a
// file behind.
func fakeStart(t *testing.T, change func(*EngineResult)) StartFunc {
	return func(_ context.Context, job Job, message func(Message)) error {
		require.NoError(t, os.WriteFile(filepath.Join(job.Dir, "MANIFEST"), nil, 0o600))
		message(Message{Progress: &Progress{Engine: job.Engine, Stage: stageClose}})
		res := sampleResult(job.Engine)
		if change != nil {
			change(res)
		}
		message(Message{Result: res})
		return nil
	}
}

// tempRoot makes os.MkdirTemp use a directory that can be looked into afterwards.
func tempRoot(t *testing.T) string {
	root := t.TempDir()
	t.Setenv("TMPDIR", root)
	return root
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestBothEnginesRunAndNothingIsLeftBehind(t *testing.T) {
	root := tempRoot(t)
	var out, progress bytes.Buffer
	require.NoError(t, Run(t.Context(), smallConfig(), fakeStart(t, nil), &out, &progress))
	requireEmpty(t, root)
	require.Contains(t, out.String(), "reopened and checked")
	require.Contains(t, progress.String(), "badger      close     0.0 s  closing the database\nbadgerspill close     0.0 s  closing the database\n")
}

func TestEachEngineMakesItsBaseOnceAndEachRunGetsACopy(t *testing.T) {
	root := tempRoot(t)
	cfg := smallConfig()
	cfg.Base, cfg.Pairs = 100, 2
	var jobs []string
	start := func(_ context.Context, job Job, message func(Message)) error {
		mark := filepath.Join(job.Dir, "MANIFEST")
		if job.Fill {
			jobs = append(jobs, "fill "+job.Engine)
			require.NoError(t, os.WriteFile(mark, []byte(job.Engine), 0o600))
			message(Message{Result: &EngineResult{Engine: job.Engine}})
			return nil
		}
		jobs = append(jobs, job.Engine)
		found, err := os.ReadFile(mark)
		require.NoError(t, err)
		require.Equal(t, job.Engine, string(found))
		require.NoError(t, os.WriteFile(mark, []byte("another"), 0o600))
		message(Message{Result: sampleResult(job.Engine)})
		return nil
	}
	require.NoError(t, Run(t.Context(), cfg, start, &bytes.Buffer{}, &bytes.Buffer{}))
	require.Equal(t, []string{"fill badger", "fill badgerspill", "badger", "badgerspill", "badgerspill", "badger"}, jobs)
	requireEmpty(t, root)

	broken := errors.New("no room")
	err := Run(t.Context(), cfg, func(context.Context, Job, func(Message)) error { return broken }, &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorIs(t, err, broken)
	requireEmpty(t, root)
}

func TestTemporaryDirectoryIsKeptOnRequest(t *testing.T) {
	root := tempRoot(t)
	cfg := smallConfig()
	cfg.Keep = true
	require.NoError(t, Run(t.Context(), cfg, fakeStart(t, nil), &bytes.Buffer{}, &bytes.Buffer{}))
	kept, err := filepath.Glob(filepath.Join(root, "*", "badger*", "MANIFEST"))
	require.NoError(t, err)
	require.Len(t, kept, 2)
}

func TestNamedDirectoryIsMadeAndKept(t *testing.T) {
	cfg := smallConfig()
	cfg.Dir, cfg.Engine = filepath.Join(t.TempDir(), "a", "b"), Badgerspill
	require.NoError(t, Run(t.Context(), cfg, fakeStart(t, nil), &bytes.Buffer{}, &bytes.Buffer{}))
	require.FileExists(t, filepath.Join(cfg.Dir, Badgerspill, "MANIFEST"))
	require.NoDirExists(t, filepath.Join(cfg.Dir, Badger))
}

func TestNamedDirectoryWithSomethingInIt(t *testing.T) {
	cfg := smallConfig()
	cfg.Dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(cfg.Dir, "thesis.tex"), []byte("x"), 0o600))
	err := Run(t.Context(), cfg, fakeStart(t, nil), &bytes.Buffer{}, &bytes.Buffer{})
	var bad *flagcheck.Error
	require.ErrorAs(t, err, &bad)
	require.ErrorContains(t, err, `must be empty or absent, and holds "thesis.tex"`)
	require.FileExists(t, filepath.Join(cfg.Dir, "thesis.tex"))
}

func TestNamedDirectoryThatIsAFile(t *testing.T) {
	cfg := smallConfig()
	cfg.Dir = filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(cfg.Dir, nil, 0o600))
	err := Run(t.Context(), cfg, fakeStart(t, nil), &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorContains(t, err, "--dir: ")
	require.ErrorContains(t, err, cfg.Dir)
}

func TestLoadThatNoDiskHoldsIsRefused(t *testing.T) {
	root := tempRoot(t)
	cfg := smallConfig()
	cfg.BurstRate, cfg.Burst, cfg.ValueSize = 800_000, time.Minute, 1<<20
	err := Run(t.Context(), cfg, fakeStart(t, nil), &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorContains(t, err, "not enough disk space in "+root)
	requireEmpty(t, root)
}

func TestBothDatabasesNeedRoomOnlyIfTheyAreKept(t *testing.T) {
	removed, kept := DefaultConfig(), DefaultConfig()
	kept.Keep = true
	require.Greater(t, kept.need(), removed.need()+removed.keysAndValues())
	removed.Engine, kept.Engine = Badger, Badger
	require.Equal(t, removed.need(), kept.need())
}

func TestBasesNeedRoomBesideTheCopy(t *testing.T) {
	without, with := DefaultConfig(), DefaultConfig()
	with.Base = 1000
	require.Equal(t, 3*2*1000*with.entryBytes(), with.need()-without.need(), "two bases and a copy")
}

func TestLostKeysFailTheRunAndKeepTheDatabase(t *testing.T) {
	root := tempRoot(t)
	var out bytes.Buffer
	err := Run(t.Context(), smallConfig(), fakeStart(t, func(r *EngineResult) {
		if r.Engine == Badgerspill {
			r.Verified.Missing, r.Verified.Examples = 2, []string{"key 00ff is missing"}
		}
	}), &out, &bytes.Buffer{})
	require.ErrorIs(t, err, ErrFailed)
	kept, err := filepath.Glob(filepath.Join(root, "*", "*"))
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.Equal(t, Badgerspill, filepath.Base(kept[0]))
	require.Contains(t, out.String(), "2 are missing, 0 wrong, 0 unreadable")
	require.Contains(t, out.String(), "key 00ff is missing")
	require.Contains(t, out.String(), filepath.Dir(kept[0]))
}

func TestFailedWritesFailTheRun(t *testing.T) {
	root := tempRoot(t)
	var out bytes.Buffer
	err := Run(t.Context(), smallConfig(), fakeStart(t, func(r *EngineResult) {
		r.Phases[1].Failed, r.WriteError = 3, "disk full"
	}), &out, &bytes.Buffer{})
	require.ErrorIs(t, err, ErrFailed)
	require.Contains(t, out.String(), "badger: 3 writes failed, the first with: disk full")
	requireEmpty(t, root)
}

// A read of an acknowledged key is a promise that is checked during the load.
func TestFailedReadsFailTheRunAndKeepTheDatabase(t *testing.T) {
	root := tempRoot(t)
	cfg := smallConfig()
	cfg.Reads = 10
	var out bytes.Buffer
	err := Run(t.Context(), cfg, fakeStart(t, func(r *EngineResult) {
		r.Reads = []openloop.PhaseResult{{Phase: PhaseBurst, Duration: time.Second, Due: 9, Acked: 7, Failed: 2, P50: 1000}}
		r.ReadError = "read acknowledged key 00ff: key not found"
	}), &out, &bytes.Buffer{})
	require.ErrorIs(t, err, ErrFailed)
	said := strings.Join(strings.Fields(out.String()), " ") // it wraps its lines
	require.Contains(t, said, "badger: 2 reads failed, the first with: read acknowledged key 00ff: key not found")
	kept, err := filepath.Glob(filepath.Join(root, "*", "*"))
	require.NoError(t, err)
	require.Len(t, kept, 2)
	require.Contains(t, out.String(), "the databases are kept in "+filepath.Dir(kept[0]))
}

func TestEveryRunHasADatabaseOfItsOwn(t *testing.T) {
	cfg := smallConfig()
	cfg.Dir, cfg.Pairs = filepath.Join(t.TempDir(), "db"), 2
	var out, progress bytes.Buffer
	require.NoError(t, Run(t.Context(), cfg, fakeStart(t, nil), &out, &progress))
	for _, name := range []string{"badger", "badgerspill", "badger-2", "badgerspill-2"} {
		require.FileExists(t, filepath.Join(cfg.Dir, name, "MANIFEST"))
	}
	require.Contains(t, progress.String(), "for each of 2 engines, 2 times, then verification")
	require.Contains(t, out.String(), "  badgerspill, run 2   all 130 acknowledged keys are there")
}

func TestChildThatFails(t *testing.T) {
	for _, row := range []struct {
		name  string
		start StartFunc
		want  string
	}{
		{"says why", func(_ context.Context, _ Job, message func(Message)) error {
			message(Message{Error: "open badger: disk full"})
			return errors.New("exit status 1")
		}, "open badger: disk full"},
		{"dies", func(context.Context, Job, func(Message)) error {
			return errors.New("signal: killed")
		}, "the process that runs badger: signal: killed"},
		{"ends too early", func(context.Context, Job, func(Message)) error {
			return nil
		}, "the process that runs badger ended without a result"},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := tempRoot(t)
			require.EqualError(t, Run(t.Context(), smallConfig(), row.start, &bytes.Buffer{}, &bytes.Buffer{}), row.want)
			requireEmpty(t, root)
		})
	}
}

func TestInterruptRemovesTheTemporaryDirectory(t *testing.T) {
	root := tempRoot(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := Run(ctx, smallConfig(), func(ctx context.Context, job Job, message func(Message)) error {
		require.DirExists(t, job.Dir)
		cancel()
		message(Message{Error: "load badger: context canceled"})
		return ctx.Err()
	}, &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorIs(t, err, context.Canceled)
	requireEmpty(t, root)
}

func TestJSONResultCanBeReadBack(t *testing.T) {
	tempRoot(t)
	cfg := smallConfig()
	cfg.JSON = true
	var out bytes.Buffer
	require.NoError(t, Run(t.Context(), cfg, fakeStart(t, nil), &out, &bytes.Buffer{}))

	var got Report
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&got))
	require.True(t, got.OK)
	require.EqualValues(t, 100, got.Config.BurstRate)
	plain, layered := sampleResult(Badger), sampleResult(Badgerspill)
	plain.Run, layered.Run = 1, 1
	require.Equal(t, []*EngineResult{plain, layered}, got.Engines)
	require.Len(t, got.Ratios, 3)
	require.Equal(t, Ratio{Phase: PhaseBurst, P50: 400, P99: 4000, P999: 2000, P9999: 1000, Max: 1000}, got.Ratios[1])
	require.Equal(t, Ratio{Phase: PhaseQuiet}, got.Ratios[2], "plain Badger acknowledged nothing to compare with")
}

// sampleResult is a run as the two engines make it.
func sampleResult(name string) *EngineResult {
	us, ms, s := time.Microsecond, time.Millisecond, time.Second
	if name == Badger {
		return &EngineResult{
			Engine: name,
			Phases: []openloop.PhaseResult{
				{Phase: PhaseCalm, Duration: s, Due: 20, Acked: 20, OfferedRate: 20, AchievedRate: 20,
					P50: 90 * us, P99: 400 * us, P999: 500 * us, P9999: 999 * us, Max: 999_700, WokeLateP50: 61 * us},
				{Phase: PhaseBurst, Duration: s, Due: 100, Acked: 90, Unsent: 10, OfferedRate: 60_000, AchievedRate: 21_345.4,
					P50: 4 * s, P99: 40 * s, P999: 40 * s, P9999: 40 * s, Max: 41 * s},
				{Phase: PhaseQuiet, Duration: s, Due: 10, Unsent: 10, OfferedRate: 10},
			},
			Work:     sampleWork(),
			Verified: openloop.Verification{Checked: 110},
			PeakDisk: 1288490189,
			Took:     90 * s,
		}
	}
	work := sampleWork()
	for i, commits := range [][2]int64{{20, 0}, {20, 1_090_064}, {0, 10}} {
		work[i].Direct, work[i].Spilled = &commits[0], &commits[1]
	}
	return &EngineResult{
		Engine: name,
		Phases: []openloop.PhaseResult{
			{Phase: PhaseCalm, Duration: s, Due: 20, Acked: 20, OfferedRate: 20, AchievedRate: 20,
				P50: 100 * us, P99: 450 * us, P999: 600 * us, P9999: 1200 * us, Max: 1234 * us, WokeLateP50: 64 * us, WokeLateP99: 90 * us},
			{Phase: PhaseBurst, Duration: s, Due: 100, Acked: 100, OfferedRate: 60_000, AchievedRate: 59_990,
				P50: 10 * ms, P99: 10 * ms, P999: 20 * ms, P9999: 40 * ms, Max: 41 * ms},
			{Phase: PhaseQuiet, Duration: s, Due: 10, Acked: 10, OfferedRate: 10, AchievedRate: 10,
				P50: 110 * us, P99: 2 * ms, P999: 3 * ms, P9999: 3 * ms, Max: 3 * ms, WokeLateP50: 66 * us},
		},
		Layer: &engine.Layer{
			State: "direct", Tier: "normal",
			TiersEntered:  []engine.TierEntered{{Tier: "normal", Times: 2}, {Tier: "flush", Times: 12}, {Tier: "spill", Times: 1}, {Tier: "block", Times: 0}},
			CommitsDirect: 40, CommitsHedged: 64, CommitsSpilled: 1_090_000,
			BytesSpilled: 930 << 20, BytesReplayed: 1100 << 20, EntriesReplayed: 1_090_064,
			Stalls: 3, HandOvers: 1, Replays: 1, ReplayBy: "quiet",
		},
		Work: work,
		Spill: &SpillTimes{Used: true, First: s, Empty: 14 * s, AfterBurst: 12 * s,
			By: "quiet", Begun: 4800 * ms, BegunAfterBurst: 2800 * ms},
		Verified: openloop.Verification{Checked: 130},
		PeakDisk: 2254857830,
		Took:     60 * s,
	}
}

// sampleWork is what sampleResult took, phase by phase.
func sampleWork() (work []PhaseWork) {
	for i, phase := range []string{PhaseCalm, PhaseBurst, PhaseQuiet} {
		cpu := time.Duration(i+1) * time.Second
		work = append(work, PhaseWork{Phase: phase, CPU: &cpu, Allocated: 300 << 20, PeakHeap: 40 << 20})
	}
	return work
}
