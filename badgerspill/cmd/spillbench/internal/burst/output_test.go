package burst

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/chart"
)

// withFiles is a small run that writes a figure and a page into dir.
func withFiles(dir string) Config {
	cfg := smallConfig()
	cfg.Plot, cfg.HTML, cfg.Data = filepath.Join(dir, "burst.svg"), filepath.Join(dir, "burst.html"), filepath.Join(dir, "burst.json")
	return cfg
}

func TestFilesAreWrittenAfterTheRun(t *testing.T) {
	tempRoot(t)
	cfg := withFiles(t.TempDir())
	require.NoError(t, os.WriteFile(cfg.Plot, bytes.Repeat([]byte("old"), 100_000), 0o600))
	var progress bytes.Buffer
	require.NoError(t, Run(t.Context(), cfg, fakeStart(t, nil), &bytes.Buffer{}, &progress))
	svg, err := os.ReadFile(cfg.Plot)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(svg, []byte("<svg ")))
	require.True(t, bytes.HasSuffix(svg, []byte("</svg>\n")), "nothing is left of the old file")
	page, err := os.ReadFile(cfg.HTML)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(page, []byte("<!DOCTYPE html>")))
	d, _, err := readData(cfg.Data)
	require.NoError(t, err)
	require.Equal(t, time.Now().UTC().Format(time.DateOnly)[:4], d.Date[:4])
	require.Contains(t, d.Command, "spillbench burst")
	require.NotEmpty(t, d.Build.Go)
	again, err := d.Figure.SVG(chart.Light)
	require.NoError(t, err)
	require.Equal(t, string(svg), again, "what was kept draws the same figure")
	require.Contains(t, progress.String(), cfg.Plot+" written\n"+cfg.HTML+" written\n"+cfg.Data+" written\n")
}

func TestFilesThatCannotBeWrittenAreNoticedBeforeTheRun(t *testing.T) {
	never := func(context.Context, Job, func(Message)) error {
		t.Error("the run must not begin")
		return errors.New("began")
	}
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder.svg")
	require.NoError(t, os.Mkdir(folder, 0o700))
	for _, row := range []struct {
		name, flag string
		set        func(*Config)
	}{
		{"plot in no directory", "--plot: ", func(c *Config) { c.Plot = filepath.Join(dir, "none", "a.svg") }},
		{"plot that is a directory", "--plot: ", func(c *Config) { c.Plot = folder }},
		{"page in no directory", "--html: ", func(c *Config) { c.HTML = filepath.Join(dir, "none", "a.html") }},
		{"data in no directory", "--data: ", func(c *Config) { c.Data = filepath.Join(dir, "none", "a.json") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := tempRoot(t)
			cfg := withFiles(dir)
			row.set(&cfg)
			err := Run(t.Context(), cfg, never, &bytes.Buffer{}, &bytes.Buffer{})
			require.ErrorContains(t, err, row.flag)
			require.ErrorContains(t, err, dir)
			require.ErrorContains(t, err, "name a file that can be written")
			requireEmpty(t, root)
			require.NoFileExists(t, filepath.Join(dir, "burst.svg"), "it was made for nothing")
			require.NoFileExists(t, filepath.Join(dir, "burst.html"))
			require.NoFileExists(t, filepath.Join(dir, "burst.json"))
		})
	}
}

func TestRunThatFailsLeavesFilesAsTheyWere(t *testing.T) {
	tempRoot(t)
	cfg := withFiles(t.TempDir())
	require.NoError(t, os.WriteFile(cfg.HTML, []byte("old"), 0o600))
	err := Run(t.Context(), cfg, func(context.Context, Job, func(Message)) error { return errors.New("fell over") },
		&bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorContains(t, err, "fell over")
	require.NoFileExists(t, cfg.Plot)
	old, err := os.ReadFile(cfg.HTML)
	require.NoError(t, err)
	require.Equal(t, "old", string(old))
}

// Minutes of measurement are not lost with the terminal.
func TestFilesAreWrittenEvenIfTheResultCannotBePrinted(t *testing.T) {
	tempRoot(t)
	cfg := withFiles(t.TempDir())
	err := Run(t.Context(), cfg, fakeStart(t, nil), brokenWriter{}, &bytes.Buffer{})
	require.ErrorIs(t, err, errDiskFull)
	page, err := os.ReadFile(cfg.HTML)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(page), "</html>\n"))
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errDiskFull }

func TestRunThatLostKeysIsDrawnToo(t *testing.T) {
	tempRoot(t)
	cfg := withFiles(t.TempDir())
	err := Run(t.Context(), cfg, fakeStart(t, func(r *EngineResult) { r.Verified.Missing = 1 }), &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorIs(t, err, ErrFailed)
	page, err := os.ReadFile(cfg.HTML)
	require.NoError(t, err)
	require.Contains(t, string(page), "The run failed")
	require.Contains(t, string(page), "1 are missing")
}
