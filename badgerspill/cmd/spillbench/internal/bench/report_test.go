package bench

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sampleReport has a figure of each unit and of each kind of bound.
func sampleReport(pairs int) *Report {
	cfg := DefaultConfig()
	cfg.Pairs = pairs
	r := &Report{OK: true, Case: "sample", Config: cfg, figures: []Figure{
		{"cpu", "CPU", Seconds, ratioAtMost(0.75)},
		{"written", "bytes written", Bytes, ratioAtMost(0.75)},
		{"rate", "entries", PerSecond, ratioAtLeast(1.3)},
		{"open", "Open", Seconds, atMost(2)},
		{"memory", "memory", Bytes, atMost(400 << 20)},
		{"spilled", "commits spilled", Count, nil},
		{"worst", "worst second by the median one", Ratio, atLeast(0.1)},
		{"never", "never measured", Count, ratioAtMost(1)},
	}}
	for n := range pairs {
		plain := &EngineResult{Engine: engine.Badger, Verified: openloop.Verification{Checked: 1_600_000}, Figures: map[string]float64{
			"cpu": 60 + float64(n), "written": 9 << 30, "rate": 40_000, "open": 0.03, "memory": 0, "worst": 0.0123,
		}}
		layered := &EngineResult{Engine: engine.Badgerspill, Verified: openloop.Verification{Checked: 1_600_000}, Figures: map[string]float64{
			"cpu": 41.7, "written": 7.2 * (1 << 30), "rate": 52_000 + float64(n), "open": 1.234, "memory": 500 << 20, "spilled": 1_190_000,
			"worst": 0.456,
		}}
		p := Pair{Engines: []*EngineResult{plain, layered}}
		if n%2 == 1 {
			p.Engines = []*EngineResult{layered, plain}
		}
		p.compare(r.figures, engine.Badger, engine.Badgerspill)
		r.Pairs = append(r.Pairs, p)
	}
	r.sum()
	return r
}

func TestTable(t *testing.T) {
	for _, row := range []struct {
		golden string
		pairs  int
		change func(*Report)
	}{
		{golden: "one_pair.txt", pairs: 1},
		{golden: "three_pairs.txt", pairs: 3, change: func(r *Report) { r.Sustained = 21_345.6 }},
		{golden: "failed.txt", pairs: 1, change: func(r *Report) {
			e := r.Pairs[0].Engines[1]
			e.Verified.Missing, e.Verified.Wrong = 3, 1
			e.Verified.Examples = []string{"key 0011223344556677 is missing"}
			e.Evidence = "/data/bench/pair-1-badgerspill"
		}},
	} {
		t.Run(row.golden, func(t *testing.T) {
			r := sampleReport(row.pairs)
			if row.change != nil {
				row.change(r)
			}
			var got bytes.Buffer
			if row.pairs > 1 {
				for n := range row.pairs {
					require.NoError(t, r.writePair(&got, n))
				}
			}
			require.NoError(t, r.writeTable(&got))
			file := filepath.Join("testdata", row.golden)
			if *update {
				require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
		})
	}
}

func TestMedian(t *testing.T) {
	of := func(values ...float64) []*float64 {
		var all []*float64
		for _, v := range values {
			all = append(all, &v)
		}
		return all
	}
	require.Nil(t, median(nil))
	require.Nil(t, median([]*float64{nil, nil}))
	require.EqualValues(t, 7, *median(of(7)))
	require.EqualValues(t, 2, *median(of(3, 1, 2)))
	require.EqualValues(t, 2.5, *median(of(4, 1, 3, 2)))
	require.EqualValues(t, 5, *median(append(of(5), nil)))
}

func TestBounds(t *testing.T) {
	value := func(v float64) *float64 { return &v }
	for _, row := range []struct {
		name          string
		bound         *Bound
		plain, layers *float64
		text          string
		met           any
	}{
		{"ratio just low enough", ratioAtMost(0.75), value(4), value(3), "at most 0.75x", true},
		{"ratio too high", ratioAtMost(0.75), value(4), value(3.01), "at most 0.75x", false},
		{"ratio just high enough", ratioAtLeast(1.3), value(10), value(13), "at least 1.30x", true},
		{"ratio too low", ratioAtLeast(1.3), value(10), value(12.9), "at least 1.30x", false},
		{"value low enough, whatever plain Badger's", atMost(2), value(0.01), value(2), "at most 2.00 s", true},
		{"value too high", atMost(2), nil, value(2.1), "at most 2.00 s", false},
		{"value just high enough, whatever plain Badger's", atLeast(0.5), value(2), value(0.5), "at least 500 ms", true},
		{"value not high enough", atLeast(0.5), nil, value(0.4), "at least 500 ms", false},
		{"no value", atMost(2), value(1), nil, "at most 2.00 s", nil},
		{"no ratio of nothing", ratioAtMost(1), value(0), value(1), "at most 1.00x", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRow(Figure{Key: "f", Unit: Seconds}, row.plain, row.layers)
			r.judge(row.bound)
			require.Equal(t, row.text, r.Wanted)
			if row.met == nil {
				require.Nil(t, r.Met)
				return
			}
			require.Equal(t, row.met, *r.Met)
		})
	}
}

func TestSmallRatiosKeepTheirDigits(t *testing.T) {
	for ratio, want := range map[float64]string{0.0123: "0.0123x", 0.1: "0.10x", 1: "1.00x", 12.34: "12.3x", 1234: "1,234x"} {
		require.Equal(t, want, ratioText(ratio))
	}
}

func TestProgressLine(t *testing.T) {
	p := Progress{Step: "burst", At: 12003 * time.Millisecond, Text: "7 of 9 accepted"}
	require.Equal(t, "badger      burst      12.0 s  7 of 9 accepted", p.line(engine.Badger))
	p.Layer = &engine.Layer{Tier: "spill", State: "spilling", SpillBytes: 512 << 20, SpillPending: 600_000}
	require.Equal(t, "badgerspill burst      12.0 s  7 of 9 accepted  spill, spilling, spill 512.0 MiB (600,000 commits)",
		p.line(engine.Badgerspill))
	require.Equal(t, "badger      settle      0.1 s", (&Progress{Step: "settle", At: 100 * time.Millisecond}).line(engine.Badger))
}

func TestEveryFigureHasANameAndEveryCaseALine(t *testing.T) {
	for _, c := range Cases() {
		require.NotEmpty(t, c.Short, c.Name)
		require.Positive(t, c.need(DefaultConfig()))
		seen, names := map[string]bool{}, map[string]bool{}
		for _, f := range c.figures {
			require.False(t, seen[f.Key], "%s: figure %s comes twice", c.Name, f.Key)
			require.False(t, names[f.Name], "%s: two figures are named %q", c.Name, f.Name)
			seen[f.Key], names[f.Name] = true, true
		}
	}
	_, err := Find("sprint")
	require.EqualError(t, err, `case "sprint": must be settle, hot, ordered, ledger, pauses, replay, rss, reads, foreground, overload, closed8, closed64, commit1, `+
		`commit8, commit1sync, commit8sync, rmw, view, iterate, readers or growth`)
}
