package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerpatch/internal/badgercopy"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerpatch/internal/mend"
)

// in runs the command in dir, and returns the code, what it printed, and what it complained of.
func in(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(dir)
	t.Setenv("PWD", dir)
	var out, complaints bytes.Buffer
	code = Main(context.Background(), args, &out, &complaints)
	return code, out.String(), complaints.String()
}

// files returns all that is below dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		found[path] = string(text)
		return err
	}))
	return found
}

// user makes a module that uses Badger at the version, which it has a stand-in for.
func user(t *testing.T, version string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "app")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	write(t, filepath.Join(dir, "go.mod"), "module example.com/app\n\ngo 1.24.0\n\nrequire "+badgercopy.Module+" "+version+"\n")
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func TestMakeAndGoBack(t *testing.T) {
	app := user(t, badgercopy.Version)
	before, err := os.ReadFile(filepath.Join(app, "go.mod"))
	require.NoError(t, err)

	code, out, complaints := in(t, app, "../badger")
	require.Equal(t, 0, code, complaints)
	require.Contains(t, out, "to use it:  go mod edit -replace="+badgercopy.Module+"@"+badgercopy.Version+"=../badger\n")
	require.Equal(t, map[string]string{filepath.Join(app, "go.mod"): string(before)}, files(t, app))
	dir := filepath.Join(filepath.Dir(app), "badger")
	first := files(t, dir)
	require.Contains(t, first, filepath.Join(dir, "LICENSE"))
	for _, m := range mend.All() {
		require.Contains(t, first[filepath.Join(dir, "badgerpatch.go")], m.Name)
	}

	code, out, complaints = in(t, app, "../badger", "-replace")
	require.Equal(t, 0, code, complaints)
	require.Contains(t, out, "To go back: badgerpatch -drop")
	require.Equal(t, first, files(t, dir), "twice makes the same bytes")
	mod, err := os.ReadFile(filepath.Join(app, "go.mod"))
	require.NoError(t, err)
	require.Contains(t, string(mod), "replace "+badgercopy.Module+" "+badgercopy.Version+" => ../badger\n")

	code, _, complaints = in(t, app, "-replace", "-only", "gc", "../badger")
	require.Equal(t, 0, code, complaints)
	require.NotEqual(t, first, files(t, dir))

	code, _, complaints = in(t, app, "-drop")
	require.Equal(t, 0, code, complaints)
	after, err := os.ReadFile(filepath.Join(app, "go.mod"))
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(before)), strings.TrimSpace(string(after)))
}

// The way back is there whatever has become of the module and of the copy.
func TestDropInAnyCase(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, app, dir string){
		"nothing else":   func(t *testing.T, app, dir string) {},
		"the copy gone":  func(t *testing.T, app, dir string) { require.NoError(t, os.RemoveAll(dir)) },
		"vendored":       func(t *testing.T, app, dir string) { write(t, filepath.Join(app, "vendor", "modules.txt"), "") },
		"another Badger": func(t *testing.T, app, dir string) { edit(t, app, "-require="+badgercopy.Module+"@v4.9.5") },
		"no Badger":      func(t *testing.T, app, dir string) { edit(t, app, "-droprequire="+badgercopy.Module) },
		"a line without a version": func(t *testing.T, app, dir string) {
			edit(t, app, "-dropreplace="+badgercopy.Module+"@"+badgercopy.Version, "-replace="+badgercopy.Module+"="+dir)
		},
		"both lines": func(t *testing.T, app, dir string) { edit(t, app, "-replace="+badgercopy.Module+"="+dir) },
		"a workspace": func(t *testing.T, app, dir string) {
			write(t, filepath.Join(filepath.Dir(app), "go.work"), "go 1.24\nuse ./app\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			app := user(t, badgercopy.Version)
			code, _, complaints := in(t, app, "-replace", "../badger")
			require.Equal(t, 0, code, complaints)
			prepare(t, app, filepath.Join(filepath.Dir(app), "badger"))
			code, _, complaints = in(t, app, "-drop")
			require.Equal(t, 0, code, complaints)
			mod, err := os.ReadFile(filepath.Join(app, "go.mod"))
			require.NoError(t, err)
			require.NotContains(t, string(mod), "replace")
			code, _, complaints = in(t, app, "-drop")
			require.Equal(t, 0, code, complaints)
		})
	}
}

