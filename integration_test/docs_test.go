package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/version"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every block of Go in the documentation compiles, and go vet finds nothing in it. A block is one
// of:
//
//   - a whole program, which begins with its package clause: taken as it is;
//   - declarations, which begin with func, type, var or const;
//   - statements: put into a function that returns an error. What they declare need not be used;
//   - imports alone.
//
// Declarations and statements may begin with imports. Those that they leave out are found by the
// names that they use: badger is badgerspill, since that is what a program looks like that has
// moved to it; plain is Badger itself; the others are in fragmentImports. What else they need is
// named in a comment right above the block, in the form of parameters:
//
//	<!-- go: ctx context.Context, db *badger.DB -->
//
// Errors name file and line of the page.
func TestDocsCode(t *testing.T) {
	var blocks []block
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.lang == "go" {
				blocks = append(blocks, b)
			}
		}
	}
	require.Greater(t, len(blocks), 10, "blocks of Go found")
	out, err := vet(t, blocks)
	require.NoError(t, err, "go vet:\n%s", out)
}

// The check itself: each of these is found, at its line.
func TestDocsCodeFindsMistakes(t *testing.T) {
	var blocks []block
	for i, source := range []string{
		"package main\n\nfunc main() {\n\tnothing()\n}\n",
		"\n\nopt := badger.DefaultOptions(dir).WithSpillSize(1)\n",
		"func f() error {\n\n\treturn 5\n}\n",
		"import badger \"github.com/badgerspill/badgerspill/spill\"\n",
		"_ = 1\nfmt.Printf(\"%d\\n\", \"text\")\n",
	} {
		b := block{page: fmt.Sprintf("docs/wrong%d.md", i), line: 10, source: source}
		if strings.Contains(source, "dir") {
			b.needs = "dir string"
		}
		blocks = append(blocks, b)
	}
	good := block{page: "docs/right.md", line: 1, needs: "ctx context.Context, db *badger.DB",
		source: "stats := db.SpillStats()\nif err := db.Drain(ctx); err != nil {\n\treturn err\n}\n"}
	out, err := vet(t, append(slices.Delete(slices.Clone(blocks), 3, 4), good))
	require.Error(t, err)
	for _, at := range []string{"docs/wrong0.md:13", "docs/wrong1.md:12", "docs/wrong2.md:12", "docs/wrong4.md:11"} {
		require.Contains(t, filepath.ToSlash(out), at)
	}
	require.NotContains(t, filepath.ToSlash(out), "docs/right.md")

	out, err = vet(t, blocks[3:4]) // go vet would say nothing else
	require.Error(t, err)
	require.Contains(t, filepath.ToSlash(out), "docs/wrong3.md:10")
}

// fragmentImports are the packages that blocks may use without importing them, by name.
var fragmentImports = func() map[string]string {
	all := map[string]string{
		"badger":      module + "badgerspill",
		"badgerspill": module + "badgerspill",
		"plain":       "github.com/dgraph-io/badger/v4",
		"options":     "github.com/dgraph-io/badger/v4/options",
		"wbm":         module + "wbm",
		"spillfile":   module + "spillfile",
		"replay":      module + "replay",
		"live":        module + "badgerspill/live",
		"http":        "net/http",
		"slog":        "log/slog",
		"pprof":       "net/http/pprof",
		"signal":      "os/signal",
		"debug":       "runtime/debug",
		"filepath":    "path/filepath",
		"prometheus":  "github.com/prometheus/client_golang/prometheus",
		"spillprom":   module + "badgerspill/prometheus",
		"promhttp":    "github.com/prometheus/client_golang/prometheus/promhttp",
	}
	for _, std := range strings.Fields("bytes context errors expvar fmt io log math os slices strings sync syscall time") {
		all[std] = std
	}
	return all
}()

// requiredElsewhere are modules that blocks import and the root module does not require, with the
// directory of the module that does.
var requiredElsewhere = map[string]string{
	"github.com/hashicorp/raft":            "integration_test/raftstore",
	"github.com/prometheus/client_golang/": "badgerspill/prometheus",
}

