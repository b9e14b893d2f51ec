package burst

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs is the folder of the pages, from the directory of this package.
const docs = "../../../../../docs"

// The figures of the docs are what their data draws. .ci/figures makes them anew.
func TestFiguresOfTheDocs(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the last digit of a place in a figure may differ where a multiplication and an addition are rounded once")
	}
	dir := t.TempDir()
	light, dark := filepath.Join(dir, "light.svg"), filepath.Join(dir, "dark.svg")
	require.NoError(t, Draw(filepath.Join(docs, "figures", "burst.json"), light, dark, &bytes.Buffer{}))
	for name, drawn := range map[string]string{"burst.svg": light, "burst-dark.svg": dark} {
		want, err := os.ReadFile(drawn)
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(docs, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "docs/%s is not what docs/figures/burst.json draws: run .ci/figures", name)
	}
}

func TestDrawCarriesTheHashOfItsData(t *testing.T) {
	dir := t.TempDir()
	data, out := filepath.Join(dir, "a.json"), filepath.Join(dir, "a.svg")
	text := `{"command": "", "date": "", "build": {"go": "", "badgerspill": "", "badger": "", "os": "", "arch": "", "cpus": 2},
"figure": {"end_ns": 1000000000, "phases": [], "series": [{"kind": "plain", "name": "x", "points":
[{"at_ns": 0, "length_ns": 1000000000, "p99_ns": 5, "rate": 3}]}]}}`
	require.NoError(t, os.WriteFile(data, []byte(text), 0o600))
	var progress bytes.Buffer
	require.NoError(t, Draw(data, "", out, &progress))
	require.Equal(t, out+" written\n", progress.String())
	svg, err := os.ReadFile(out)
	require.NoError(t, err)
	_, sum, err := readData(data)
	require.NoError(t, err)
	require.Contains(t, string(svg), fmt.Sprintf("<metadata>drawn from a.json, sha256 %x</metadata>", sum))

	require.NoError(t, os.WriteFile(data, []byte(strings.Replace(text, `"p99_ns": 5`, `"p99_ns": 6`, 1)), 0o600))
	_, other, err := readData(data)
	require.NoError(t, err)
	require.NotEqual(t, sum, other)
}

func TestDataThatCannotBeDrawn(t *testing.T) {
	const whole = `{"figure": {"end_ns": 5, "phases": [{"name": "a", "begin_ns": 0, "end_ns": 5, "rate": 1}],
"series": [{"kind": "plain", "name": "x", "points": [{"at_ns": 0, "length_ns": 1, "p99_ns": 1, "rate": 1}]}],
"states": [{"from_ns": 0, "to_ns": 5, "spilling": true, "tier": "normal", "replaying": false}]}}`
	for _, row := range []struct{ name, old, new, want string }{
		{"no JSON", whole, "<svg>", "invalid character"},
		{"no figure", whole, "{}", "figure: it is missing"},
		{"another file of the command", whole, `{"ok": true}`, `unknown field "ok"`},
		{"no end", `"end_ns": 5, "phases"`, `"end_ns": 0, "phases"`, "end_ns 0: must be above 0"},
		{"an end that never comes", `"end_ns": 5, "phases"`, `"end_ns": 9000000000000000000, "phases"`, "end_ns 9000000000000000000"},
		{"a phase backwards", `"begin_ns": 0, "end_ns": 5`, `"begin_ns": 5, "end_ns": 0`, "phases[0]: begin_ns 5, end_ns 0"},
		{"a rate below 0", `"rate": 1}],
"series"`, `"rate": -1}],
"series"`, "phases[0]: rate -1: must be from 0"},
		{"an engine of no kind", `"plain"`, `"gold"`, `kind "gold": must be one of plain, layered, floor, other`},
		{"a point of no length", `"length_ns": 1`, `"length_ns": 0`, "series[0].points[0]: length_ns 0"},
		{"a point before the load", `"at_ns": 0`, `"at_ns": -1`, "series[0].points[0]: at_ns -1"},
		{"a latency below 0", `"p99_ns": 1`, `"p99_ns": -1`, "series[0].points[0]: p99_ns -1"},
		{"a rate that nothing has", `"rate": 1}]}]`, `"rate": 1e300}]}]`, "series[0].points[0]: rate 1e+300"},
		{"a state backwards", `"from_ns": 0`, `"from_ns": 6`, "states[0]: from_ns 6, to_ns 5"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			name, out := filepath.Join(dir, "a.json"), filepath.Join(dir, "a.svg")
			text := strings.Replace(whole, row.old, row.new, 1)
			require.NotEqual(t, whole, text)
			require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
			err := Draw(name, out, "", &bytes.Buffer{})
			require.ErrorContains(t, err, name)
			require.ErrorContains(t, err, row.want)
			require.ErrorContains(t, err, "spillbench burst --data")
			require.NoFileExists(t, out)
		})
	}
	err := Draw(filepath.Join(t.TempDir(), "none.json"), "a.svg", "", &bytes.Buffer{})
	require.ErrorIs(t, err, os.ErrNotExist)

	good := filepath.Join(t.TempDir(), "good.json")
	require.NoError(t, os.WriteFile(good, []byte(whole), 0o600))
	err = Draw(good, filepath.Join(t.TempDir(), "none", "a.svg"), "", &bytes.Buffer{})
	require.ErrorContains(t, err, "--light: ")
	two := filepath.Join(t.TempDir(), "two.json")
	require.NoError(t, os.WriteFile(two, []byte(strings.Replace(whole, `"series": [`, `"series": [{"kind": "plain", "name": "y", "points": []}, `, 1)), 0o600))
	require.ErrorContains(t, Draw(two, "a.svg", "", &bytes.Buffer{}), "series[1]: kind plain: there is one already")
}
