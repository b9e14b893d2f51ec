package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/bench"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/burst"
)

// The command starts its own executable again; under test that is the test binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == burst.ChildCommand || os.Args[1] == bench.ChildCommand) {
		os.Exit(frame.Run(context.Background(), New(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = frame.Run(t.Context(), New(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommandLinesThatCannotBeUnderstood(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown verb", []string{"bust"}, `unknown command "bust"`},
		{"unknown flag", []string{"burst", "--rate", "5"}, "unknown flag: --rate"},
		{"no number", []string{"burst", "--writers", "many"}, `invalid argument "many" for "--writers" flag`},
		{"no duration", []string{"burst", "--calm", "10"}, `invalid argument "10" for "--calm" flag`},
		{"out of bounds", []string{"burst", "--writers", "0"}, "--writers 0: must be between 1 and 10000"},
		{"out of bounds, one dash", []string{"burst", "-writers=0"}, "--writers 0: must be between 1 and 10000"},
		{"unknown engine", []string{"burst", "-engine", "bolt"}, `--engine "bolt": must be both, or some of badger, badgerspill, log, pebble, badger-mended and badgerspill-mended, separated by commas`},
		{"engine named twice", []string{"burst", "-engine", "log,log"}, `--engine "log,log": must name log once`},
		{"reads out of bounds", []string{"burst", "-reads", "101"}, "--reads 101: must be between 0 and 100"},
		{"no address", []string{"burst", "-serve", "8080"}, `--serve "8080": must be a host and a port, as localhost:8080`},
		{"no port", []string{"burst", "-serve", "localhost:http:x"}, `--serve "localhost:http:x": must be a host and a port, as localhost:8080`},
		{"port that there is not", []string{"burst", "-serve", "localhost:99999"}, "--serve localhost:99999: cannot be listened on: "},
		{"address of another machine", []string{"burst", "-serve", "192.0.2.1:0"}, "--serve 192.0.2.1:0: cannot be listened on: "},
		{"nothing to be shown", []string{"burst", "-serve", "localhost:0", "-engine", "badger,log"}, "--serve localhost:0: shows badgerspill, which --engine leaves out"},
		{"no pairs of a burst", []string{"burst", "-pairs", "0"}, "--pairs 0: must be between 1 and 100"},
		{"argument", []string{"burst", "now"}, `unexpected argument "now"`},
		{"no case", []string{"bench"}, "name one case, not 0"},
		{"two cases", []string{"bench", "settle", "hot"}, "name one case, not 2"},
		{"unknown case", []string{"bench", "sprint"},
			`case "sprint": must be settle, hot, ordered, ledger, pauses, replay, rss, reads, foreground, overload, closed8, closed64, commit1, ` +
				`commit8, commit1sync, commit8sync, rmw, view, iterate, readers or growth`},
		{"no pairs", []string{"bench", "settle", "-pairs", "0"}, "--pairs 0: must be between 1 and 100"},
		{"scale out of bounds", []string{"bench", "settle", "--scale=-1"}, "--scale -1: must be between 0.0001 and 100"},
		{"scale that is no number", []string{"bench", "settle", "--scale=NaN"}, "--scale NaN: must be between 0.0001 and 100"},
		{"no file to plot", []string{"plot"}, "name one file, not 0"},
		{"nothing to draw", []string{"plot", "burst.json"}, "nothing to draw: give --light, --dark, or both"},
		{"unknown flag of a case", []string{"bench", "settle", "--writers", "5"}, "unknown flag: --writers"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, stdout, stderr := command(t, row.args...)
			require.Equal(t, frame.Usage, code)
			require.Empty(t, stdout)
			require.Contains(t, stderr, "spillbench: "+row.want)
			require.Contains(t, stderr, "--help")
		})
	}
}

func TestHelpNamesTheVerbsAndEveryFlag(t *testing.T) {
	code, stdout, _ := command(t)
	require.Zero(t, code)
	require.Contains(t, stdout, "burst ")
	require.Contains(t, stdout, "bench ")
	require.NotContains(t, stdout, burst.ChildCommand)
	require.NotContains(t, stdout, bench.ChildCommand)

	code, stdout, _ = command(t, "burst", "--help")
	require.Zero(t, code)
	for _, flag := range strings.Fields("--calm-rate --burst-rate --quiet-rate --calm --burst --quiet --backlog " +
		"--value-size --writers --engine --pairs --reads --sync --seed --dir --keep --json --plot --html --data --serve") {
		require.Contains(t, stdout, flag+" ")
	}

	code, stdout, _ = command(t, "bench", "-h")
	require.Zero(t, code)
	for _, flag := range strings.Fields("--pairs --scale --duration --rate --settled-for --against --seed --dir --keep --json") {
		require.Contains(t, stdout, flag+" ")
	}
	for _, c := range bench.Cases() {
		require.Contains(t, stdout, "\n  "+c.Name+" ")
	}

	code, stdout, _ = command(t, "plot", "-h")
	require.Zero(t, code)
	require.Contains(t, stdout, "--light file")
	require.Contains(t, stdout, "--dark file")
}

func TestPlotOfAnEarlierRun(t *testing.T) {
	dir := t.TempDir()
	data, dark := filepath.Join(dir, "burst.json"), filepath.Join(dir, "dark.svg")
	code, _, stderr := command(t, "burst", "--engine", "log", "--data", data, "--dir", filepath.Join(dir, "db"),
		"--calm", "0s", "--quiet", "0s", "--burst", "200ms", "--burst-rate", "1000", "--backlog", "5s")
	require.Zero(t, code, stderr)
	code, stdout, stderr := command(t, "plot", data, "--dark", dark)
	require.Zero(t, code, stderr)
	require.Empty(t, stdout)
	require.Equal(t, dark+" written\n", stderr)
	svg, err := os.ReadFile(dark)
	require.NoError(t, err)
	require.Contains(t, string(svg), "<metadata>drawn from burst.json, sha256 ")

	code, _, stderr = command(t, "plot", filepath.Join(dir, "none.json"), "--light", dark)
	require.Equal(t, frame.Failed, code)
	require.Contains(t, stderr, "none.json")
}

func TestSmallBurstEndToEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "databases")
	code, stdout, stderr := command(t, "burst", "-json", "--dir", dir,
		"--calm-rate", "200", "--burst-rate", "400", "--quiet-rate", "100",
		"--calm", "300ms", "--burst", "300ms", "--quiet", "300ms", "--backlog", "5s")
	require.Zero(t, code, stderr)

	var report burst.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	require.True(t, report.OK)
	require.Len(t, report.Engines, 2)
	require.Len(t, report.Ratios, 3)
	for i, name := range []string{burst.Badger, burst.Badgerspill} {
		e := report.Engines[i]
		require.Equal(t, name, e.Engine)
		require.EqualValues(t, 60+120+30, e.Verified.Checked)
		for _, p := range e.Phases {
			require.Equal(t, p.Due, p.Acked)
			require.Positive(t, p.P50)
			require.LessOrEqual(t, p.P50, p.Max)
		}
		require.DirExists(t, filepath.Join(dir, name))
	}
	layer := report.Engines[1].Layer
	require.NotNil(t, layer)
	require.GreaterOrEqual(t, layer.CommitsDirect+layer.CommitsSpilled, int64(60+120+30))
	require.Len(t, layer.TiersEntered, 4)
}

// With the defaults of the library a burst is spilled, and the quiet after it, not the end of the
// run, has the spill replayed. Of each phase it is told where its commits went.
func TestSmallBurstIsReplayedByQuiet(t *testing.T) {
	code, stdout, stderr := command(t, "burst", "-json", "--engine", "badgerspill", "--dir", filepath.Join(t.TempDir(), "db"),
		"--calm-rate", "100", "--burst-rate", "4000", "--quiet-rate", "50",
		"--calm", "500ms", "--burst", "1s", "--quiet", "5s", "--backlog", "30s")
	require.Zero(t, code, stderr)
	var report burst.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	e := report.Engines[0]
	require.True(t, e.Spill.Used)
	require.Equal(t, "quiet", e.Spill.By)
	require.False(t, e.Spill.Drained)
	require.Positive(t, e.Spill.BegunAfterBurst)
	require.GreaterOrEqual(t, e.Spill.Empty, e.Spill.Begun)

	direct, spilled := int64(0), int64(0)
	for _, w := range e.Work {
		direct, spilled = direct+*w.Direct, spilled+*w.Spilled
	}
	require.EqualValues(t, 50+4000+250, direct+spilled)
	require.Equal(t, e.Layer.CommitsDirect, direct)
	require.Positive(t, *e.Work[0].Direct)
	require.Positive(t, *e.Work[1].Spilled)
}

// A browser that looks at the address that the command tells gets the page of package live.
func TestSmallBurstIsServed(t *testing.T) {
	addresses := make(chan string, 1)
	progress := lineWriter(func(line string) {
		if address, ok := strings.CutPrefix(line, "live at "); ok {
			addresses <- address
		}
	})
	over := make(chan int, 1)
	go func() {
		over <- frame.Run(t.Context(), New(), strings.Fields("burst --engine badgerspill --serve localhost:0 --dir "+filepath.Join(t.TempDir(), "db")+
			" --calm 0s --burst-rate 500 --burst 3s --quiet 0s"), strings.NewReader(""), &bytes.Buffer{}, progress)
	}()
	address := <-addresses
	seen := false
	for {
		select {
		case code := <-over:
			require.Zero(t, code)
			require.True(t, seen, "the page was there during the burst")
			return
		case <-time.After(50 * time.Millisecond):
			resp, err := http.Get(address)
			if err != nil {
				continue // the run is over
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			seen = seen || err == nil && strings.Contains(string(body), `<body id="badgerspill-live">`)
		}
	}
}

// lineWriter calls itself with each line that is written at once.
type lineWriter func(line string)

// Write never fails.
func (w lineWriter) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		w(strings.TrimSuffix(line, "\n"))
	}
	return len(text), nil
}

