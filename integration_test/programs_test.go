package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The programs in testdata/programs use Badger as its documentation shows. They are complete but
// for two words: the path that they import (importWord), and the function tune, through which each
// passes its options to Open. Each takes a directory as its argument, and prints what is the same
// in every run.
const (
	programsDir = "testdata/programs"
	importWord  = `"IMPORT"`

	// modeVariable tells a program built on badgerspill which mode to run in.
	modeVariable = "PROGRAM_MODE"

	// of all programs, or of a command with Pebble, in an empty build cache on a busy machine
	buildLimit = 10 * time.Minute
	runLimit   = 20 * time.Second // of one program
)

// The function tune that a program gets with its import.
const (
	tuneForBadger = `
func tune(opt badger.Options) badger.Options { return opt }
`
	tuneForBadgerspill = `
func tune(opt badger.Options) badger.Options {
	switch mode := os.Getenv("` + modeVariable + `"); mode {
	case "default":
		return opt
	case "spilled":
		if opt.InMemory {
			return opt
		}
		return opt.WithSpillPolicy(badger.Always).WithQuiet(1, time.Hour).WithMaxSpillAge(time.Hour).WithReplayHighWater(1).
			WithDrainOnClose(false)
	case "replayed":
		if opt.InMemory {
			return opt
		}
		return opt.WithSpillPolicy(badger.Always).WithQuiet(1e12, time.Millisecond).WithSegmentSize(4 << 10)
	default:
		panic("` + modeVariable + ` = " + mode)
	}
}
`
)

var programModes = []struct{ name, value string }{
	{"default", "default"},
	{"every commit spilled, and kept in the spill over Close", "spilled"},
	{"every commit spilled, and replayed all the while", "replayed"},
}

// exitCodes are those of programs that do not end with 0: one calls log.Fatal, one panics.
var exitCodes = map[string]int{"crud": 1, "readonly": 2}

// A program moves from Badger to badgerspill by changing one import, and does the same.
func TestPrograms(t *testing.T) {
	names := programNames(t)
	bin := t.TempDir()
	plain, spill := filepath.Join(bin, "plain"), filepath.Join(bin, "spill")
	buildPrograms(t, plain, names, "github.com/dgraph-io/badger/v4", tuneForBadger)
	buildPrograms(t, spill, names, module+"badgerspill", tuneForBadgerspill)

	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := runProgram(t, plain, name, "")
			require.Equal(t, exitCodes[name], want.code, "exit code on Badger; on stderr\n%s", want.stderr)
			require.NotEmpty(t, want.stdout, "printed on Badger; on stderr\n%s", want.stderr)
			for _, m := range programModes {
				t.Run(m.name, func(t *testing.T) {
					got := runProgram(t, spill, name, m.value)
					require.Equal(t, want.stdout, got.stdout, "what was printed; stderr with Badger\n%s\nwith badgerspill\n%s",
						want.stderr, got.stderr)
					require.Equal(t, want.code, got.code, "exit code; stderr with Badger\n%s\nwith badgerspill\n%s",
						want.stderr, got.stderr)
				})
			}
		})
	}
}

// The programs are Badger's but for the two words, and together they use what its documentation
// shows.
func TestProgramsCover(t *testing.T) {
	var all strings.Builder
	for _, name := range programNames(t) {
		source, err := os.ReadFile(filepath.Join(programsDir, name+".go.txt"))
		require.NoError(t, err)
		require.Equal(t, 1, bytes.Count(source, []byte(importWord)), "%s: imports of Badger", name)
		require.NotContains(t, string(source), "badgerspill", name)
		require.Contains(t, string(source), "tune(", name)
		all.Write(source)
	}
	for _, call := range []string{
		"Open", "OpenManaged", "DefaultOptions", "LSMOnlyOptions", "DefaultIteratorOptions", "View", "Update", "NewTransaction",
		"CommitWith", "Discard", "NewIterator", "NewKeyIterator", "WithTTL", "WithMeta", "WithDiscard", "NewWriteBatch", "GetSequence",
		"GetMergeOperator", "Subscribe", "NewStream", "Orchestrate", "Backup", "Load", "RunValueLogGC", "ErrNoRewrite",
		"NewTransactionAt", "CommitAt", "NewWriteBatchAt", "NewManagedWriteBatch", "SetEntryAt", "DeleteAt", "SetDiscardTs",
		"StreamDB", "NewStreamWriter", "DropPrefix", "DropAll", "BanNamespace", "WithEncryptionKey", "OpenKeyRegistry",
		"WithInMemory", "WithReadOnly", "ValueCopy", "KeyCopy", "WithLogger", "Flatten", "VerifyChecksum", "FromSuperFlag",
	} {
		require.True(t, regexp.MustCompile(`\b`+call+`\b`).MatchString(all.String()), "no program uses %s", call)
	}
}

