package badgerspill

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/constant"
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
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
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

// apiWalk walks the API of one package and looks for all of it in another.
type apiWalk struct {
	theirs, ours *types.Package
	differences  map[string]string // what differs, by identifier
	compared     int               // identifiers
	unexported   []string          // types that exported ones lead to
}

func compareAPIs(theirs, ours *types.Package) *apiWalk {
	w := &apiWalk{theirs: theirs, ours: ours, differences: map[string]string{}}
	for _, name := range theirs.Scope().Names() {
		if token.IsExported(name) {
			w.object(name)
		}
	}
	for i := 0; i < len(w.unexported); i++ { // the list grows
		w.object(w.unexported[i])
	}
	return w
}

func (w *apiWalk) differ(id, format string, args ...any) {
	w.differences[id] = fmt.Sprintf(format, args...)
}

func (w *apiWalk) object(name string) {
	w.compared++
	b, o := w.theirs.Scope().Lookup(name), w.ours.Scope().Lookup(name)
	if o == nil {
		w.differ(name, "missing")
		return
	}
	if reflect.TypeOf(b) != reflect.TypeOf(o) {
		w.differ(name, "is a %T, Badger's a %T", o, b)
		return
	}
	switch b := b.(type) {
	case *types.TypeName:
		w.typeName(name, b, o.Type())
		return
	case *types.Const:
		if v := o.(*types.Const).Val(); !constant.Compare(b.Val(), token.EQL, v) {
			w.differ(name, "is %s, Badger's %s", v, b.Val())
			return
		}
	}
	w.mustEqual(name, b.Type(), o.Type())
}

// mustEqual notes a difference if the types are not the same modulo the package.
func (w *apiWalk) mustEqual(id string, b, o types.Type) {
	if !w.equal(b, o) {
		w.differ(id, "is %s, Badger's %s", typeText(o, w.ours), typeText(b, w.theirs))
	}
}

// typeText is t as it reads inside of the package home.
func typeText(t types.Type, home *types.Package) string {
	return types.TypeString(t, func(p *types.Package) string {
		if p == home {
			return ""
		}
		return p.Name()
	})
}

func (w *apiWalk) typeName(name string, b *types.TypeName, o types.Type) {
	o = types.Unalias(o)
	bt := types.Unalias(b.Type())
	if types.Identical(bt, o) {
		return
	}
	if b.IsAlias() {
		w.mustEqual(name, bt, o)
		return
	}
	named, ok := o.(*types.Named)
	if !ok || named.Obj().Pkg() != w.ours || named.Obj().Name() != name {
		w.differ(name, "is %s", typeText(o, w.ours))
		return
	}
	if types.Comparable(bt) && !types.Comparable(o) {
		w.differ(name, "cannot be compared with ==, Badger's can")
	}
	_, theirStruct := bt.Underlying().(*types.Struct)
	_, ourStruct := o.Underlying().(*types.Struct)
	if theirStruct && ourStruct {
		w.fields(name, bt, o)
	} else {
		w.mustEqual(name, bt.Underlying(), o.Underlying())
	}
	if !types.IsInterface(bt) {
		w.methods(name, bt, o)
	}
}

// fields compares the exported fields, those of embedded structs included.
func (w *apiWalk) fields(name string, bt, o types.Type) {
	var promoted []string
	names := map[string]bool{}
	fieldNames(bt, names, map[types.Type]bool{})
	for _, field := range slices.Sorted(maps.Keys(names)) {
		obj, path, _ := types.LookupFieldOrMethod(bt, true, w.theirs, field)
		b, ok := obj.(*types.Var)
		if !ok {
			continue // hidden by a method, or there twice
		}
		w.compared++
		id := name + "." + field
		obj, ourPath, _ := types.LookupFieldOrMethod(o, true, w.ours, field)
		f, ok := obj.(*types.Var)
		if !ok {
			w.differ(id, "missing")
			continue
		}
		w.mustEqual(id, b.Type(), f.Type())
		if len(path) == 1 && len(ourPath) > 1 {
			promoted = append(promoted, field)
		}
	}
	if len(promoted) > 0 {
		w.differ(name+"{}", "fields are promoted from an embedded struct, a literal cannot name them: %s",
			strings.Join(promoted, ", "))
	}
}

