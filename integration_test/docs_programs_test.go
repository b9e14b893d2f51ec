package integration_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// docsRunLimit bounds one program: they write more than those in testdata, and wait for replay.
const docsRunLimit = 2 * time.Minute

// compiledOnly are the pages whose programs are not run here, with the reason.
var compiledOnly = map[string]string{
	"docs/scaling.md": "a node listens on a fixed port; TestRaftCluster runs such nodes",
}

// TestDocsPrograms runs the whole programs in the documentation, each with a directory as its
// argument and as its temporary one. A program that is neither named here nor in compiledOnly is
// one that nobody has run.
func TestDocsPrograms(t *testing.T) {
	type program struct {
		page, under string // the heading above it
		check       func(t *testing.T, stdout string, maxRSS int64)
	}
	programs := []program{
		{"docs/getting-started.md", "The first spill", func(t *testing.T, stdout string, _ int64) {
			lines := strings.Split(strings.TrimSpace(stdout), "\n")
			require.Regexp(t, `^open +direct +commits: +0 direct +0 hedged +0 spilled`, lines[0])
			m := regexp.MustCompile(`^burst .* (\d+) direct +(\d+) hedged +(\d+) spilled`).FindStringSubmatch(lines[1])
			require.NotNil(t, m, lines[1])
			commits := 0
			for _, s := range m[1:] {
				n, err := strconv.Atoi(s)
				require.NoError(t, err)
				commits += n
			}
			require.Equal(t, 100_000, commits)
			require.NotEqual(t, "0", m[3], "commits spilled")
			require.Equal(t, "1024 bytes under client/0007/042", lines[2])
			require.Regexp(t, `^quiet +direct .* in the spill: +0, +0 MB `, lines[len(lines)-1])
		}},
		{"docs/getting-started.md", "A service that survives a kill", func(t *testing.T, stdout string, _ int64) {
			require.Regexp(t, `^0 commits were acknowledged before: all are there; the spill held 0
the burst begins
the burst is over: \d+ commits to Badger, [1-9]\d* to the spill
$`, stdout)
		}},
		{"docs/tuning.md", "Small container with 256 MiB", func(t *testing.T, stdout string, maxRSS int64) {
			require.Regexp(t, `^commits: \d+ direct, \d+ hedged, \d+ spilled; memory \d+ of 24 MiB\n$`, stdout)
			if maxRSS > 0 && !raceEnabled() {
				require.Less(t, maxRSS, int64(256<<20), "resident memory at its peak, mapped files included")
			}
		}},
		{"docs/tuning.md", "Ingest server", func(t *testing.T, stdout string, _ int64) {
			require.Regexp(t, `^200,000 events in \S+; commits: \d+ direct, \d+ hedged, \d+ spilled\n$`, stdout)
		}},
		{"docs/tuning.md", "Latency-critical service", func(t *testing.T, stdout string, _ int64) {
			require.Regexp(t, `^p50 \S+, p99 \S+, max \S+; \d+ shed, \d+ stalls\n$`, stdout)
		}},
		{"docs/migration.md", "Back to plain Badger", func(t *testing.T, stdout string, _ int64) {
			require.Regexp(t, "^plain Badger: .*"+regexp.QuoteMeta(interlockFile)+`.*
plain Badger: a = plain, version 1
plain Badger: b = spilled, version 2
$`, stdout)
		}},
	}

	var blocks []block
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.lang == "go" && isProgram(b) && compiledOnly[p.name] == "" {
				blocks = append(blocks, b)
			}
		}
	}
	bin := filepath.Join(t.TempDir(), "programs")
	buildDocsPrograms(t, bin, blocks)
	ran := 0
	for _, p := range programs {
		for i, b := range blocks {
			if b.page != p.page || b.under != p.under {
				continue
			}
			ran++
			t.Run(fmt.Sprintf("%s, %s", p.page, p.under), func(t *testing.T) {
				t.Parallel()
				running <- struct{}{}
				defer func() { <-running }()
				stdout, maxRSS := runDocsProgram(t, bin, i)
				p.check(t, stdout, maxRSS)
			})
		}
	}
	require.Equal(t, len(blocks), ran, "each program in the documentation has a check")
	require.Equal(t, len(programs), ran, "each check has its program")
}

// buildDocsPrograms builds one binary of all programs; its first argument is the number of one.
func buildDocsPrograms(t *testing.T, bin string, blocks []block) {
	t.Helper()
	files := map[string]string{}
	head, calls := "package main\n\nimport \"os\"\n", ""
	for i, b := range blocks {
		name := fmt.Sprintf("program%d", i)
		source, err := compilable(b)
		require.NoError(t, err)
		for old, new := range map[string]string{"\npackage main\n": "\npackage " + name + "\n", "\nfunc main() {\n": "\nfunc Main() {\n"} {
			require.Equal(t, 1, strings.Count(source, old), "%s:%d: %q", b.page, b.line, old)
			source = strings.Replace(source, old, new, 1)
		}
		files[name+"/main.go"] = source
		head += fmt.Sprintf("import %q\n", "docs/"+name)
		calls += fmt.Sprintf("\tcase \"%d\":\n\t\t%s.Main()\n", i, name)
	}
	files["main.go"] = head + "\nfunc main() {\n\tn := os.Args[1]\n\tos.Args = append(os.Args[:1], os.Args[2:]...)\n\tswitch n {\n" + calls + "\t}\n" +
		"\tif status, err := os.ReadFile(\"/proc/self/status\"); err == nil {\n\t\t_ = os.WriteFile(os.Getenv(\"DOCS_STATUS\"), status, 0o600)\n\t}\n}\n"
	out, err := goCommand(t, docsModule(t, ".", files), "build", "-o", bin, ".")
	require.NoError(t, err, "go build:\n%s", out)
}

// runDocsProgram returns what the program printed and, where the system tells, its resident memory
// at the peak in bytes, else 0. The program says that itself: what its parent is told of it begins
// with the memory of the parent.
func runDocsProgram(t *testing.T, bin string, number int) (stdout string, maxRSS int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), docsRunLimit)
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, bin, strconv.Itoa(number), filepath.Join(dir, "db"))
	status := filepath.Join(dir, "status")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "DOCS_STATUS="+status, strings.TrimSpace("GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE")))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, ctx.Err(), "the program hangs; printed so far:\n%s\n%s", out, &stderr)
	require.NoError(t, err, "printed:\n%s\n%s", out, &stderr)
	if text, err := os.ReadFile(status); err == nil {
		peak := regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`).FindSubmatch(text)
		require.NotNil(t, peak, "%s", text)
		maxRSS, err = strconv.ParseInt(string(peak[1]), 10, 64)
		require.NoError(t, err)
	}
	return string(out), maxRSS << 10
}
