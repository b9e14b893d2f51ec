package cli

import (
	"encoding/json"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/bench"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

// The cases with real engines in real processes. It is about what they do, not about how fast: the
// sizes are a thousandth.
func TestEachCaseEndToEnd(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	for _, row := range []struct {
		name    string
		flags   []string
		layered []string           // figures that plain Badger does not have
		alone   bool               // plain Badger has none
		checked int64              // keys that either engine must have been asked for, at least
		exactly map[string]float64 // figures of badgerspill that are no measurement
	}{
		// Case settle is case hot with other keys.
		{name: "hot", layered: []string{"spilled", "replayed"}, checked: 1000},
		{name: "replay", layered: []string{"replayed"}, checked: 2200, exactly: map[string]float64{"replayed": 1200}},
		{name: "rss", layered: []string{"spill", "pending"}, checked: 20, exactly: map[string]float64{"pending": 4194}},
		{name: "reads", layered: []string{"spill", "pending"}, checked: 3000, exactly: map[string]float64{"pending": 2097}},
		{name: "foreground", checked: 2000 + 500},
		{name: "closed8", layered: []string{"spilled", "replayed"}, checked: 100},
		{name: "commit8", layered: []string{"spilled"}, checked: 20_000},
		{name: "commit1sync", layered: []string{"spilled"}, checked: 1000},
		{name: "rmw", layered: []string{"spilled"}, checked: 100},
		{name: "view", checked: 1000},
		{name: "iterate", checked: 1000},
		{name: "readers", layered: []string{"spilled"}, checked: 1000},
		{name: "growth", alone: true, checked: 3 * 20},
		{name: "overload", flags: []string{"-duration", "1s"}, layered: []string{"blocked", "spilled"}, checked: 100},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"bench", row.name, "-json", "-scale", "0.001", "-settled-for", "50ms",
				"-dir", filepath.Join(t.TempDir(), "db")}, row.flags...)
			code, stdout, stderr := command(t, args...)
			require.Zero(t, code, stderr)

			var report bench.Report
			require.NoError(t, json.Unmarshal([]byte(stdout), &report))
			require.True(t, report.OK)
			require.Equal(t, row.name, report.Case)
			require.Len(t, report.Pairs, 1)
			engines := []string{engine.Badger, engine.Badgerspill}
			if row.alone {
				engines = engines[1:]
			}
			require.Len(t, report.Pairs[0].Engines, len(engines))
			for i, name := range engines {
				e := report.Pairs[0].Engines[i]
				require.Equal(t, name, e.Engine)
				require.GreaterOrEqual(t, e.Verified.Checked, row.checked)
			}
			require.NotEmpty(t, report.Pairs[0].Engines[len(engines)-1].LayerStats)
			only := map[string]bool{}
			for _, figure := range row.layered {
				only[figure] = true
			}
			for _, f := range report.Median {
				if f.Figure == "slowed" {
					continue // not all versions of the layer count it
				}
				require.NotNil(t, f.Badgerspill, f.Figure)
				if want, found := row.exactly[f.Figure]; found {
					require.Equal(t, want, *f.Badgerspill, f.Figure)
				}
				if !only[f.Figure] && !row.alone {
					require.NotNil(t, f.Badger, f.Figure)
				}
			}
		})
	}
}