// fieldNames collects the exported fields of a struct and of what it embeds.
func fieldNames(t types.Type, names map[string]bool, seen map[types.Type]bool) {
	t = types.Unalias(t)
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = types.Unalias(p.Elem())
	}
	s, ok := t.Underlying().(*types.Struct)
	if !ok || seen[t] {
		return
	}
	seen[t] = true
	for f := range s.Fields() {
		if f.Exported() {
			names[f.Name()] = true
		}
		if f.Embedded() {
			fieldNames(f.Type(), names, seen)
		}
	}
}

// methods compares the exported methods, promoted ones included.
func (w *apiWalk) methods(name string, bt, o types.Type) {
	theirs, ours := types.NewMethodSet(types.NewPointer(bt)), types.NewMethodSet(types.NewPointer(o))
	theirValues, ourValues := types.NewMethodSet(bt), types.NewMethodSet(o)
	for b := range theirs.Methods() {
		method := b.Obj().Name()
		if !b.Obj().Exported() {
			continue
		}
		w.compared++
		id := name + "." + method
		m := ours.Lookup(w.ours, method)
		if m == nil {
			w.differ(id, "missing")
			continue
		}
		w.mustEqual(id, b.Type(), m.Type())
		if theirValues.Lookup(w.theirs, method) != nil && ourValues.Lookup(w.ours, method) == nil {
			w.differ(id, "needs a pointer, Badger's does not")
		}
	}
}

// equal reports whether o is b with Badger's types replaced by those of this package.
func (w *apiWalk) equal(b, o types.Type) bool {
	b, o = types.Unalias(b), types.Unalias(o)
	switch b := b.(type) {
	case *types.Named:
		return w.equalNamed(b, o)
	case *types.Pointer:
		o, ok := o.(*types.Pointer)
		return ok && w.equal(b.Elem(), o.Elem())
	case *types.Slice:
		o, ok := o.(*types.Slice)
		return ok && w.equal(b.Elem(), o.Elem())
	case *types.Array:
		o, ok := o.(*types.Array)
		return ok && b.Len() == o.Len() && w.equal(b.Elem(), o.Elem())
	case *types.Map:
		o, ok := o.(*types.Map)
		return ok && w.equal(b.Key(), o.Key()) && w.equal(b.Elem(), o.Elem())
	case *types.Chan:
		o, ok := o.(*types.Chan)
		return ok && b.Dir() == o.Dir() && w.equal(b.Elem(), o.Elem())
	case *types.Tuple:
		o, ok := o.(*types.Tuple)
		if !ok || b.Len() != o.Len() {
			return false
		}
		for i := range b.Len() {
			if !w.equal(b.At(i).Type(), o.At(i).Type()) {
				return false
			}
		}
		return true
	case *types.Signature: // names of parameters and the receiver are left out
		o, ok := o.(*types.Signature)
		return ok && b.Variadic() == o.Variadic() && b.TypeParams().Len()+o.TypeParams().Len() == 0 &&
			w.equal(b.Params(), o.Params()) && w.equal(b.Results(), o.Results())
	case *types.Struct:
		o, ok := o.(*types.Struct)
		if !ok || b.NumFields() != o.NumFields() {
			return false
		}
		for i := range b.NumFields() {
			f, g := b.Field(i), o.Field(i)
			if f.Name() != g.Name() || f.Embedded() != g.Embedded() || b.Tag(i) != o.Tag(i) || !w.equal(f.Type(), g.Type()) {
				return false
			}
		}
		return true
	case *types.Interface:
		o, ok := o.(*types.Interface)
		if !ok || b.NumMethods() != o.NumMethods() || !b.IsMethodSet() || !o.IsMethodSet() {
			return types.Identical(b, o)
		}
		for i := range b.NumMethods() { // in order of their names
			if b.Method(i).Name() != o.Method(i).Name() || !w.equal(b.Method(i).Type(), o.Method(i).Type()) {
				return false
			}
		}
		return true
	}
	return types.Identical(b, o)
}

