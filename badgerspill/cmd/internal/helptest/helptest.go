package helptest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Columns is how wide a help text may be.
const Columns = 80

var update = flag.Bool("man.update", false, "write the manual pages in docs/man anew")

// Fits fails for each line of a help text that is wider than a terminal.
func Fits(t *testing.T, what, help string) {
	t.Helper()
	require.NotEmpty(t, strings.TrimSpace(help), what)
	for line := range strings.Lines(help) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line) + 7*strings.Count(line, "\t"); n > Columns {
			t.Errorf("%s: %d columns, at most %d: %s", what, n, Columns, line)
		}
	}
}

// SameAsCommitted compares a manual page with the one in docs/man below root, or writes it there
// with -man.update.
func SameAsCommitted(t *testing.T, root, command, page string) {
	t.Helper()
	path := filepath.Join(root, "docs", "man", command+".1")
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(page), 0o644))
	}
	committed, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strings.ReplaceAll(string(committed), "\r\n", "\n"), page,
		"%s is not what the command prints: go test with -args -man.update writes it", path)
}