func edit(t *testing.T, app string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"mod", "edit"}, args...)...)
	cmd.Dir = app
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// In a workspace the line is one of go.work, which is elsewhere.
func TestWorkspaceGetsALineOfItsOwn(t *testing.T) {
	app := user(t, badgercopy.Version)
	write(t, filepath.Join(filepath.Dir(app), "go.work"), "go 1.24\nuse ./app\n")
	code, out, complaints := in(t, app, "../badger")
	require.Equal(t, 0, code, complaints)
	dir := filepath.Join(filepath.Dir(app), "badger")
	require.Contains(t, out, "go work edit -replace="+badgercopy.Module+"@"+badgercopy.Version+"="+dir+"\n")
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(t *testing.T, app string)
		args    []string
		want    string
	}{
		"not empty": {func(t *testing.T, app string) { write(t, filepath.Join(app, "d", "mine.txt"), "mine") },
			[]string{"d"}, "is not empty, and not made by badgerpatch: name another directory"},
		"a file": {func(t *testing.T, app string) { write(t, filepath.Join(app, "d"), "mine") },
			[]string{"d"}, "not a directory"},
		"changed": {func(t *testing.T, app string) {
			code, _, complaints := in(t, app, "d")
			require.Equal(t, 0, code, complaints)
			write(t, filepath.Join(app, "d", "db.go"), "package badger\n")
		}, []string{"d"}, "was changed since badgerpatch made it"},
		"at work": {func(t *testing.T, app string) {
			require.NoError(t, os.Mkdir(filepath.Join(app, "d.badgerpatch"), 0o755))
		},
			[]string{"d"}, "another badgerpatch is at work, or was killed and has left that behind"},
		"no parent": {nil, []string{"none/d"}, "no such file or directory"},
		"read-only": {func(t *testing.T, app string) {
			require.NoError(t, os.Mkdir(filepath.Join(app, "ro"), 0o555))
			if f, err := os.Create(filepath.Join(app, "ro", "x")); err == nil {
				f.Close()
				t.Skip("this user may write everywhere")
			}
		}, []string{"ro/d"}, "permission denied"},
		"another version": {func(t *testing.T, app string) {
			write(t, filepath.Join(app, "go.mod"), "module example.com/app\n\nrequire "+badgercopy.Module+" v4.9.5\nreplace "+badgercopy.Module+" => ./other\n")
			write(t, filepath.Join(app, "other", "go.mod"), "module "+badgercopy.Module+"\n")
		}, []string{"d"}, "uses Badger v4.9.5, and this command knows v4.9.6 only: run go get"},
		"a fork": {func(t *testing.T, app string) {
			write(t, filepath.Join(app, "go.mod"), "module example.com/app\n\nrequire "+badgercopy.Module+" v4.9.6\nreplace "+badgercopy.Module+" => ./fork\n")
			write(t, filepath.Join(app, "fork", "go.mod"), "module "+badgercopy.Module+"\n")
		}, []string{"-replace", "d"}, "which badgerpatch has not made: take that line out first"},
		"no Badger": {func(t *testing.T, app string) { write(t, filepath.Join(app, "go.mod"), "module example.com/app\n") },
			[]string{"-replace", "d"}, "does not use Badger"},
		"no module": {func(t *testing.T, app string) { require.NoError(t, os.Remove(filepath.Join(app, "go.mod"))) },
			[]string{"-replace", "d"}, "is in no module"},
		"vendored": {func(t *testing.T, app string) { write(t, filepath.Join(app, "vendor", "modules.txt"), "") },
			[]string{"-replace", "d"}, "is vendored: call without -replace"},
		"vendored by GOFLAGS": {func(t *testing.T, app string) { t.Setenv("GOFLAGS", "-mod=vendor") },
			[]string{"-replace", "d"}, "is vendored: call without -replace"},
		"a workspace": {func(t *testing.T, app string) {
			write(t, filepath.Join(filepath.Dir(app), "go.work"), "go 1.24\nuse ./app\n")
		},
			[]string{"-replace", "d"}, "a workspace is in force"},
		"no network": {func(t *testing.T, app string) {
			t.Setenv("GOPROXY", "off")
			t.Setenv("GOMODCACHE", filepath.Join(app, "cache"))
			t.Setenv("GOTOOLCHAIN", "local")
			require.NoError(t, os.Remove(filepath.Join(app, "go.mod")))
		}, []string{"d"}, "is not there, and cannot be fetched"},
	} {
		t.Run(name, func(t *testing.T) {
			app := user(t, badgercopy.Version)
			if test.prepare != nil {
				test.prepare(t, app)
			}
			before := files(t, filepath.Dir(app))
			code, out, complaints := in(t, app, test.args...)
			require.Equal(t, 1, code, out)
			require.Contains(t, complaints, test.want)
			require.True(t, strings.HasPrefix(complaints, "badgerpatch: "), complaints)
			require.Empty(t, out)
			require.Equal(t, before, files(t, filepath.Dir(app)), "nothing was changed")
		})
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	for line, want := range map[string]string{
		"":                     "name one directory, not 0",
		"a b":                  "name one directory, not 2",
		"-only nothing a":      `no mend is called "nothing"`,
		"-list a":              "-list, -drop and -version stand alone",
		"-drop -replace":       "-list, -drop and -version stand alone",
		"-nonsense":            "flag provided but not defined: -nonsense",
		"-only gc -without gc": "name one directory",
		"-only , a":            "-only names no mend",
	} {
		code, out, complaints := in(t, dir, strings.Fields(line)...)
		require.Equal(t, 2, code, line)
		require.Empty(t, out)
		require.Contains(t, complaints, want)
		require.Contains(t, complaints, "see badgerpatch -help")
	}
	code, out, _ := in(t, dir, "-help")
	require.Equal(t, 0, code)
	for _, line := range strings.Split(out, "\n") {
		require.LessOrEqual(t, len(line), 80, line)
	}
	code, out, _ = in(t, dir, "-list")
	require.Equal(t, 0, code)
	require.Equal(t, len(mend.All()), strings.Count(out, "\n"))
}