func (w *apiWalk) equalNamed(b *types.Named, o types.Type) bool {
	name := b.Obj().Name()
	if b.Obj().Pkg() != w.theirs {
		named, ok := o.(*types.Named)
		if !ok || b.Obj() != named.Obj() || b.TypeArgs().Len() != named.TypeArgs().Len() {
			return false
		}
		for i := range b.TypeArgs().Len() {
			if !w.equal(b.TypeArgs().At(i), named.TypeArgs().At(i)) {
				return false
			}
		}
		return true
	}
	twin, ok := w.ours.Scope().Lookup(name).(*types.TypeName)
	if !ok {
		// Its methods are there if it is Badger's own.
		return !b.Obj().Exported() && types.Identical(b, o)
	}
	if !b.Obj().Exported() && !slices.Contains(w.unexported, name) {
		w.unexported = append(w.unexported, name)
	}
	return types.Identical(o, twin.Type())
}

// TestAPICompare shows the walk pairs of small packages.
func TestAPICompare(t *testing.T) {
	for _, tt := range []struct {
		name         string
		theirs, ours string
		differences  []string
	}{
		{"own types of the same names", `type DB struct{}; func (*DB) Txn(n int) *Txn { return nil }; type Txn struct{ N int }`,
			`type DB struct{ x int }; func (*DB) Txn(m int) *Txn { return nil }; type Txn struct{ N, M int }`, nil},
		{"a method is missing", `type DB struct{}; func (*DB) A() {}; func (*DB) B() {}`,
			`type DB struct{}; func (*DB) A() {}`, []string{"DB.B"}},
		{"a method is unexported", `type DB struct{}; func (*DB) a() {}`, `type DB struct{}`, nil},
		{"a result differs", `type DB struct{}; func (*DB) A() int { return 0 }`,
			`type DB struct{}; func (*DB) A() int64 { return 0 }`, []string{"DB.A"}},
		{"a parameter of a callback differs", `func F(f func(int)) {}`, `func F(f func(int64)) {}`, []string{"F"}},
		{"variadic against slice", `func F(b ...byte) {}`, `func F(b []byte) {}`, []string{"F"}},
		{"a value receiver became a pointer", `type O struct{}; func (O) A() {}`, `type O struct{}; func (*O) A() {}`,
			[]string{"O.A"}},
		{"a promoted method is missing", `type L struct{}; func (*L) Lock() {}; type DB struct{ L }`,
			`type L struct{}; func (*L) Lock() {}; type DB struct{ x L }`, []string{"DB.L", "DB.Lock"}},
		{"a promoted field is missing", `type e struct{ F int }; type T struct{ e }`, `type T struct{ e int }`,
			[]string{"T.F"}},
		{"a field has become promoted", `type O struct{ A int }`, `type In struct{ A int }; type O struct{ In }`,
			[]string{"O{}"}},
		{"a field of another type", `type O struct{ A []int }`, `type O struct{ A []uint }`, []string{"O.A"}},
		{"a constant of another value", `const A, B = 1, 2`, `const A, B = 1, 3`, []string{"B"}},
		{"a constant of another type", `type C int; const A C = 1`, `type C int; const A = 1`, []string{"A"}},
		{"a function became a variable", `func F() {}`, `var F = func() {}`, []string{"F"}},
		{"a variable is missing", `var V int`, ``, []string{"V"}},
		{"an unexported type has lost a method", `type r struct{}; func (r) String() string { return "" }; func F() []*r { return nil }`,
			`type r struct{}; func F() []*r { return nil }`, []string{"r.String"}},
		{"an unexported type is missing", `type r struct{}; func F(x map[int]r) {}`, `func F(x map[int]int) {}`, []string{"F"}},
		{"an interface has lost a method", `type L interface{ A(); B() }`, `type L interface{ A() }`, []string{"L"}},
		{"an interface of own types", `type D struct{}; type L interface{ A(D) }`, `type D struct{}; type L interface{ A(D) }`, nil},
		{"a struct became a map", `type K struct{}`, `type K map[int]int`, []string{"K"}},
		{"a type that is no longer comparable", `type K struct{ A int }`, `type K struct{ A int; b []int }`, []string{"K"}},
		{"a channel of another direction", `var V <-chan int`, `var V chan int`, []string{"V"}},
		{"an alias of the same type", `type K = []int`, `type K = []int`, nil},
		{"an alias of another type", `type K = []int`, `type K = []uint`, []string{"K"}},
		{"a function type", `type T struct{}; type F func(*T) error`, `type T struct{}; type F func(*T) error`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			walk := compareAPIs(checkSource(t, "badger", tt.theirs), checkSource(t, "badgerspill", tt.ours))
			require.Equal(t, tt.differences, slices.Sorted(maps.Keys(walk.differences)), walk.differences)
		})
	}
}

