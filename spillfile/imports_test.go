package spillfile

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The package may use Badger's leaf packages, never the database itself nor anything above this
// package.
func TestImports(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	require.Greater(t, len(files), 10)
	allowed := map[string]bool{
		"github.com/dgraph-io/badger/v4/skl": true, "github.com/dgraph-io/badger/v4/table": true, "github.com/dgraph-io/badger/v4/y": true,
		"github.com/golang/snappy": true, "golang.org/x/sys/unix": true, "golang.org/x/sys/windows": true,
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, imp := range f.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			require.NoError(t, err)
			if strings.Contains(path, ".") {
				require.True(t, allowed[path], "%s imports %s", name, path)
			}
		}
	}
}
