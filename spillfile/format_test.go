package spillfile

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestByteMaps: the byte map beside the code of a structure is that of docs/format.md. What marshal
// and unmarshal make of it, the tests of compatibility tell.
func TestByteMaps(t *testing.T) {
	text, err := os.ReadFile("../docs/format.md")
	require.NoError(t, err)
	doc := string(text)
	for _, m := range []struct{ heading, file, of string }{
		{"### Segment header", "internal/block/format.go", "SegmentHeader is the first"},
		{"### Block", "internal/block/format.go", "Header precedes"},
		{"## Manifest", "internal/layout/manifest.go", "Manifest is the small file"},
		{"## Index", "internal/index/format.go", "sealer seals"},
		{"**Footer**", "internal/index/format.go", "Footer is the last"},
		{"## REPLAY", "place.go", "marshal makes the file"},
		{"## Newest segment", "internal/layout/note.go", "Note is what"},
	} {
		code, err := os.ReadFile(m.file)
		require.NoError(t, err)
		_, beside, found := strings.Cut(string(code), "// "+m.of)
		require.True(t, found, "%s has no comment %q", m.file, m.of)
		beside, _, _ = strings.Cut(beside, "\ntype ")
		beside, _, _ = strings.Cut(beside, "\nfunc ")
		_, table, found := strings.Cut(doc, "\n"+m.heading)
		require.True(t, found, "no %q", m.heading)
		_, table, found = strings.Cut(table, "| offset | size | field | meaning |")
		require.True(t, found, "no table under %q", m.heading)
		table, _, _ = strings.Cut(table, "\n\n")
		var want, got [][]string
		for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \| ([^|]+) \| ([^|]+) \|`).FindAllStringSubmatch(table, -1) {
			want = append(want, row[1:])
		}
		for _, row := range regexp.MustCompile(`(?m)^//\t *(\d+)  (\S+(?: \S+)*) +(\S.*)$`).FindAllStringSubmatch(beside, -1) {
			got = append(got, row[1:])
		}
		require.Greater(t, len(want), 4, m.heading)
		require.Equal(t, want, got, m.heading)
	}
}
