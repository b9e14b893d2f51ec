package integration_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// drawnFrom is what a figure says of itself.
var drawnFrom = regexp.MustCompile(`<metadata>drawn from ([\w.-]+), sha256 ([0-9a-f]{64})</metadata>`)

// Every figure in docs carries the hash of the data that it draws, which lie in docs/figures, and
// every file there is drawn. That the data draw just this figure is tested where it is drawn:
// integration_test/figures and badgerspill/cmd/spillbench/internal/burst.
func TestFiguresCarryTheHashOfTheirData(t *testing.T) {
	figures, err := filepath.Glob("../docs/*.svg")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(figures), 4)
	var drawn []string
	for _, figure := range figures {
		data, err := dataOf(figure, "../docs/figures")
		require.NoError(t, err)
		drawn = append(drawn, data)
	}
	data, err := filepath.Glob("../docs/figures/*")
	require.NoError(t, err)
	for _, file := range data {
		require.Contains(t, drawn, filepath.Base(file), "no figure is drawn from it")
	}
}

// dataOf returns the name of the file, in a folder, that a figure was drawn from. It is an error if
// the file is another one by now.
func dataOf(figure, folder string) (name string, err error) {
	svg, err := os.ReadFile(figure)
	if err != nil {
		return "", err
	}
	says := drawnFrom.FindSubmatch(svg)
	if says == nil {
		return "", fmt.Errorf("%s does not say what it was drawn from", figure)
	}
	name = string(says[1])
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return "", fmt.Errorf("%s was drawn from a file that is missing: %w", figure, err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(data)); sum != string(says[2]) {
		return "", fmt.Errorf("%s was drawn from another %s: run .ci/figures", figure, name)
	}
	return name, nil
}

// The check itself.
func TestFiguresOfOtherDataAreFound(t *testing.T) {
	dir := t.TempDir()
	figure, data := filepath.Join(dir, "a.svg"), filepath.Join(dir, "a.txt")
	write := func(sum string) {
		require.NoError(t, os.WriteFile(figure, []byte("<svg>\n<metadata>drawn from a.txt, sha256 "+sum+"</metadata>"), 0o600))
	}
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("data")))
	write(sum)
	_, err := dataOf(figure, dir)
	require.ErrorContains(t, err, "a file that is missing")
	require.NoError(t, os.WriteFile(data, []byte("data"), 0o600))
	name, err := dataOf(figure, dir)
	require.NoError(t, err)
	require.Equal(t, "a.txt", name)
	require.NoError(t, os.WriteFile(data, []byte("other"), 0o600))
	_, err = dataOf(figure, dir)
	require.ErrorContains(t, err, "another a.txt")
	require.NoError(t, os.WriteFile(figure, []byte("<svg>"), 0o600))
	_, err = dataOf(figure, dir)
	require.ErrorContains(t, err, "does not say")
}

// The marks in the figure of the tiers are the default ratios of the table in README.md.
func TestFigureOfTheTiers(t *testing.T) {
	text, err := os.ReadFile("../docs/figures/tiers.txt")
	require.NoError(t, err)
	marks := regexp.MustCompile(`(?m)^text mark \S+ \S+ (\d+ %)$`).FindAllStringSubmatch(string(text), -1)
	_, table, ok := strings.Cut(pageNamed(t, "README.md").prose, "## What the tiers do")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n## ")
	said := regexp.MustCompile(`\d+ %`).FindAllString(table, -1)
	require.Len(t, marks, 3)
	for _, m := range marks {
		require.True(t, slices.Contains(said, m[1]), "README.md does not say %s", m[1])
	}
}