// TestAPIOwnTypes compares where one package uses the other's: a method of ours must not ask for a
// type of Badger's that has a twin here, and one that is Badger's own is right by identity.
func TestAPIOwnTypes(t *testing.T) {
	theirs := checkSource(t, "badger", `
		type Txn struct{}; type r struct{}; type Kept struct{ R r }; type L struct{}
		func F(*Txn) {}; func G() *r { return nil }; func H(Kept, L) {}`)
	ours := checkSource(t, "badgerspill", `
		import "badger"
		type Txn struct{}; type Kept = badger.Kept; type L = badger.L
		func F(*badger.Txn) {}; func H(Kept, L) {}
		var g = badger.G; func G() interface{} { return g() }`, theirs)
	walk := compareAPIs(theirs, ours)
	require.Equal(t, map[string]string{
		"F": "is func(*badger.Txn), Badger's func(*Txn)",
		"G": "is func() interface{}, Badger's func() *r",
	}, walk.differences)
}

func checkSource(t *testing.T, name, source string, imports ...*types.Package) *types.Package {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name+".go", "package "+name+"\n"+source, parser.SkipObjectResolution)
	require.NoError(t, err)
	conf := types.Config{Importer: packages(imports)}
	pkg, err := conf.Check(name, fset, []*ast.File{file}, nil)
	require.NoError(t, err)
	return pkg
}

// packages is an importer of what there is.
type packages []*types.Package

func (p packages) Import(path string) (*types.Package, error) {
	for _, pkg := range p {
		if pkg.Path() == path {
			return pkg, nil
		}
	}
	return nil, fmt.Errorf("no package %s", path)
}

