package badgerspill

import (
	"bytes"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
)

// deliberate holds where the package differs from Badger's on purpose, by identifier, with the
// reason. An entry that is no difference any more fails TestAPI, too.
var deliberate = map[string]string{}

// TestAPI compares all that Badger's root package exports with this package: what is missing here,
// or differs by more than the name of the package, fails by its identifier.
func TestAPI(t *testing.T) {
	theirs, ours := loadAPIs(t)
	walk := compareAPIs(theirs, ours)
	for name, value := range otherVars(t, theirs) {
		walk.differ(name, "is %s, not Badger's value", value)
	}
	for _, id := range slices.Sorted(maps.Keys(walk.differences)) {
		if _, ok := deliberate[id]; !ok {
			t.Errorf("%s: %s", id, walk.differences[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(deliberate)) {
		if _, ok := walk.differences[id]; !ok {
			t.Errorf("%s: in the table of deliberate differences, and is none", id)
		}
	}
	require.Greater(t, walk.compared, 250, "the walk has not seen the API")
}

// loadAPIs reads both packages from what the compiler exports of their source, one importer for
// both, so that the types of others are identical. The go command finds it in the build cache,
// without network.
func loadAPIs(t *testing.T) (theirs, ours *types.Package) {
	theirPath, ourPath := reflect.TypeFor[badger.DB]().PkgPath(), reflect.TypeFor[DB]().PkgPath()
	cmd := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}", theirPath, ourPath)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	list, err := cmd.Output()
	require.NoErrorf(t, err, "go list: %s", &stderr)
	files := map[string]string{}
	for line := range strings.Lines(string(list)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		files[path] = file
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(files[path])
	})
	theirs, err = imp.Import(theirPath)
	require.NoError(t, err)
	ours, err = imp.Import(ourPath)
	require.NoError(t, err)
	return theirs, ours
}

// otherVars returns the exported variables of Badger's that this package does not set to Badger's
// value, by name, with the expression that it has. Types cannot tell one error from another.
func otherVars(t *testing.T, theirs *types.Package) map[string]string {
	sources, err := filepath.Glob("*.go")
	require.NoError(t, err)
	others := map[string]string{}
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, spec := range gen.Specs {
				spec := spec.(*ast.ValueSpec)
				for i, name := range spec.Names {
					if _, ok := theirs.Scope().Lookup(name.Name).(*types.Var); !ok || !name.IsExported() {
						continue
					}
					value := "without a value"
					if i < len(spec.Values) {
						value = types.ExprString(spec.Values[i])
					}
					if value != "badger."+name.Name {
						others[name.Name] = value
					}
				}
			}
		}
	}
	return others
}
