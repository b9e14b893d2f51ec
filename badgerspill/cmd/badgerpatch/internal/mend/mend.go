package mend

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// Mend is a change of Badger that stands on its own.
type Mend struct {
	Name  string
	Short string // what it does, in one line

	edits []edit
	files map[string]string // new ones, by path
}

// edit is a change of one released file: of the one place where anchor is, or of the body of the
// function or method that is named.
type edit struct {
	file   string
	anchor string
	body   string // "CreateTable", "DB.Flatten"
	with   string // in place of the anchor, or of all between the braces
}

// All returns the mends in the order of their worth.
func All() []Mend {
	return []Mend{tables, logs, loader, compaction, memtable, gc, levelzero, maintenance, dropall, move}
}

// Select returns the mends of All that are in only, all of them if it is empty, and not in without.
// A name that no mend has is an error.
func Select(only, without []string) ([]Mend, error) {
	all := All()
	for _, name := range slices.Concat(only, without) {
		if !slices.ContainsFunc(all, func(m Mend) bool { return m.Name == name }) {
			return nil, fmt.Errorf("no mend is called %q: there are %s", name, strings.Join(Names(all), ", "))
		}
	}
	selected := slices.DeleteFunc(all, func(m Mend) bool {
		return len(only) > 0 && !slices.Contains(only, m.Name) || slices.Contains(without, m.Name)
	})
	if len(selected) == 0 {
		return nil, fmt.Errorf("no mend is left of %s", strings.Join(Names(All()), ", "))
	}
	return selected, nil
}

// Names returns the names of mends, in their order.
func Names(mends []Mend) []string {
	names := make([]string, len(mends))
	for i, m := range mends {
		names[i] = m.Name
	}
	return names
}

// Apply makes the mends. read returns a released file. What it returns are the files that are new
// or changed, by their path in the module.
func Apply(mends []Mend, read func(path string) ([]byte, error)) (map[string][]byte, error) {
	edits := make(map[string][]edit)
	by := make(map[string][]string)
	result := make(map[string][]byte)
	for _, m := range mends {
		for _, e := range m.edits {
			edits[e.file] = append(edits[e.file], e)
			if !slices.Contains(by[e.file], m.Name) {
				by[e.file] = append(by[e.file], m.Name)
			}
		}
		for path, text := range m.files {
			result[path] = []byte(notice("Not of Badger: added", m.Name) + text)
		}
	}
	for path, edits := range edits {
		src, err := read(path)
		if err != nil {
			return nil, err
		}
		changed, err := apply(src, edits)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		result[path] = append([]byte(notice("Changed", by[path]...)), changed...)
	}
	result[marker] = []byte(notice("Not of Badger: added", Names(mends)...) + fmt.Sprintf(markerText, strings.Join(Names(mends), ",")))
	return result, nil
}

// notice is what a file that is not as Badger has it begins with. The licence asks for it.
func notice(what string, mends ...string) string {
	return fmt.Sprintf("// %s by badgerpatch, of badgerspill: %s. Badger's maintainers have nothing to do with it.\n\n",
		what, strings.Join(mends, ", "))
}

const marker = "badgerpatch.go"

// markerText tells a program that it was built on a mended Badger: see badgerspill.BadgerBuild.
const markerText = `package badger

import "expvar"

func init() { expvar.NewString("badger_v4_mends").Set(%q) }
`

// span is a piece of a file and what takes its place.
type span struct {
	from, to int
	with     string
}

func apply(src []byte, edits []edit) ([]byte, error) {
	text := string(src)
	spans := make([]span, 0, len(edits))
	for _, e := range edits {
		s, err := e.find(text)
		if err != nil {
			return nil, err
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var out strings.Builder
	at := 0
	for _, s := range spans {
		if s.from < at {
			return nil, fmt.Errorf("two mends change the same place, near %q", text[s.from:min(s.from+60, len(text))])
		}
		out.WriteString(text[at:s.from])
		out.WriteString(s.with)
		at = s.to
	}
	out.WriteString(text[at:])
	return []byte(out.String()), nil
}

func (e edit) find(text string) (span, error) {
	if e.body != "" {
		return e.findBody(text)
	}
	switch n := strings.Count(text, e.anchor); n {
	case 1:
		at := strings.Index(text, e.anchor)
		return span{at, at + len(e.anchor), e.with}, nil
	default:
		return span{}, fmt.Errorf("%q occurs %d times, must be once", e.anchor, n)
	}
}

func (e edit) findBody(text string) (span, error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, e.file, text, parser.SkipObjectResolution)
	if err != nil {
		return span{}, err
	}
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if ok && f.Body != nil && nameOf(f) == e.body {
			return span{files.Position(f.Body.Lbrace).Offset + 1, files.Position(f.Body.Rbrace).Offset, e.with}, nil
		}
	}
	return span{}, fmt.Errorf("there is no func %s", e.body)
}

// nameOf returns "F" for a function, "T.F" for a method of T or *T.
func nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + f.Name.Name
	}
	return f.Name.Name
}
