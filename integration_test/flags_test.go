package integration_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	testFlag      = regexp.MustCompile(`(?m)^\s*(?:var )?\w+\s*= flag\.\w+\("([^"]+)"`)
	testFlagNamed = regexp.MustCompile("`-([a-z.]+)[ `]")
)

// testFlags returns the flags that test files, and what tests share, register in the tree at root.
func testFlags(t *testing.T, root string) (names []string) {
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !strings.HasSuffix(path, "_test.go") && !strings.Contains(string(src), `"testing"`) {
			return nil // a program's own
		}
		for _, m := range testFlag.FindAllStringSubmatch(string(src), -1) {
			names = append(names, m[1])
		}
		return nil
	}))
	slices.Sort(names)
	return slices.Compact(names)
}

// docs/testing.md lists each flag of the tests, and none that is not there.
func TestFlagsAreListed(t *testing.T) {
	text, err := os.ReadFile("../docs/testing.md")
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(text), "\n## Flags\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n## ")
	var named []string
	for _, line := range strings.Split(table, "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 1 {
			for _, m := range testFlagNamed.FindAllStringSubmatch(cells[1], -1) {
				named = append(named, m[1])
			}
		}
	}
	slices.Sort(named)
	require.Equal(t, testFlags(t, ".."), named)
}

// The check itself.
func TestFlagsAreFound(t *testing.T) {
	dir := t.TempDir()
	for name, source := range map[string]string{
		"a_test.go": "var (\n\ta  = flag.Int(\"one\", 1, \"\")\n\tbb = flag.Bool(\"two.all\", false, \"\")\n)\n",
		"b_test.go": "var c = flag.Int(\"one\", 1, \"\")\n// var d = flag.Int(\"no\", 1, \"\")\n",
		"kit.go":    "import \"testing\"\nvar e = flag.Uint64(\"three\", 0, \"\")\n",
		"main.go":   "var f = flag.String(\"program\", \"\", \"\")\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(source), 0o600))
	}
	require.Equal(t, []string{"one", "three", "two.all"}, testFlags(t, dir))
}