// TestAPIDelegated asks plain Badger and the layer the same questions about the same files.
func TestAPIDelegated(t *testing.T) {
	bounded(t)
	dir := t.TempDir()
	opt := badger.DefaultOptions(dir).WithLogger(nil).WithNumCompactors(0).WithMetricsEnabled(true).
		WithIndexCacheSize(1 << 20).WithBlockCacheSize(1 << 20).WithNamespaceOffset(0)
	for round := range 3 { // an SSTable each
		db, err := badger.Open(opt)
		require.NoError(t, err)
		wb := db.NewWriteBatch()
		for i := range 5000 {
			require.NoError(t, wb.Set(fmt.Appendf(nil, "key%09d", 3*i+round), make([]byte, 100)))
		}
		require.NoError(t, wb.Flush())
		if round == 0 {
			require.NoError(t, db.BanNamespace(7))
		}
		require.NoError(t, db.Close())
	}

	type answers struct {
		tables             []TableInfo
		levels             []LevelInfo
		text               string
		ranges             []string
		banned             []uint64
		costs              []int64
		costErrs           []error
		blocks, indices    bool
		gc                 []error
		closedLevels       int
		closedBanned       []uint64
		closedGC           []error
		closedCost         int64
		closedBlockMetrics bool
	}
	type delegates interface {
		Tables() []TableInfo
		Levels() []LevelInfo
		LevelsToString() string
		BannedNamespaces() []uint64
		CacheMaxCost(CacheType, int64) (int64, error)
		RunValueLogGC(float64) error
		Close() error
	}
	ask := func(db delegates, ranges func(prefix []byte, n int) []string, metrics func() (blocks, indices bool)) (a answers) {
		a.tables, a.levels, a.text, a.banned = db.Tables(), db.Levels(), db.LevelsToString(), db.BannedNamespaces()
		for _, prefix := range []string{"", "key", "key00000001", "none"} {
			for _, n := range []int{1, 5, 100} {
				a.ranges = append(a.ranges, ranges([]byte(prefix), n)...)
			}
		}
		for _, cache := range []CacheType{BlockCache, IndexCache, IndexCache + 1} {
			for _, cost := range []int64{-1, 5000, -1} {
				cost, err := db.CacheMaxCost(cache, cost)
				a.costs, a.costErrs = append(a.costs, cost), append(a.costErrs, err)
			}
		}
		a.blocks, a.indices = metrics()
		collect := func() (errs []error) {
			for _, ratio := range []float64{-1, 0, 0.5, 1, 2} {
				errs = append(errs, db.RunValueLogGC(ratio))
			}
			return errs
		}
		a.gc = collect()
		require.NoError(t, db.Close())
		a.closedLevels, a.closedBanned, a.closedGC = len(db.Levels()), db.BannedNamespaces(), collect()
		a.closedCost, _ = db.CacheMaxCost(BlockCache, -1)
		a.closedBlockMetrics, _ = metrics()
		return a
	}

	for _, mode := range []struct {
		name string
		set  func(o badger.Options) badger.Options
	}{
		{"on disk", func(o badger.Options) badger.Options { return o }},
		{"read-only", func(o badger.Options) badger.Options { return o.WithReadOnly(true) }},
		{"in memory", func(o badger.Options) badger.Options {
			return o.WithInMemory(true).WithDir("").WithValueDir("").WithIndexCacheSize(0)
		}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			if mode.name == "read-only" && runtime.GOOS == "windows" {
				t.Skip("Badger has no read-only mode there")
			}
			opt := mode.set(opt)
			plain, err := badger.Open(opt)
			require.NoError(t, err)
			if opt.InMemory { // a table after Close
				require.NoError(t, plain.Update(func(txn *badger.Txn) error { return txn.Set([]byte("12345678k"), nil) }))
			}
			want := ask(plain, func(prefix []byte, n int) (out []string) {
				for _, r := range plain.Ranges(prefix, n) {
					// Without its methods, to see all fields.
					out = append(out, strings.Replace(fmt.Sprintf("%#v", *r), "badger.", "badgerspill.", 1))
				}
				return out
			}, func() (bool, bool) { return plain.BlockCacheMetrics() != nil, plain.IndexCacheMetrics() != nil })

			db, err := Open(OptionsFrom(opt))
			require.NoError(t, err)
			defer db.Close()
			if opt.InMemory {
				require.NoError(t, db.Update(func(txn *Txn) error { return txn.Set([]byte("12345678k"), nil) }))
			}
			got := ask(db, func(prefix []byte, n int) (out []string) {
				for _, r := range db.Ranges(prefix, n) {
					out = append(out, fmt.Sprintf("%#v", *r))
				}
				return out
			}, func() (bool, bool) { return db.BlockCacheMetrics() != nil, db.IndexCacheMetrics() != nil })
			require.Equal(t, want, got)

			if !opt.InMemory {
				require.Len(t, got.tables, 3)
				require.Greater(t, len(got.ranges), 50)
				require.Equal(t, []uint64{7}, got.banned)
				require.Nil(t, db.Tables(), "Badger reads unmapped memory here")
				require.Nil(t, db.Ranges(nil, 1))
			} else {
				require.Len(t, db.Tables(), 1)
				require.Equal(t, plain.Tables(), db.Tables())
			}
		})
	}

	cost, err := (*DB)(nil).CacheMaxCost(BlockCache, 1)
	require.NoError(t, err)
	require.Zero(t, cost)
}

// TestAPIRangeString compares the text of a range with Badger's.
func TestAPIRangeString(t *testing.T) {
	bounded(t)
	opt := badger.DefaultOptions("").WithInMemory(true).WithLogger(nil)
	plain, err := badger.Open(opt)
	require.NoError(t, err)
	defer plain.Close()
	require.NoError(t, plain.Update(func(txn *badger.Txn) error { return txn.Set([]byte("k"), nil) }))
	theirs := plain.Ranges(nil, 1)
	require.Greater(t, len(theirs), 1)
	for _, r := range theirs {
		v := reflect.ValueOf(r).Elem()
		own := keyRange{left: v.FieldByName("left").Bytes(), right: v.FieldByName("right").Bytes()}
		require.Equal(t, r.String(), own.String())
	}
	require.Equal(t, "[left=, right=, inf=true]", keyRange{inf: true}.String())
}

