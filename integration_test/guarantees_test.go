package integration_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGuaranteesNameTests: a promise whose test was renamed or removed is one that nothing shows.
// So it is with every other page that names a test.
func TestGuaranteesNameTests(t *testing.T) {
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	require.NoError(t, filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(source, -1) {
			tests[string(m[1])] = true
		}
		return err
	}))
	for _, p := range pages(t) {
		named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(p.prose, -1)
		if p.name == "docs/guarantees.md" {
			require.Greater(t, len(named), 50)
		}
		for _, m := range named {
			assertTrue(t, tests[m[1]], "%s names %s, which is no test", p.name, m[1])
		}
	}
}
