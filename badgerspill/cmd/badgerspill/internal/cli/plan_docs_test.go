package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pageOf returns a page of the documentation.
func pageOf(t *testing.T, name string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("../../../../..", "docs", name))
	require.NoError(t, err)
	return strings.ReplaceAll(string(page), "\r\n", "\n")
}

// What the pages show of plan is what it prints.
func TestPlanOfTheDocs(t *testing.T) {
	shown := 0
	for _, name := range []string{"capacity.md", "command.md"} {
		for _, m := range regexp.MustCompile("(?s)\n```\n\\$ badgerspill (plan [^\n]*)\n(.*?)```\n").FindAllStringSubmatch(pageOf(t, name), -1) {
			require.Equal(t, ok(t, strings.Fields(m[1])...), m[2], "%s: %s", name, m[1])
			shown++
		}
	}
	require.GreaterOrEqual(t, shown, 2)
}

// The rows of the tables of docs/capacity.md are what plan prints for the flags in their first
// cell.
func TestPlanOfTheTables(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `(--[^`]*)` \\| (.*) \\|$").FindAllStringSubmatch(pageOf(t, "capacity.md"), -1)
	require.GreaterOrEqual(t, len(rows), 15)
	for _, row := range rows {
		out := ok(t, append([]string{"plan"}, strings.Fields(row[1])...)...)
		cells := strings.Split(row[2], " | ")
		require.Len(t, cells, 5, row[0])
		for i, pattern := range []string{`SpillCapacity +(.*) or more: no commit`, `on disk +(.*?) in `, `at its peak, at most +(.*?): `, `by itself +(.*)`, `beside requests +up to (.*)`} {
			m := regexp.MustCompile(`(?m)^  ` + pattern).FindStringSubmatch(out)
			require.NotNil(t, m, out)
			require.Equal(t, m[1], cells[i], row[0])
		}
	}
}