// vet runs go vet over blocks, each a package of its own.
func vet(t *testing.T, blocks []block) (out string, err error) {
	t.Helper()
	byModule := map[string]map[string]string{}
	for i, b := range blocks {
		source, err := compilable(b)
		require.NoError(t, err)
		from := "."
		for path, dir := range requiredElsewhere {
			if strings.Contains(source, `"`+path) {
				from = dir
			}
		}
		if byModule[from] == nil {
			byModule[from] = map[string]string{}
		}
		byModule[from][fmt.Sprintf("block%d/block.go", i)] = source
	}
	for _, from := range slices.Sorted(maps.Keys(byModule)) {
		if asksForNewerGo(t, from) {
			continue
		}
		text, failure := vetModule(t, from, byModule[from])
		out, err = out+text, errors.Join(err, failure)
	}
	return out, err
}

// asksForNewerGo reports whether a module of this repository asks for a newer Go than the one that
// runs the tests. With the oldest Go of the root module, what needs another module is left out.
func asksForNewerGo(t *testing.T, dir string) bool {
	t.Helper()
	mod, err := os.ReadFile(filepath.Join("..", dir, "go.mod"))
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(mod)
	require.NotNil(t, line, dir)
	running, _, _ := strings.Cut(runtime.Version(), " ")
	return version.Compare("go"+string(line[1]), running) > 0
}

func vetModule(t *testing.T, from string, files map[string]string) (string, error) {
	t.Helper()
	return goCommand(t, docsModule(t, from, files), "vet", "./...")
}

// docsModule makes a module of the files, which stands on the one in a directory of this repository
// and on what that requires, and returns its own directory.
func docsModule(t *testing.T, from string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, from, name))
		require.NoError(t, err)
		files[name] = string(text)
	}
	head, rest, _ := strings.Cut(files["go.mod"], "\n")
	self := strings.TrimPrefix(head, "module ")
	require.True(t, strings.HasPrefix(self, strings.TrimSuffix(module, "/")), head)
	rest = regexp.MustCompile(`(?m)^(replace \S+ => )\.\.\S*$`).ReplaceAllString(rest, "${1}"+strconv.Quote(root))
	files["go.mod"] = "module docs\n" + rest +
		fmt.Sprintf("\nrequire %s v0.0.0\n\nreplace %s => %s\n", self, self, strconv.Quote(filepath.Join(root, from)))
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	return dir
}

// goCommand runs the go command in a directory. What it builds is built as the test was: so Badger
// is in the build cache. It needs no module that a go.sum of this repository does not name.
func goCommand(t *testing.T, dir, verb string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildLimit)
	defer cancel()
	args = append([]string{verb}, args...)
	if raceEnabled() {
		args = slices.Insert(args, 1, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly -buildvcs=false", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	require.NoError(t, ctx.Err(), "go %s: %s", verb, out)
	return string(out), err
}

// compilable makes a file of a block. Its lines are those of the page.
func compilable(b block) (string, error) {
	at := func(line int) string { return fmt.Sprintf("//line %s:%d\n", b.page, line) }
	if isProgram(b) {
		return at(b.line) + b.source, nil
	}

	imports, rest := leadingImports(b.source)
	line := b.line + strings.Count(imports, "\n")
	body := at(line) + rest
	if !isDeclaration(rest) {
		body = "func fragment(" + b.needs + ") error {\n" + at(line) + rest + used(rest)
		if !terminates(rest) {
			body += "\treturn nil\n"
		}
		body += "}\n"
	} else if b.needs != "" {
		return "", fmt.Errorf("%s:%d: declarations take no parameters", b.page, b.line)
	}

	head := "package fragment\n\n"
	if strings.TrimSpace(rest) == "" { // imports alone: whether they are there
		return head + at(b.line) + regexp.MustCompile(`(?m)^(import +)\w* *"`).ReplaceAllString(imports, `${1}_ "`), nil
	}
	for _, name := range slices.Sorted(maps.Keys(fragmentImports)) {
		selected := regexp.MustCompile(`\b` + name + `\.[A-Z]`)
		if selected.MatchString(withoutStrings(body)) && !imported(imports, name) {
			head += fmt.Sprintf("import %s %q\n", name, fragmentImports[name])
		}
	}
	return head + at(b.line) + imports + body, nil
}

func isProgram(b block) bool {
	_, err := parser.ParseFile(token.NewFileSet(), "", b.source, parser.PackageClauseOnly)
	return err == nil
}

// leadingImports splits off the imports, and the lines without code around them, with which a
// source begins.
func leadingImports(source string) (imports, rest string) {
	lines := strings.SplitAfter(source, "\n")
	n, in := 0, false
	for i, line := range lines {
		text := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(text, "import ("):
			in = true
		case in && text == ")", strings.HasPrefix(text, "import "):
			in, n = false, i+1
		case !in && text != "":
			return strings.Join(lines[:n], ""), strings.Join(lines[n:], "")
		}
	}
	return strings.Join(lines[:n], ""), strings.Join(lines[n:], "")
}