// TestAPIDiscardStats runs the same steps on Badger's type and on the one that stands for it.
func TestAPIDiscardStats(t *testing.T) {
	type discards interface {
		sort.Interface
		sync.Locker
		Update(fid uint32, discard int64) int64
		Iterate(f func(fid, stats uint64))
		MaxDiscard() (uint32, int64)
		Bytes(off, size int) ([]byte, error)
		Close(size int64) error
	}
	steps := func(s discards) (out []any) {
		for i := range 100 { // through many slots, out of order
			out = append(out, s.Update(uint32(i*37%101+1), int64(i+1)))
		}
		for _, discard := range []int64{0, 1000, 0, -1, 0} {
			out = append(out, s.Update(38, discard), s.Update(5000, min(discard, 0)))
		}
		fid, most := s.MaxDiscard()
		s.Lock()
		out = append(out, fid, most, s.Len(), s.Less(0, 1), s.Less(1, 0))
		s.Swap(0, 1)
		out = append(out, s.Less(0, 1))
		s.Swap(0, 1)
		s.Iterate(func(fid, stats uint64) { out = append(out, fid, stats) })
		s.Unlock()
		b, err := s.Bytes(0, 1024)
		return append(out, bytes.Clone(b), err, s.Close(-1))
	}

	dir := t.TempDir()
	theirDir, ourDir := filepath.Join(dir, "badger"), filepath.Join(dir, "badgerspill")
	require.NoError(t, os.Mkdir(theirDir, 0o700))
	require.NoError(t, os.Mkdir(ourDir, 0o700))
	for _, round := range []string{"new", "there"} {
		theirs, err := badger.InitDiscardStats(badger.DefaultOptions(theirDir).WithLogger(nil))
		require.NoError(t, err)
		ours, err := InitDiscardStats(DefaultOptions(ourDir).WithLogger(nil))
		require.NoError(t, err)
		require.Equal(t, len(theirs.Data), len(ours.Data))
		require.Equal(t, steps(theirs), steps(ours), round)
	}

	none := filepath.Join(dir, "none")
	_, want := badger.InitDiscardStats(badger.DefaultOptions(none).WithLogger(nil))
	stats, err := InitDiscardStats(DefaultOptions(none).WithLogger(nil))
	require.Nil(t, stats)
	require.EqualError(t, err, want.Error())
}

// TestAPIFunctions reads with our functions what Badger has written, and the reverse.
func TestAPIFunctions(t *testing.T) {
	bounded(t)
	dir := t.TempDir()
	opt := badger.DefaultOptions(dir).WithLogger(nil).WithExternalMagic(9)
	db, err := badger.Open(opt)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(txn *badger.Txn) error { return txn.Set([]byte("k"), []byte("v")) }))
	require.NoError(t, db.Close())

	f, err := os.Open(filepath.Join(dir, ManifestFilename))
	require.NoError(t, err)
	defer f.Close()
	replay := func(magic uint16, ours bool) (m Manifest, offset int64, err error) {
		_, err = f.Seek(0, io.SeekStart)
		require.NoError(t, err)
		if ours {
			return ReplayManifestFile(f, magic, OptionsFrom(opt))
		}
		return badger.ReplayManifestFile(f, magic, opt)
	}
	for _, magic := range []uint16{9, 8} {
		want, wantOffset, wantErr := replay(magic, false)
		got, offset, err := replay(magic, true)
		require.Equal(t, want, got)
		require.Equal(t, wantOffset, offset)
		require.Equal(t, wantErr, err)
		require.Equal(t, magic == 9, err == nil)
	}

	keys := KeyRegistryOptions{Dir: dir, EncryptionKey: []byte("0123456789abcdef")}
	require.NoError(t, os.Remove(filepath.Join(dir, KeyRegistryFileName)))
	reg, err := OpenKeyRegistry(keys)
	require.NoError(t, err)
	dk, err := reg.LatestDataKey()
	require.NoError(t, err)
	require.NoError(t, WriteKeyRegistry(reg, keys))
	require.NoError(t, reg.Close())
	theirs, err := badger.OpenKeyRegistry(keys)
	require.NoError(t, err)
	same, err := theirs.DataKey(dk.KeyId)
	require.NoError(t, err)
	require.Equal(t, dk.Data, same.Data)
	require.NoError(t, theirs.Close())
	keys.EncryptionKey[0]++
	_, err = OpenKeyRegistry(keys)
	require.ErrorIs(t, err, ErrEncryptionKeyMismatch)

	buf := z.NewBuffer(1<<10, "TestAPIFunctions")
	defer func() { require.NoError(t, buf.Release()) }()
	KVToBuffer(&pb.KV{Key: []byte("a"), Version: 1}, buf)
	badger.KVToBuffer(&pb.KV{Key: []byte("b"), Version: 2}, buf)
	want, err := badger.BufferToKVList(buf)
	require.NoError(t, err)
	got, err := BufferToKVList(buf)
	require.NoError(t, err)
	require.Equal(t, want.String(), got.String())
	require.Len(t, got.Kv, 2)
}
