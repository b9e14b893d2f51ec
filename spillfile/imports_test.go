package spillfile

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The package, and those below it, may use Badger's leaf packages, never the database itself nor
// anything above this package. What touches files only knows nothing of the spill, what knows bytes
// only nothing of a log, and what looks at a spill or recovers it needs no Log. What is for tests
// is used by tests.
func TestImports(t *testing.T) {
	const own = "github.com/badgerspill/badgerspill/spillfile/"
	allowed := map[string]bool{
		"github.com/dgraph-io/badger/v4/skl": true, "github.com/dgraph-io/badger/v4/table": true, "github.com/dgraph-io/badger/v4/y": true,
		"github.com/golang/snappy": true, "golang.org/x/sys/unix": true, "golang.org/x/sys/windows": true,
	}
	forTests := []string{"internal/forgery", "internal/spilltest", "vfs/vfstest"}
	below := map[string][]string{
		"vfs":                {},
		"vfs/vfstest":        {"vfs"},
		"internal/block":     {},
		"internal/index":     {"internal/block", "vfs"},
		"internal/filepool":  {"internal/block", "vfs"},
		"internal/layout":    {"internal/block", "internal/index", "vfs"},
		"internal/pace":      {},
		"internal/recovery":  {"internal/block", "internal/filepool", "internal/index", "internal/layout", "vfs"},
		"check":              {"internal/block", "internal/filepool", "internal/index", "internal/layout", "internal/pace", "internal/recovery", "vfs"},
		".":                  {"check", "internal/block", "internal/filepool", "internal/index", "internal/layout", "internal/pace", "internal/recovery", "vfs"},
		"repair":             {"", "check", "internal/block", "internal/filepool", "internal/index", "internal/layout", "internal/recovery", "vfs"},
		"internal/forgery":   {"internal/block", "internal/index", "vfs/vfstest"},
		"internal/spilltest": {"", "check", "internal/block"},
	}
	files := 0
	require.NoError(t, filepath.WalkDir(".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		folder := filepath.ToSlash(filepath.Dir(name))
		may, known := below[folder] // of the packages here; "" is this one
		require.True(t, known, "what may %s import?", folder)
		for _, imp := range f.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			require.NoError(t, err)
			here, isOwn := strings.CutPrefix(path+"/", own)
			switch {
			case !strings.Contains(path, "."):
			case isOwn:
				require.Contains(t, may, strings.TrimSuffix(here, "/"), "%s imports %s", name, path)
			case path == "github.com/stretchr/testify/require":
				require.Contains(t, forTests, folder, "%s imports %s", name, path)
			default:
				require.True(t, allowed[path], "%s imports %s", name, path)
			}
		}
		return nil
	}))
	require.Greater(t, files, 10)
	for folder, may := range below {
		require.True(t, slices.Contains(forTests, folder) || !slices.ContainsFunc(may, func(p string) bool { return slices.Contains(forTests, p) }), folder)
	}
}