// The mended copy passes the tests of the mends.
func TestMends(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("some of them look at what only Linux tells")
	}
	if out, err := testMends(t, nil, nil, ""); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// testMends makes a copy with mends, adds the tests of all mends to it, and runs those that the
// pattern names.
func testMends(t *testing.T, only, without []string, pattern string) (string, error) {
	t.Helper()
	mends, err := mend.Select(only, without)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "badger")
	release, err := badgercopy.Find(t.Context())
	require.NoError(t, err)
	require.NoError(t, badgercopy.Make(release, mends, dir))
	tests := filepath.Join("..", "mend", "testdata")
	require.NoError(t, os.CopyFS(dir, os.DirFS(tests)))
	return goTest(t, dir, pattern)
}

// goTest runs tests of the copy as a dependency of this module, with the versions that this module
// has of all else.
func goTest(t *testing.T, dir, pattern string) (string, error) {
	t.Helper()
	gomod, err := exec.Command("go", "env", "GOMOD").Output()
	require.NoError(t, err)
	root := filepath.Dir(strings.TrimSpace(string(gomod)))
	work := filepath.Join(filepath.Dir(dir), "go.work")
	for _, args := range [][]string{
		{"work", "init", root},
		{"work", "edit", "-replace=" + badgercopy.Module + "=" + dir},
	} {
		cmd := exec.Command("go", args...)
		cmd.Dir = filepath.Dir(dir)
		cmd.Env = append(os.Environ(), "GOWORK=")
		if args[1] == "edit" {
			cmd.Env = append(cmd.Env, "GOWORK="+work)
		}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-timeout=5m", "-run", "^TestMend"+pattern, badgercopy.Module)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK="+work, "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
