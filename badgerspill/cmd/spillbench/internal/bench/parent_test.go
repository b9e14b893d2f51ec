package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// fakeStart answers every job with the figures that of gives for it, and leaves a file in the
// directory, which must hold that of the base if there is one.
type fakeStart struct {
	t    *testing.T
	of   func(Job) *StageResult
	jobs []Job
}

func (f *fakeStart) start(_ context.Context, job Job, message func(Message)) error {
	if len(f.jobs) > 0 && f.jobs[0].Stage == "base" && job.Stage != "base" {
		base, err := os.ReadFile(filepath.Join(job.Dir, "sub", "base"))
		require.NoError(f.t, err)
		want := "tables of badger"
		if job.Config.OwnBase {
			want = "tables of " + job.Engine
		}
		require.Equal(f.t, want, string(base))
	}
	if job.Stage == "base" {
		require.NoError(f.t, os.Mkdir(filepath.Join(job.Dir, "sub"), 0o700))
		require.NoError(f.t, os.WriteFile(filepath.Join(job.Dir, "sub", "base"), []byte("tables of "+job.Engine), 0o600))
	}
	require.NoError(f.t, os.WriteFile(filepath.Join(job.Dir, job.Stage), nil, 0o600))
	f.jobs = append(f.jobs, job)
	message(Message{Progress: &Progress{Step: job.Stage, Text: "at work"}})
	message(Message{Result: f.of(job)})
	return nil
}

func (f *fakeStart) ran() []string {
	var names []string
	for _, job := range f.jobs {
		names = append(names, job.Engine+" "+job.Stage)
	}
	return names
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

func findCase(t *testing.T, name string) *Case {
	t.Helper()
	c, err := Find(name)
	require.NoError(t, err)
	return c
}

func none(Job) *StageResult { return &StageResult{} }

func TestPairsAlternateAndStartFromCopiesOfTheBase(t *testing.T) {
	root := tempRoot(t)
	cfg := tiny()
	cfg.Pairs = 2
	f := &fakeStart{t: t, of: none}
	var out, progress bytes.Buffer
	require.NoError(t, Run(t.Context(), findCase(t, "replay"), cfg, f.start, &out, &progress))
	require.Equal(t, []string{
		"badger base",
		"badger batch", "badgerspill spill", "badgerspill replay",
		"badgerspill spill", "badgerspill replay", "badger batch",
	}, f.ran())
	dirs := map[string]bool{}
	for _, job := range f.jobs {
		dirs[job.Dir] = true
		require.Equal(t, "replay", job.Case)
		require.Equal(t, cfg.Scale, job.Config.Scale)
	}
	require.Len(t, dirs, 5, "the base, and one for each engine in each pair")
	requireEmpty(t, root)
	require.Contains(t, progress.String(), "pair 2 of 2, badgerspill\nbadgerspill spill       0.0 s  at work\n")
	require.Contains(t, out.String(), "pair 1, badger first\n")
	require.Contains(t, out.String(), "pair 2, badgerspill first\n")
	require.Contains(t, out.String(), "replay: median of 2 pairs at scale 0.001")
}

func TestEachEngineMakesItsOwnBase(t *testing.T) {
	root := tempRoot(t)
	cfg := tiny()
	cfg.OwnBase, cfg.Against = true, engine.Pebble
	f := &fakeStart{t: t, of: none}
	require.NoError(t, Run(t.Context(), findCase(t, "hot"), cfg, f.start, &bytes.Buffer{}, &bytes.Buffer{}))
	require.Equal(t, []string{"pebble base", "badgerspill base", "pebble burst", "badgerspill burst"}, f.ran())
	require.NotEqual(t, f.jobs[0].Dir, f.jobs[1].Dir)
	requireEmpty(t, root)

	one, own := findCase(t, "hot").need(tiny()), findCase(t, "hot").need(cfg)
	require.Equal(t, cfg.diskBytes(cfg.preloaded()), own-one)

	cfg.Against = engine.Log
	require.ErrorContains(t, Run(t.Context(), findCase(t, "overload"), cfg, f.start, &bytes.Buffer{}, &bytes.Buffer{}),
		"must be badger in case overload")
}

func TestCaseOfOneEngine(t *testing.T) {
	root := tempRoot(t)
	cfg := tiny()
	cfg.Pairs = 2
	f := &fakeStart{t: t, of: none}
	var out bytes.Buffer
	require.NoError(t, Run(t.Context(), findCase(t, "growth"), cfg, f.start, &out, &bytes.Buffer{}))
	require.Equal(t, []string{"badgerspill grow", "badgerspill grow"}, f.ran())
	require.Contains(t, out.String(), "pair 2, badgerspill\n")
	requireEmpty(t, root)
}

func TestWhatIsSustainedIsFoundBeforeThePairs(t *testing.T) {
	root := tempRoot(t)
	f := &fakeStart{t: t, of: func(job Job) *StageResult {
		if job.Stage == "sustained" {
			return &StageResult{Figures: map[string]float64{"sustained": 21_000.4}}
		}
		return &StageResult{Figures: map[string]float64{"longest": 1}}
	}}
	var out bytes.Buffer
	require.NoError(t, Run(t.Context(), findCase(t, "overload"), tiny(), f.start, &out, &bytes.Buffer{}))
	require.Equal(t, []string{"badger sustained", "badger overload", "badgerspill overload"}, f.ran())
	require.Zero(t, f.jobs[0].Sustained)
	require.Equal(t, 21_000.4, f.jobs[1].Sustained)
	require.Equal(t, 21_000.4, f.jobs[2].Sustained)
	require.Contains(t, out.String(), "plain Badger sustains 21,000/s")
	requireEmpty(t, root)
}

func TestFiguresOfStagesComeTogetherAndMediansAreOfRatios(t *testing.T) {
	tempRoot(t)
	cfg := tiny()
	cfg.Pairs, cfg.JSON = 3, true
	n := 0.0
	f := &fakeStart{t: t, of: func(job Job) *StageResult {
		switch {
		case job.Engine == engine.Badger && job.Stage == "read":
			n++
			return &StageResult{Figures: map[string]float64{"get_spilled_p50": n, "scan": 100}}
		case job.Stage == "read":
			return &StageResult{
				Figures:    map[string]float64{"get_spilled_p50": 4, "scan": 40, "pending": 3},
				Verified:   openloop.Verification{Checked: 10},
				LayerStats: json.RawMessage(`{"SpillPending":3}`),
			}
		default:
			return &StageResult{Figures: map[string]float64{"open": 2}, Verified: openloop.Verification{Checked: 5}}
		}
	}}
	var out bytes.Buffer
	require.NoError(t, Run(t.Context(), findCase(t, "reads"), cfg, f.start, &out, &bytes.Buffer{}))

	var got Report
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&got))
	require.True(t, got.OK)
	require.Equal(t, "reads", got.Case)
	require.Len(t, got.Pairs, 3)
	layered := got.Pairs[0].Engines[1]
	require.Equal(t, map[string]float64{"get_spilled_p50": 4, "scan": 40, "pending": 3, "open": 2}, layered.Figures)
	require.EqualValues(t, 15, layered.Verified.Checked)
	require.JSONEq(t, `{"SpillPending":3}`, string(layered.LayerStats))

	rows := map[string]Row{}
	for _, row := range got.Median {
		rows[row.Figure] = row
	}
	get := rows["get_spilled_p50"]
	require.EqualValues(t, 2, *get.Badger)      // of 1, 2, 3
	require.EqualValues(t, 4, *get.Badgerspill) // always
	require.EqualValues(t, 2, *get.Ratio)       // of 4, 2, 4/3
	require.True(t, *get.Met)
	require.Equal(t, "at most 2.00x", get.Wanted)
	require.InDelta(t, 0.4, *rows["scan"].Ratio, 1e-9)
	require.False(t, *rows["scan"].Met)
	require.Nil(t, rows["pending"].Badger)
	require.Nil(t, rows["pending"].Ratio)
	require.Nil(t, rows["get_other_p50"].Badgerspill)
	require.Nil(t, rows["get_other_p50"].Met, "nothing was measured")
}

