package integration_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// packageDirs returns the directories of all packages of the module, relative to its root. A
// package is what the go command would build: directories that it leaves out are left out.
func packageDirs(t *testing.T) (dirs []string) {
	t.Helper()
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		if !d.IsDir() && strings.HasSuffix(name, ".go") && !slices.Contains(dirs, rel) {
			dirs = append(dirs, rel)
		}
		return nil
	}))
	require.Contains(t, dirs, "badgerspill")
	return dirs
}

// parsed returns the files of a package without its tests, by name.
func parsed(t *testing.T, fset *token.FileSet, dir string) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	entries, err := os.ReadDir(filepath.Join("..", dir))
	require.NoError(t, err)
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			f, err := parser.ParseFile(fset, filepath.Join("..", dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			require.NoError(t, err)
			files[name] = f
		}
	}
	return files
}

// Every package says in doc.go what it is, and nowhere else.
func TestEveryPackageHasADoc(t *testing.T) {
	for _, dir := range packageDirs(t) {
		files := parsed(t, token.NewFileSet(), dir)
		if !assertTrue(t, files["doc.go"] != nil, "%s has no doc.go", dir) {
			continue
		}
		for name, f := range files {
			if name != "doc.go" {
				assertTrue(t, f.Doc == nil, "%s: the package comment of %s belongs into doc.go", filepath.Join(dir, name), dir)
				continue
			}
			head := "Package " + f.Name.Name + " "
			if f.Name.Name == "main" {
				head = "Command " + filepath.Base(dir) + " "
			}
			assertTrue(t, strings.HasPrefix(f.Doc.Text(), head), "%s: the comment must begin with %q", filepath.Join(dir, name), head)
		}
	}
}

// What can be imported is documented: every exported type, function, method, constant, variable,
// field and method of an interface has a comment.
func TestEveryExportedIdentifierHasAComment(t *testing.T) {
	exported := 0
	for _, dir := range packageDirs(t) {
		if slices.Contains(strings.Split(dir, string(filepath.Separator)), "internal") {
			continue
		}
		fset := token.NewFileSet()
		for _, f := range parsed(t, fset, dir) {
			c := comments{fset: fset, missing: func(at token.Pos, what string) {
				t.Errorf("%s: %s has no comment", strings.TrimPrefix(fset.Position(at).String(), ".."+string(filepath.Separator)), what)
			}}
			c.file(f)
			exported += c.exported
		}
	}
	require.Greater(t, exported, 500, "exported identifiers found")
}

// The check itself: it finds what is marked, and nothing else.
func TestMissingCommentsAreFound(t *testing.T) {
	const source = `package p

type A struct { //want:here A
	B int // a comment beside it
	// C, D
	C, D int
	E int //want:here A.E
	e int
	// W begins and X ends it.
	W int
	X int
	Y int //want:here A.Y

	Z int //want:here A.Z
	F
}

// F is documented.
type F interface {
	// G does.
	G()
	H() //want:here F.H
	error
}

// Q and Z are named too far away.
type Q struct {
	// Q, R.
	R int

	Q int //want:here Q.Q
}

type e struct{ X int }

func (e) Y() {}

func (a *A) I() {} //want:here A.I

// A group that is named.
const (
	J = iota
	K
)

const (
	L = 1 // of its own
	M = 2 //want:here M
)

var N int // beside it

var O int //want:here O

// P is documented, and so is what is in it.
type P[T any] struct {
	q struct{ R int }
	S struct { //want:here P.S
		T int //want:here P.T
	}
}

func (P[T]) U() {} //want:here P.U

func V() {} //want:here V
`
	want := []string{}
	for i, line := range strings.Split(source, "\n") {
		if _, what, ok := strings.Cut(line, "//want:here "); ok { // a directive, not a comment
			want = append(want, fmt.Sprintf("%d %s", i+1, what))
		}
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", source, parser.ParseComments)
	require.NoError(t, err)
	got := []string{}
	c := comments{fset: fset, missing: func(at token.Pos, what string) {
		got = append(got, fmt.Sprintf("%d %s", fset.Position(at).Line, what))
	}}
	c.file(f)
	require.Equal(t, want, got)
}

// comments looks for exported identifiers without one.
type comments struct {
	fset     *token.FileSet
	exported int
	missing  func(at token.Pos, what string)
}

func (c *comments) file(f *ast.File) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				of := receiver(d.Recv.List[0].Type)
				if !ast.IsExported(of) {
					continue
				}
				name = of + "." + name
			}
			c.check(d.Name, name, d.Doc)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					c.check(s.Name, s.Name.Name, d.Doc, s.Doc, s.Comment)
					if s.Name.IsExported() {
						c.members(s.Name.Name, s.Type)
					}
				case *ast.ValueSpec:
					for _, n := range s.Names {
						c.check(n, n.Name, d.Doc, s.Doc, s.Comment)
					}
				}
			}
		}
	}
}

// members checks the fields of a struct and the methods of an interface. Embedded ones have their
// comment at their type. A comment counts for fields below it, too, if it names them and no empty
// line is between.
func (c *comments) members(of string, typ ast.Expr) {
	var list *ast.FieldList
	switch typ := typ.(type) {
	case *ast.StructType:
		list = typ.Fields
	case *ast.InterfaceType:
		list = typ.Methods
	default:
		return
	}
	line := func(p token.Pos) int { return c.fset.Position(p).Line }
	// the comment of this field or of one above it, with no empty line between
	var above *ast.CommentGroup
	end := 0
	for _, f := range list.List {
		if f.Doc != nil {
			above = f.Doc
		} else if line(f.Pos()) > end+1 {
			above = nil
		}
		end = line(f.End())
		for _, n := range f.Names {
			shared := above
			if !regexp.MustCompile(`\b` + n.Name + `\b`).MatchString(above.Text()) {
				shared = nil
			}
			c.check(n, of+"."+n.Name, f.Doc, f.Comment, shared)
			if n.IsExported() {
				c.members(of, f.Type)
			}
		}
	}
}

// check takes an identifier and the comments that may be its own. A comment without words, a
// directive say, is none.
func (c *comments) check(n *ast.Ident, name string, of ...*ast.CommentGroup) {
	if !n.IsExported() {
		return
	}
	c.exported++
	for _, doc := range of {
		if strings.TrimSpace(doc.Text()) != "" {
			return
		}
	}
	c.missing(n.Pos(), name)
}

// receiver returns the name of a method's type.
func receiver(typ ast.Expr) string {
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func assertTrue(t *testing.T, ok bool, format string, args ...any) bool {
	t.Helper()
	if !ok {
		t.Errorf(format, args...)
	}
	return ok
}