// Every engine, twice, with reads: log is asked for keys while it is written.
func TestSmallBurstOfAllEnginesInPairs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "databases")
	code, stdout, stderr := command(t, "burst", "-json", "--dir", dir, "--engine", "badger,badgerspill,log,pebble", "--pairs", "2", "--reads", "25",
		"--burst-rate", "2000", "--calm", "0s", "--burst", "300ms", "--quiet", "0s", "--backlog", "5s")
	require.Zero(t, code, stderr)

	var report burst.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	require.True(t, report.OK)
	var order []string
	for _, e := range report.Engines {
		order = append(order, fmt.Sprintf("%s %d", e.Engine, e.Run))
		written, read := e.Phases[0], e.Reads[0]
		require.EqualValues(t, 600, written.Acked+read.Acked)
		require.InDelta(t, 150, read.Acked, 60)
		require.Equal(t, written.Acked, e.Verified.Checked)
		require.Positive(t, read.P50)
		require.Positive(t, e.Work[0].Allocated)
		require.Positive(t, e.Work[0].PeakHeap)
	}
	require.Equal(t, []string{"badger 1", "badgerspill 1", "log 1", "pebble 1", "pebble 2", "log 2", "badgerspill 2", "badger 2"}, order)
	require.Len(t, report.Multiples, 10, "badgerspill of badger, log and pebble, log and pebble of badger; writes and reads")
	for _, m := range report.Multiples {
		require.Positive(t, m.P99, m)
		require.Positive(t, m.Allocated, m)
	}
	require.DirExists(t, filepath.Join(dir, "log"))
	require.DirExists(t, filepath.Join(dir, "log-2"))
}

func TestInterruptHasItsOwnExitCode(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("TMPDIR", t.TempDir())
	var out, errs bytes.Buffer
	code := frame.Run(ctx, New(), []string{"burst"}, strings.NewReader(""), &out, &errs)
	require.Equal(t, frame.Interrupted, code)
	require.Contains(t, errs.String(), "interrupted")
	entries, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, entries)
}