func programNames(t *testing.T) (names []string) {
	files, err := filepath.Glob(filepath.Join(programsDir, "*.go.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".go.txt"))
	}
	return names
}

// buildPrograms builds one binary of all programs, each a package of its own, on the given package;
// its first argument is the name of a program. The sources exist only in an overlay of the go
// command, in packages of this module, so that its go.mod holds for them and nothing is written to
// the tree.
func buildPrograms(t *testing.T, bin string, names []string, path, tune string) {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs(programsDir)
	require.NoError(t, err)
	replace := map[string]string{}
	add := func(pkg, file, source string) {
		real := filepath.Join(dir, pkg+"-"+file)
		require.NoError(t, os.WriteFile(real, []byte(source), 0o600))
		replace[filepath.Join(root, "all", pkg, file)] = real
	}

	packages := module + "integration_test/" + programsDir + "/all/"
	imports, table := "", ""
	for _, name := range names {
		source, err := os.ReadFile(filepath.Join(programsDir, name+".go.txt"))
		require.NoError(t, err)
		text := string(source)
		for _, change := range [][2]string{
			{importWord, `"` + path + `"`},
			{"\npackage main\n", "\npackage " + name + "\n"},
			{"\nfunc main() {\n", "\nfunc Main() {\n"},
		} {
			require.Equal(t, 1, strings.Count(text, change[0]), "%s: %q", name, change[0])
			text = strings.Replace(text, change[0], change[1], 1)
		}
		add(name, name+".go", text)
		head := "package " + name + "\n\nimport badger \"" + path + "\"\n"
		for _, std := range []string{"os", "time"} {
			if strings.Contains(tune, std+".") {
				head += "import \"" + std + "\"\n"
			}
		}
		add(name, "tune.go", head+tune)
		imports += fmt.Sprintf("import %s %q\n", name, packages+name)
		table += fmt.Sprintf("\t%q: %s.Main,\n", name, name)
	}
	add("", "main.go", "package main\n\nimport \"os\"\n"+imports+"\nvar programs = map[string]func(){\n"+table+"}\n\n"+
		"func main() {\n\tprogram := programs[os.Args[1]]\n\tos.Args = append(os.Args[:1], os.Args[2:]...)\n\tprogram()\n}\n")

	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	list := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(list, overlay, 0o600))
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	args := []string{"build", "-buildvcs=false", "-overlay", list, "-o", bin}
	if raceEnabled() {
		args = append(args, "-race") // Badger is in the build cache for this
	}
	cmd := exec.CommandContext(ctx, "go", append(args, strings.TrimSuffix(packages, "/"))...)
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "go build on %s: %s", path, out)
}

// raceEnabled reports whether the test was built with -race.
func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// ending is what a program leaves behind.
type ending struct {
	stdout, stderr string
	code           int
}

// running bounds how many programs run at a time.
var running = make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))

// runProgram runs a program in a directory of its own.
func runProgram(t *testing.T, bin, name, mode string) ending {
	t.Helper()
	running <- struct{}{}
	defer func() { <-running }()
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, name, filepath.Join(t.TempDir(), "db"))
	// Built with -race, each would wait a second at its end.
	cmd.Env = append(os.Environ(), modeVariable+"="+mode, strings.TrimSpace("GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE")))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "the program hangs; printed so far:\n%s\n%s", &stdout, &stderr)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return ending{stdout.String(), lastLines(stderr.String(), 25), cmd.ProcessState.ExitCode()}
}

func lastLines(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}
