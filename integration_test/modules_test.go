package integration_test

import (
	"fmt"
	"io/fs"
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

// addedModules are those that a program has with badgerspill and has not with plain Badger, each
// with the reason.
var addedModules = map[string]string{
	strings.TrimSuffix(module, "/"): "the layer itself",
	"github.com/golang/snappy":      "compresses the blocks of the spill (docs/format.md)",
}

// A program that imports the layer instead of Badger gets addedModules and nothing else: no module
// in its graph or in its binary is another version, and its go line is not raised.
func TestModulesOfAProgram(t *testing.T) {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	self := strings.TrimSuffix(module, "/")
	mod, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	version := regexp.MustCompile(`github\.com/dgraph-io/badger/v4 (v\S+)`).FindSubmatch(mod)
	require.NotNil(t, version)

	plain := newProgram(t, "github.com/dgraph-io/badger/v4",
		fmt.Sprintf("require github.com/dgraph-io/badger/v4 %s\n", version[1]))
	layered := newProgram(t, module+"badgerspill",
		fmt.Sprintf("require %s v0.0.0\n\nreplace %s => %s\n", self, self, strconv.Quote(root)))
	for _, row := range []struct {
		name           string
		plain, layered map[string]string
		atLeast        int
	}{
		{"in the graph", plain.graph, layered.graph, 25},
		{"in the binary", plain.linked, layered.linked, 10},
	} {
		t.Run(row.name, func(t *testing.T) {
			require.Greater(t, len(row.plain), row.atLeast)
			added, changed := compareModules(row.plain, row.layered)
			require.Equal(t, slices.Sorted(maps.Keys(addedModules)), added)
			require.Empty(t, changed, "another version than with plain Badger")
		})
	}
	require.NotContains(t, layered.mod, "toolchain")
	require.Contains(t, layered.mod, "\ngo "+programGo+"\n")
}

// programGo is the go line of the programs: that of Badger.
const programGo = "1.24.0"

// program is what the go command says of one, modules by path with their versions.
type program struct {
	mod           string // its go.mod, tidied
	graph, linked map[string]string
}

// newProgram builds a program that opens a database of the package.
func newProgram(t *testing.T, imported, requires string) (p program) {
	t.Helper()
	dir := t.TempDir()
	sum, err := os.ReadFile("../go.sum")
	require.NoError(t, err)
	for name, text := range map[string]string{
		"go.mod":  "module program\n\ngo " + programGo + "\n\n" + requires,
		"go.sum":  string(sum),
		"main.go": fmt.Sprintf("package main\n\nimport badger %q\n\nfunc main() { _, _ = badger.Open(badger.DefaultOptions(\"\")) }\n", imported),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		// What the graph names beyond the go.sum here is read, never built.
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod -buildvcs=false", "GOWORK=off", "GONOSUMDB=*")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "go %s: %s", strings.Join(args, " "), out)
		return string(out)
	}
	run("mod", "tidy")
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	require.NoError(t, err)
	p.mod = string(mod)
	p.graph = moduleList(run("list", "-m", "-f", "{{if not .Main}}{{.Path}} {{.Version}}{{end}}", "all"))
	bin := filepath.Join(dir, "program.exe")
	build := []string{"build", "-o", bin}
	if raceEnabled() { // as Badger is built already
		build = append(build, "-race")
	}
	run(append(build, ".")...)
	var linked strings.Builder
	for _, m := range regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)`).FindAllStringSubmatch(run("version", "-m", bin), -1) {
		fmt.Fprintln(&linked, m[1], m[2])
	}
	p.linked = moduleList(linked.String())
	return p
}

// moduleList reads a path and a version a line.
func moduleList(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 {
			all[f[0]] = f[1]
		}
	}
	return all
}

// compareModules returns the paths that only the second list has, and those that differ.
func compareModules(plain, layered map[string]string) (added, changed []string) {
	for _, path := range slices.Sorted(maps.Keys(layered)) {
		switch v, ok := plain[path]; {
		case !ok:
			added = append(added, path)
		case v != layered[path]:
			changed = append(changed, fmt.Sprintf("%s %s, plain Badger has %s", path, layered[path], v))
		}
	}
	return added, changed
}

// The check itself.
func TestAddedAndRaisedModulesAreFound(t *testing.T) {
	added, changed := compareModules(moduleList("a v1\nb v1\ngone v1\n"), moduleList("b v1\na v2\nc v1\n\n"))
	require.Equal(t, []string{"c"}, added)
	require.Equal(t, []string{"a v2, plain Badger has v1"}, changed)
}

// The root module requires nothing that Badger does not require itself, or in a newer version, but
// for what is in addedModules.
func TestRootModuleRequiresWhatBadgerRequires(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.GoMod}}", "github.com/dgraph-io/badger/v4").Output()
	require.NoError(t, err)
	badgers, err := os.ReadFile(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	own, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	requirement := regexp.MustCompile(`(?m)^\t(\S+ v\S+)`)
	list := func(mod []byte) map[string]string {
		var text strings.Builder
		for _, m := range requirement.FindAllSubmatch(mod, -1) {
			fmt.Fprintf(&text, "%s\n", m[1])
		}
		return moduleList(text.String())
	}
	added, changed := compareModules(list(badgers), list(own))
	require.Equal(t, []string{"github.com/dgraph-io/badger/v4", "github.com/golang/snappy"}, added)
	require.Empty(t, changed)
	goLine := regexp.MustCompile(`(?m)^go .*$`)
	require.Equal(t, string(goLine.Find(badgers)), string(goLine.Find(own)))
	require.NotContains(t, string(own), "toolchain")
}

// moduleDirs returns the directories of all modules in the repository, with slashes.
func moduleDirs(t *testing.T, root string) (dirs []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if err != nil || d.Name() != "go.mod" {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		dirs = append(dirs, filepath.ToSlash(dir))
		return err
	}))
	slices.Sort(dirs)
	return dirs
}

// The command that README.md gives for the tests knows every module, and .ci/run calls it.
func TestTheTestCommandNamesEveryModule(t *testing.T) {
	const command = ".ci/test"
	if runtime.GOOS == "windows" {
		t.Skip("the command is a shell script")
	}
	out, err := exec.CommandContext(t.Context(), "../"+command, "--list").Output()
	require.NoError(t, err)
	named := strings.Fields(string(out))
	slices.Sort(named)
	require.Equal(t, moduleDirs(t, ".."), named)

	ci, err := os.ReadFile("../.ci/run")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^`+regexp.QuoteMeta(command)+` \$race$`, string(ci))
	require.True(t, slices.ContainsFunc(pageNamed(t, "README.md").blocks, func(b block) bool {
		return b.source == command+" -race\n"
	}), "README.md gives the command in a block of its own")
}

// The check itself.
func TestModulesAreFound(t *testing.T) {
	dir := t.TempDir()
	for _, in := range []string{".", "a", "a/testdata/b", ".git/c"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, in), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, in, "go.mod"), nil, 0o600))
	}
	require.Equal(t, []string{".", "a", "a/testdata/b"}, moduleDirs(t, dir))
}
