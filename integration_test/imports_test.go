package integration_test

import (
	"go/build"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/badgerspill/badgerspill/"

// imports returns what a package of the module imports outside of its tests, directly and through
// other packages of the module and of Badger.
func imports(t *testing.T, dir string) []string {
	t.Helper()
	seen := map[string]bool{}
	var walk func(path, dir string)
	walk = func(path, dir string) {
		p, err := build.Default.Import(path, dir, 0)
		require.NoError(t, err)
		require.NotEmpty(t, p.GoFiles)
		for _, i := range p.Imports {
			if seen[i] {
				continue
			}
			seen[i] = true
			if strings.HasPrefix(i, module) || strings.HasPrefix(i, "github.com/dgraph-io/badger/") {
				walk(i, p.Dir)
			}
		}
	}
	walk("./"+dir, "..")
	out := make([]string, 0, len(seen))
	for i := range seen {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}

// Imports point one way: badgerspill to replay to spillfile, badgerspill to wbm. Only badgerspill
// knows badger.DB.
func TestImportsPointOneWay(t *testing.T) {
	const root = "github.com/dgraph-io/badger/v4"
	allowed := map[string][]string{
		"wbm":       nil,
		"spillfile": nil,
		"replay":    {"spillfile"},
	}
	for dir, may := range allowed {
		got := imports(t, dir)
		require.NotContains(t, got, root, dir)
		for _, i := range got {
			// packages below one are parts of it
			if own, ok := strings.CutPrefix(i, module); ok && !strings.HasPrefix(own, dir+"/") {
				require.Contains(t, may, strings.TrimSuffix(own, "/vfs"), dir)
			}
		}
	}
	require.Contains(t, imports(t, "badgerspill"), root, "the check can fail")
	require.Contains(t, imports(t, "badgerspill"), module+"spillfile")
}
