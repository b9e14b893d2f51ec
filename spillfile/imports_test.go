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
// anything above this package. What touches files only knows nothing of the spill, and what knows
// bytes only nothing of a log.
func TestImports(t *testing.T) {
	const own = "github.com/badgerspill/badgerspill/spillfile/"
	allowed := map[string]bool{
		"github.com/dgraph-io/badger/v4/skl": true, "github.com/dgraph-io/badger/v4/table": true, "github.com/dgraph-io/badger/v4/y": true,
		"github.com/golang/snappy": true, "golang.org/x/sys/unix": true, "golang.org/x/sys/windows": true,
	}
	below := map[string][]string{
		"vfs/":            {"vfs"},
		"internal/block/": {},
		"internal/index/": {"internal/block", "vfs"},
	}
	files := 0
	require.NoError(t, filepath.WalkDir(".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		var may []string // of the packages here; nil: all
		for folder, imports := range below {
			if strings.HasPrefix(filepath.ToSlash(name), folder) {
				may = imports
			}
		}
		for _, imp := range f.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			require.NoError(t, err)
			switch {
			case !strings.Contains(path, "."):
			case strings.HasPrefix(path, own):
				require.True(t, may == nil || slices.Contains(may, strings.TrimPrefix(path, own)), "%s imports %s", name, path)
			default:
				require.True(t, allowed[path], "%s imports %s", name, path)
			}
		}
		return nil
	}))
	require.Greater(t, files, 10)
}