func TestProcessThatIsToBeKilled(t *testing.T) {
	tempRoot(t)
	ended := func() error { return exec.Command(os.Args[0], "-no-such-flag").Run() }
	for _, row := range []struct {
		name   string
		result bool
		err    error
		want   string
	}{
		{"was killed", true, ended(), ""},
		{"died before its result", false, ended(), "the process that runs badger: exit status 2"},
		{"ended by itself", true, nil, "the process that runs badger was to be killed, and ended by itself"},
		{"could not be told its job", true, errors.New("broken pipe"), "the process that runs badger: broken pipe"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := &fakeStart{t: t, of: none}
			err := Run(t.Context(), findCase(t, "rss"), tiny(), func(ctx context.Context, job Job, message func(Message)) error {
				if job.Stage != "write" {
					return f.start(ctx, job, message)
				}
				if row.result {
					message(Message{Result: &StageResult{}})
				}
				return row.err
			}, &bytes.Buffer{}, &bytes.Buffer{})
			if row.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, row.want)
		})
	}
}

func TestLostKeysFailTheRunAndKeepTheDatabase(t *testing.T) {
	root := tempRoot(t)
	f := &fakeStart{t: t, of: func(job Job) *StageResult {
		res := &StageResult{}
		if job.Engine == engine.Badgerspill {
			res.Verified = openloop.Verification{Checked: 9, Missing: 2, Examples: []string{"key 00ff is missing"}}
		}
		return res
	}}
	var out bytes.Buffer
	require.ErrorIs(t, Run(t.Context(), findCase(t, "settle"), tiny(), f.start, &out, &bytes.Buffer{}), ErrFailed)
	kept, err := filepath.Glob(filepath.Join(root, "*", "pair-*"))
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.Equal(t, "pair-1-badgerspill", filepath.Base(kept[0]))
	require.Contains(t, out.String(), "of 9 keys looked for 2 are missing, 0 wrong, 0 unreadable")
	require.Contains(t, out.String(), "key 00ff is missing")
	require.Contains(t, out.String(), kept[0])
}

