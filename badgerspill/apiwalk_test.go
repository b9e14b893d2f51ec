package badgerspill

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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
