package burst

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/openloop"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestTable(t *testing.T) {
	for _, row := range []struct {
		golden  string
		engines []string
		change  func(*Report)
	}{
		{golden: "both.txt", engines: []string{Badger, Badgerspill}},
		{golden: "badger_only.txt", engines: []string{Badger}},
		{golden: "failed.txt", engines: []string{Badgerspill}, change: func(r *Report) {
			r.OK, r.Evidence = false, "/data/burst"
			e := r.Engines[0]
			e.Phases[1].Failed, e.WriteError = 1200, "write blocked"
			e.Verified.Missing, e.Verified.Wrong = 3, 1
			e.Verified.Examples = []string{"key 0011223344556677 is missing", "key 8899aabbccddeeff has a wrong value: byte 0 is 0x0 instead of 0x1"}
			e.Spill.Drained = true
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
}