func imported(imports, name string) bool {
	f, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+imports, parser.ImportsOnly)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool {
		if i.Name != nil {
			return i.Name.Name == name
		}
		path := strings.Trim(i.Path.Value, `"`)
		return path == fragmentImports[name] || path[strings.LastIndex(path, "/")+1:] == name
	})
}

func isDeclaration(source string) bool {
	for line := range strings.Lines(source) {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "//") {
			continue
		}
		return regexp.MustCompile(`^(func [A-Za-z_(]|type |var |const )`).MatchString(line)
	}
	return false
}

// statements parses the source as the body of a function; nil if that fails, which the compiler
// will tell better.
func statements(source string) []ast.Stmt {
	f, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc f() {\n"+source+"\n}", parser.SkipObjectResolution)
	if err != nil {
		return nil
	}
	return f.Decls[0].(*ast.FuncDecl).Body.List
}

// used returns statements that use what the source declares in its outermost block.
func used(source string) string {
	var uses strings.Builder
	use := func(x ast.Expr) {
		if id, ok := x.(*ast.Ident); ok && id.Name != "_" {
			uses.WriteString("\t_ = " + id.Name + "\n")
		}
	}
	if terminates(source) {
		return "" // what is not used before it would be an error for the reader, too
	}
	for _, s := range statements(source) {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE {
				for _, x := range s.Lhs {
					use(x)
				}
			}
		case *ast.DeclStmt:
			for _, spec := range s.Decl.(*ast.GenDecl).Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					for _, n := range v.Names {
						use(n)
					}
				}
			}
		}
	}
	return uses.String()
}

// terminates reports whether nothing behind the source would be reached.
func terminates(source string) bool {
	all := statements(source)
	if len(all) == 0 {
		return false
	}
	switch last := all[len(all)-1].(type) {
	case *ast.ReturnStmt:
		return true
	case *ast.ForStmt:
		return last.Cond == nil && !strings.Contains(source, "break")
	}
	return false
}

var stringLiteral = regexp.MustCompile("\"(?:[^\"\\\\\n]|\\\\.)*\"|`[^`]*`|//[^\n]*")

func withoutStrings(source string) string { return stringLiteral.ReplaceAllString(source, `""`) }

// documented are the commands, with the directories from which they are built.
var documented = map[string]string{
	"badgerspill": "badgerspill/cmd/badgerspill",
	"spillbench":  "badgerspill/cmd/spillbench",
}

