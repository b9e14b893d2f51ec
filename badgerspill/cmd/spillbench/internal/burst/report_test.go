package burst

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestTable(t *testing.T) {
	for _, row := range []struct {
		golden  string
		engines []string
		change  func(*Report)
	}{
		{golden: "both.txt", engines: []string{Badger, Badgerspill}},
		{golden: "pairs.txt", change: func(r *Report) { *r = *pairsReport() }},
		{golden: "badger_only.txt", engines: []string{Badger}},
		{golden: "failed.txt", engines: []string{Badgerspill}, change: func(r *Report) {
			r.OK, r.Evidence = false, "/data/burst"
			e := r.Engines[0]
			e.Phases[1].Failed, e.WriteError = 1200, "write blocked"
			e.Verified.Missing, e.Verified.Wrong = 3, 1
			e.Verified.Examples = []string{"key 0011223344556677 is missing", "key 8899aabbccddeeff has a wrong value: byte 0 is 0x0 instead of 0x1"}
			e.Spill.By, e.Spill.Drained = "drain", true
			e.Work[0].Direct, e.Work[0].Spilled = e.Work[0].Spilled, e.Work[0].Direct
			e.Layer.TiersEntered = nil
		}},
	} {
		t.Run(row.golden, func(t *testing.T) {
			r := &Report{OK: true, Config: DefaultConfig()}
			for _, name := range row.engines {
				r.Engines = append(r.Engines, sampleResult(name))
			}
			r.compare()
			if row.change != nil {
				row.change(r)
			}
			var got bytes.Buffer
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

// sampleReads are reads of the burst, so many times as slow as they can be.
func sampleReads(slow time.Duration) []openloop.PhaseResult {
	us, ms := slow*time.Microsecond, slow*time.Millisecond
	return []openloop.PhaseResult{{Phase: PhaseBurst, Duration: time.Second, Due: 6000, Acked: 6000, OfferedRate: 6000, AchievedRate: 6000,
		P50: 10 * us, P99: ms, P999: 5 * ms, P9999: 8 * ms, Max: 9 * ms}}
}

// Three runs of three engines: badgerspill gets slower from run to run, and in the last one the log
// acknowledges nothing.
func pairsReport() *Report {
	r := &Report{OK: true, Config: DefaultConfig()}
	r.Config.Engine, r.Config.Pairs, r.Config.Reads = "badger,badgerspill,log", 3, 10
	for _, turn := range r.Config.turns() {
		e := sampleResult(turn.engine)
		e.Engine, e.Run = turn.engine, turn.run
		cpu, slow := time.Duration(turn.run)*time.Second, time.Duration(1)
		e.Work = []PhaseWork{{Phase: PhaseBurst, CPU: &cpu, Allocated: 300 << 20, PeakHeap: 40 << 20}}
		switch turn.engine {
		case Badgerspill:
			slow = 5 * time.Duration(turn.run)
			e.Phases[1].P99 *= time.Duration(turn.run)
			e.Work[0].Allocated, e.Work[0].PeakHeap = 200<<20, 60<<20
		case Badger:
			slow = 1000
		case Log:
			e.Layer, e.Spill = nil, nil
			e.Phases[1].P99 = 4 * time.Millisecond
			if turn.run == 3 {
				e.Phases[1].Acked = 0
			}
		}
		e.Reads = sampleReads(slow)
		r.Engines = append(r.Engines, e)
	}
	r.compare()
	return r
}

func TestRatiosAreMediansOverTheRuns(t *testing.T) {
	r := pairsReport()
	require.Equal(t, 2000.0, r.Ratios[1].P99, "4,000, 2,000 and 1,333")
	var got []string
	for _, m := range r.Multiples {
		got = append(got, m.Engine+" of "+m.Of+", "+m.Operations)
	}
	require.Equal(t, []string{
		"badgerspill of badger, writes", "badgerspill of badger, reads",
		"badgerspill of log, writes", "badgerspill of log, reads",
		"log of badger, writes", "log of badger, reads",
	}, got)
	require.Equal(t, Multiple{Engine: Badgerspill, Of: Badger, Operations: writes,
		P50: 1.0 / 400, P99: 1.0 / 2000, P9999: 0.001, Max: 0.001, CPU: 1, Allocated: 2.0 / 3, PeakHeap: 1.5}, r.Multiples[0])
	require.Equal(t, 0.01, r.Multiples[1].P99)
	require.Equal(t, 3.75, r.Multiples[2].P99, "2.5 and 5; the third run has nothing to compare with")
	require.Equal(t, 10.0, r.Multiples[3].P99)

	require.Zero(t, median(nil))
	require.Equal(t, 2.0, median([]float64{9, 1, 2}))
	for x, want := range map[float64]string{0: "-", 0.000412345: "0.000412x", 0.0999: "0.0999x", 0.5: "0.500x", 0.9996: "1.00x", 1: "1.00x", 12345: "12,345x"} {
		require.Equal(t, want, multipleText(x))
	}
}

func TestProgressLines(t *testing.T) {
	tick := openloop.Tick{
		Phase:   PhaseBurst,
		Offered: 60_000.4, Achieved: 21_345.6, P99: 1234 * time.Millisecond, Behind: 123_456,
	}
	require.Equal(t,
		"badger      burst    12.0 s  offered  60,000/s  achieved  21,346/s  p99   1.23 s  behind   123,456",
		Progress{Engine: Badger, Stage: stageLoad, At: 12003 * time.Millisecond, Tick: &tick}.line())
	require.Equal(t,
		"badgerspill burst    12.0 s  offered  60,000/s  achieved  21,346/s  p99   1.23 s  behind   123,456"+
			"  spill, spilling, spill 512.0 MiB (600,000 commits)",
		Progress{Engine: Badgerspill, Stage: stageLoad, At: 12003 * time.Millisecond, Tick: &tick, Layer: &engine.Layer{
			Tier: "spill", State: "spilling", SpillBytes: 512 << 20, SpillPending: 600_000,
		}}.line())
	require.Equal(t,
		"badgerspill replay   30.0 s  waiting for the spill to be empty, 128.0 MiB to replay, about 12.0 s  normal, spilling, spill 512.0 MiB (600,000 commits)",
		Progress{Engine: Badgerspill, Stage: stageReplay, At: 30 * time.Second, Left: 12 * time.Second, Layer: &engine.Layer{
			Tier: "normal", State: "spilling", SpillBytes: 512 << 20, SpillPending: 600_000, BytesPending: 128 << 20,
		}}.line())
}

// The tables fit into a terminal, and the sentence at the end is of both engines, none of which
// failed.
func TestReportFitsIntoATerminal(t *testing.T) {
	for _, file := range []string{"both.txt", "badger_only.txt", "failed.txt"} {
		golden, err := os.ReadFile(filepath.Join("testdata", file))
		require.NoError(t, err)
		table, _, _ := strings.Cut(string(golden), "reopened and checked")
		for line := range strings.Lines(table) {
			require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), terminalWidth, line)
		}
		require.Equal(t, file == "both.txt", strings.Contains(string(golden), "\nSeen: in the calm phase"))
	}
}

// Of two engines with a layer each has its own table, and the page shows that of the figure.
func TestTwoLayersAreToldApart(t *testing.T) {
	mended := sampleResult("badgerspill-mended")
	mended.Spill.By = "age"
	r := &Report{Config: DefaultConfig(), Engines: []*EngineResult{sampleResult(Badgerspill), mended}}
	var table bytes.Buffer
	require.NoError(t, r.writeTable(&table))
	_, text, ok := strings.Cut(table.String(), "\nwhat the layer did of badgerspill\n")
	require.True(t, ok)
	first, second, ok := strings.Cut(text, "\nwhat the layer did of badgerspill-mended\n")
	require.True(t, ok)
	require.Contains(t, first, "  replay begun      by quiet, ")
	require.Contains(t, second, "  replay begun      by age, ")

	page := pageOf(t, r)
	require.Contains(t, page, "by quiet, ")
	require.NotContains(t, page, "by age, ")
}

// What the sentence at the end says of badgerspill, by what was seen of its commits and its spill.
func TestSentenceSaysHowTheSpillWasEmptied(t *testing.T) {
	const burst = " the burst the p99 of plain Badger was 40.0 s at 21,345/s, and that of badgerspill 10.0 ms at 59,990/s."
	for _, row := range []struct {
		name   string
		change func(*EngineResult)
		want   string
	}{
		{"by quiet", func(*EngineResult) {}, "Seen: in the calm phase 100 % of the commits to badgerspill went to Badger. In" + burst +
			" Quiet began its replay 2.8 s after the burst. What it had spilled was in Badger 12.0 s after the burst."},
		{"by age, and a stall in the calm phase", func(e *EngineResult) {
			e.Spill.By, *e.Work[0].Direct, *e.Work[0].Spilled = "age", 2499, 1
		}, "Seen: in the calm phase 99.9 % of the commits to badgerspill went to Badger. In" + burst +
			" Age began its replay 2.8 s after the burst. What it had spilled was in Badger 12.0 s after the burst."},
		{"by quiet, and the time was up", func(e *EngineResult) { e.Spill.Drained = true }, "Seen: in the calm phase 100 % of the commits to badgerspill went to Badger. In" + burst +
			" Quiet began its replay 2.8 s after the burst. What it had spilled was in Badger 12.0 s after the burst, the rest of it drained because the time was up."},
		{"by the end of the run", func(e *EngineResult) {
			e.Spill.By, e.Spill.Drained, *e.Work[0].Direct, *e.Work[0].Spilled = "drain", true, 0, 20
		}, "Seen: in the calm phase 0 % of the commits to badgerspill went to Badger. In" + burst +
			" The end of the run began its replay 2.8 s after the burst. What it had spilled was in Badger 12.0 s after the burst, the rest of it drained because the time was up."},
		{"no calm phase, no spill", func(e *EngineResult) { e.Spill, e.Work = &SpillTimes{}, e.Work[1:] }, "Seen: in" + burst},
	} {
		t.Run(row.name, func(t *testing.T) {
			layered := sampleResult(Badgerspill)
			row.change(layered)
			r := &Report{Config: DefaultConfig(), Engines: []*EngineResult{sampleResult(Badger), layered}}
			require.Equal(t, row.want, r.seen())
		})
	}
	for share, want := range map[float64]string{0: "0 %", 1e-6: "0.1 %", 0.5: "50.0 %", 0.99999: "99.9 %", 1: "100 %"} {
		require.Equal(t, want, percent(share))
	}
}
