package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/bench"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

// completed returns the words that a shell is offered, and what it does with them: cobra's
// directives, a sum of 2 no space, 4 no file, 8 files of these endings, 16 directories.
func completed(t *testing.T, args ...string) (words []string, directive string) {
	t.Helper()
	code, stdout, stderr := command(t, append([]string{"__complete"}, args...)...)
	require.Zero(t, code, stderr)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	for _, line := range lines[:len(lines)-1] {
		word, _, _ := strings.Cut(line, "\t")
		words = append(words, word)
	}
	return words, lines[len(lines)-1]
}

func TestCompletionOfCases(t *testing.T) {
	words, directive := completed(t, "bench", "")
	require.Equal(t, ":4", directive)
	require.Len(t, words, len(bench.Cases()))
	for i, c := range bench.Cases() {
		require.Equal(t, c.Name, words[i])
	}
	words, _ = completed(t, "bench", "settle", "")
	require.Empty(t, words, "there is one case")
	code, stdout, _ := command(t, "__complete", "bench", "re")
	require.Zero(t, code)
	require.Contains(t, stdout, "replay\trate at which")
}

func TestCompletionOfEngines(t *testing.T) {
	words, directive := completed(t, "burst", "--engine", "")
	require.Equal(t, append([]string{"both"}, engine.Names()...), words)
	require.Equal(t, ":6", directive)

	words, _ = completed(t, "burst", "--engine", "badger,pebble,")
	require.Equal(t, []string{"badger,pebble,badgerspill", "badger,pebble,log", "badger,pebble,badger-mended", "badger,pebble,badgerspill-mended"}, words)

	layers, others := bench.Engines()
	words, directive = completed(t, "bench", "hot", "--engine", "")
	require.Equal(t, layers, words)
	require.Equal(t, ":4", directive)
	words, _ = completed(t, "bench", "hot", "--against", "")
	require.Equal(t, others, words)
	require.ElementsMatch(t, engine.Names(), append(layers, others...))
}

func TestCompletionOfPaths(t *testing.T) {
	for _, row := range []struct{ verb, flag, directive, endings string }{
		{"burst", "--dir", ":16", ""}, {"bench", "--dir", ":16", ""},
		{"burst", "--mended", ":0", ""}, {"bench", "--mended", ":0", ""},
		{"burst", "--plot", ":8", "svg png"}, {"burst", "--html", ":8", "html htm"},
		{"burst", "--data", ":8", "json"}, {"burst", "--serve", ":4", ""},
		{"plot", "--light", ":8", "svg"}, {"plot", "--dark", ":8", "svg"},
	} {
		words, directive := completed(t, row.verb, row.flag, "")
		require.Equal(t, row.directive, directive, row)
		require.Equal(t, row.endings, strings.Join(words, " "), row)
	}
	words, directive := completed(t, "plot", "")
	require.Equal(t, []string{"json"}, words)
	require.Equal(t, ":8", directive)
}