// Every command line in the documentation names a verb that the command has, and flags that the
// verb has.
func TestDocsCommands(t *testing.T) {
	bin := t.TempDir()
	newer := asksForNewerGo(t, documented["spillbench"])
	for command, dir := range documented {
		if command == "spillbench" && newer {
			continue
		}
		out, err := goCommand(t, filepath.Join("..", dir), "build", "-o", filepath.Join(bin, command), ".")
		require.NoError(t, err, "%s", out)
	}
	help := map[string]string{}
	helpOf := func(command, verb string) string {
		key := command + " " + verb
		if _, asked := help[key]; !asked {
			var out bytes.Buffer
			cmd := exec.CommandContext(t.Context(), filepath.Join(bin, command), verb, "--help")
			cmd.Stdout = &out
			require.NoError(t, cmd.Run(), "%s --help", key)
			// For a verb that it does not know the command shows its own help.
			if !regexp.MustCompile(`(?m)^ +` + regexp.QuoteMeta(key) + `\b`).MatchString(usageOf(out.String())) {
				out.Reset()
			}
			help[key] = out.String()
		}
		return help[key]
	}

	seen := map[string]int{}
	for _, p := range pages(t) {
		for _, c := range commandLines(p) {
			seen[c.command]++
			if c.command == "spillbench" && newer {
				continue
			}
			text := helpOf(c.command, c.verb)
			if text == "" {
				t.Errorf("%s:%d: %s has no command %q", p.name, c.line, c.command, c.verb)
				continue
			}
			for _, flag := range c.flags {
				if !regexp.MustCompile(`(?m)^ +(-\w, )?--` + regexp.QuoteMeta(flag) + `\b`).MatchString(text) {
					t.Errorf("%s:%d: %s %s has no flag %q", p.name, c.line, c.command, c.verb, flag)
				}
			}
		}
	}
	require.Greater(t, seen["badgerspill"], 5, "command lines found")
	require.Greater(t, seen["spillbench"], 3, "command lines found")
}

// usageOf returns the lines behind "Usage:".
func usageOf(help string) string {
	_, usage, _ := strings.Cut(help, "\nUsage:\n")
	usage, _, _ = strings.Cut(usage, "\n\n")
	return usage
}

type commandLine struct {
	line          int
	command, verb string
	flags         []string
}

// commandForms match a command line: installed, run by its path, or run by the directory of its
// module.
var commandForms = regexp.MustCompile(`^(?:\$ )?(?:go run (?:\./|` + module + `)badgerspill/cmd/(\w+)(?:@\w+)?|` +
	`go -C badgerspill/cmd/(\w+) run \.|(badgerspill|spillbench)) +([a-z].*)$`)

// commandLines finds command lines in blocks that are not of Go, and in the code of a line of text.
func commandLines(p page) (all []commandLine) {
	add := func(line int, text string) {
		m := commandForms.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil {
			return
		}
		words := strings.Fields(m[4])
		c := commandLine{line: line, command: m[1] + m[2] + m[3], verb: words[0]}
		for _, w := range words[1:] {
			if w == "#" || w == "|" || w == ">" {
				break
			}
			if name := strings.TrimLeft(w, "-"); name != w && name != "" {
				name, _, _ = strings.Cut(name, "=")
				c.flags = append(c.flags, name)
			}
		}
		all = append(all, c)
	}
	for _, b := range p.blocks {
		if b.lang == "go" {
			continue
		}
		lines := strings.Split(b.source, "\n")
		for i := 0; i < len(lines); i++ {
			at, text := b.line+i, lines[i]
			for strings.HasSuffix(text, `\`) && i+1 < len(lines) {
				i++
				text = strings.TrimSuffix(text, `\`) + lines[i]
			}
			add(at, text)
		}
	}
	for i, line := range strings.Split(p.prose, "\n") {
		for _, code := range inlineCode.FindAllString(line, -1) {
			add(i+1, strings.Trim(code, "`"))
		}
	}
	return all
}

// The check itself.
func TestCommandLinesAreFound(t *testing.T) {
	p := readPage(t, "x.md", strings.ReplaceAll("say 'badgerspill drain -timeout=5s DIR', or 'badgerspill.Open', or 'badgerspill'\n"+
		"'''sh\n$ spillbench burst --rate 5 \\\n    --sync # -x\nbadgerspill_commits_direct 5\n'''\n"+
		"'''go\nbadgerspill nothing\n'''\n"+
		"'''\ngo run ./badgerspill/cmd/badgerspill info x\ngo -C badgerspill/cmd/spillbench run . bench reads\n'''\n", "'", "`"))
	require.Equal(t, []commandLine{
		{3, "spillbench", "burst", []string{"rate", "sync"}},
		{11, "badgerspill", "info", nil},
		{12, "spillbench", "bench", nil},
		{1, "badgerspill", "drain", []string{"timeout"}},
	}, commandLines(p))
}
