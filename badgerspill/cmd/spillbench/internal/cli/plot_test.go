package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/burst"
)

// The binary as users have it: its flags, its errors before a run, and the files of a run of a
// second.
func TestFigureAndPageOfTheBuiltBinary(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "spillbench.exe")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", bin, "../..").CombinedOutput()
	require.NoError(t, err, "%s", out)
	execute := func(t *testing.T, args ...string) (code int, stdout, stderr string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), bin, append([]string{"burst"}, args...)...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			require.NoError(t, err)
		}
		return cmd.ProcessState.ExitCode(), out.String(), errs.String()
	}

	t.Run("help", func(t *testing.T) {
		code, stdout, _ := execute(t, "-h")
		require.Zero(t, code)
		require.Contains(t, stdout, "--plot file")
		require.Contains(t, stdout, "--html file")
		require.Contains(t, stdout, "spillbench burst --plot burst.svg --html burst.html\n")
	})
	for _, row := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"wrong suffix", []string{"-plot", "burst.jpg"}, frame.Usage, "spillbench: --plot burst.jpg: must end in .svg or .png\n"},
		{"wrong suffix of the page", []string{"-html=burst"}, frame.Usage, "spillbench: --html burst: must end in .html or .htm\n"},
		{"no such directory", []string{"-plot", filepath.Join("none", "burst.png")}, frame.Failed, "--plot: open " + filepath.Join("none", "burst.png")},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, stdout, stderr := execute(t, row.args...)
			require.Equal(t, row.code, code, stderr)
			require.Empty(t, stdout)
			require.Contains(t, stderr, row.want)
			require.NotContains(t, stderr, "databases in", "the run must not begin")
		})
	}
	t.Run("run", func(t *testing.T) {
		dir := t.TempDir()
		figure, page := filepath.Join(dir, "a.png"), filepath.Join(dir, "a.html")
		code, stdout, stderr := execute(t, "-plot", figure, "-html", page, "-json", "--dir", filepath.Join(dir, "db"),
			"--calm-rate", "200", "--burst-rate", "400", "--quiet-rate", "100",
			"--calm", "300ms", "--burst", "300ms", "--quiet", "300ms", "--backlog", "5s")
		require.Zero(t, code, stderr)
		raw, err := os.ReadFile(figure)
		require.NoError(t, err)
		_, err = png.Decode(bytes.NewReader(raw))
		require.NoError(t, err)
		html, err := os.ReadFile(page)
		require.NoError(t, err)
		require.Contains(t, string(html), "A write burst on plain Badger and on badgerspill")

		var report burst.Report
		require.NoError(t, json.Unmarshal([]byte(stdout), &report))
		require.Equal(t, "v4.9.6", report.Build.Badger)
		require.NotEmpty(t, report.Build.Go)
		for _, e := range report.Engines {
			require.GreaterOrEqual(t, len(e.Seconds), 3)
			acked, looked := 0.0, false
			for i, s := range e.Seconds {
				acked += s.AckedRate * s.Length.Seconds()
				if i < 3 {
					require.Positive(t, s.P99)
				}
				looked = looked || s.Layer != nil
			}
			require.Equal(t, e.Engine == burst.Badgerspill, looked)
			require.InDelta(t, 60+120+30, acked, 1e-6)
		}
	})
}