func TestDatabasesAreKeptOnRequestOnly(t *testing.T) {
	for keep, want := range map[bool]int{true: 2, false: 0} {
		cfg := tiny()
		cfg.Dir, cfg.Keep = filepath.Join(t.TempDir(), "a", "b"), keep
		require.NoError(t, Run(t.Context(), findCase(t, "settle"), cfg, (&fakeStart{t: t, of: none}).start, &bytes.Buffer{}, &bytes.Buffer{}))
		kept, err := filepath.Glob(filepath.Join(cfg.Dir, "pair-*", "burst"))
		require.NoError(t, err)
		require.Len(t, kept, want)
	}
}

func TestChildThatFails(t *testing.T) {
	for _, row := range []struct {
		name  string
		start StartFunc
		want  string
	}{
		{"says why", func(_ context.Context, _ Job, message func(Message)) error {
			message(Message{Error: "settle, burst of badger: disk full"})
			return errors.New("exit status 1")
		}, "settle, burst of badger: disk full"},
		{"dies", func(context.Context, Job, func(Message)) error {
			return errors.New("signal: killed")
		}, "the process that runs badger: signal: killed"},
		{"ends too early", func(context.Context, Job, func(Message)) error {
			return nil
		}, "the process that runs badger ended without a result"},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := tempRoot(t)
			require.EqualError(t, Run(t.Context(), findCase(t, "hot"), tiny(), row.start, &bytes.Buffer{}, &bytes.Buffer{}), row.want)
			requireEmpty(t, root)
		})
	}
}

func TestInterruptRemovesTheTemporaryDirectory(t *testing.T) {
	root := tempRoot(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := Run(ctx, findCase(t, "hot"), tiny(), func(ctx context.Context, _ Job, message func(Message)) error {
		cancel()
		message(Message{Error: "hot, base of badger: context canceled"})
		return ctx.Err()
	}, &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorIs(t, err, context.Canceled)
	requireEmpty(t, root)
}

func TestRunThatNoDiskHoldsIsRefused(t *testing.T) {
	root := tempRoot(t)
	cfg := tiny()
	cfg.Scale, cfg.Keep, cfg.Pairs = maxScale, true, maxPairs
	err := Run(t.Context(), findCase(t, "rss"), cfg, (&fakeStart{t: t, of: none}).start, &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorContains(t, err, "not enough disk space in "+root)
	require.ErrorContains(t, err, "lower --scale")
	requireEmpty(t, root)
}

func TestBadValuesNameFlagValueAndBound(t *testing.T) {
	require.NoError(t, DefaultConfig().Validate())
	for _, row := range []struct {
		name string
		set  func(*Config)
		want string
	}{
		{"no pair", func(c *Config) { c.Pairs = 0 }, "--pairs 0: must be between 1 and 100"},
		{"too many pairs", func(c *Config) { c.Pairs = 101 }, "--pairs 101: must be between 1 and 100"},
		{"no scale", func(c *Config) { c.Scale = 0 }, "--scale 0: must be between 0.0001 and 100"},
		{"scale too large", func(c *Config) { c.Scale = 1e3 }, "--scale 1000: must be between 0.0001 and 100"},
		{"no time", func(c *Config) { c.Duration = 0 }, "--duration 0s: must be between 1s and 1h0m0s"},
		{"too long", func(c *Config) { c.Duration = maxDuration + 1 }, "--duration 1h0m0.000000001s: must be between 1s and 1h0m0s"},
		{"against itself", func(c *Config) { c.Against = engine.Badgerspill }, `--against "badgerspill": must be one of badger, log, pebble, badger-mended`},
		{"against another, with a base", func(c *Config) { c.Against = engine.Log }, `--against "log": must be badger in case hot, which begins with a database of plain Badger's, or --own-base set`},
		{"settled at once", func(c *Config) { c.SettledFor = 0 }, "--settled-for 0s: must be between 10ms and 1h0m0s"},
		{"negative rate", func(c *Config) { c.Rate = -1 }, "--rate -1: must be between 0 and 500000"},
		{"rate too high", func(c *Config) { c.Rate = 500_001 }, "--rate 500001: must be between 0 and 500000"},
		{"too many writes", func(c *Config) { c.Rate = 500_000 },
			"--rate 500000: makes 300000000 writes in 5m0s, must be at most 100000000"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := DefaultConfig()
			row.set(&c)
			err := Run(t.Context(), findCase(t, "hot"), c, nil, &bytes.Buffer{}, &bytes.Buffer{})
			var bad *flagcheck.Error
			require.ErrorAs(t, err, &bad)
			require.EqualError(t, err, row.want)
		})
	}
}

func TestTimesScaleDownToASecond(t *testing.T) {
	cfg := DefaultConfig()
	require.Equal(t, time.Minute, cfg.scaledTime(time.Minute))
	cfg.Scale = 0.5
	require.Equal(t, 30*time.Second, cfg.scaledTime(time.Minute))
	require.EqualValues(t, 30*mostRate, cfg.writtenIn(time.Minute))
	cfg.Scale = 0.01
	require.Equal(t, time.Second, cfg.scaledTime(time.Minute))
}
