package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dirVariable makes the test's binary the program.
const dirVariable = "SHUTDOWN_EXAMPLE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dirVariable); dir != "" {
		os.Args = []string{"shutdown", dir}
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runUntilSIGTERM starts the program, sends it SIGTERM while it stores, and returns what it
// printed.
func runUntilSIGTERM(t *testing.T, dir string) (found, stored string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), dirVariable+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var printed strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		printed.WriteString(lines.Text() + "\n")
		if lines.Text() == "storing" {
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		}
	}
	require.NoError(t, cmd.Wait(), "%s%s", &printed, &stderr)
	m := regexp.MustCompile(`^found (\d+) events\nstoring\nstored (\d+) events\n$`).FindStringSubmatch(printed.String())
	require.NotNil(t, m, printed.String())
	return m[1], m[2]
}

// The program ends by itself, without an error, and the next one finds what this one had stored.
func TestEndsInOrder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no process can send another SIGTERM there")
	}
	dir := t.TempDir()
	found, stored := runUntilSIGTERM(t, dir)
	require.Equal(t, "0", found)
	require.NotEqual(t, "0", stored)
	found, _ = runUntilSIGTERM(t, dir)
	require.Equal(t, stored, found)
}

// Who is told to end before the first event stores none.
func TestEndsBeforeItBegins(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	require.NoError(t, run(ctx, t.TempDir(), &out))
	require.Equal(t, "found 0 events\nstored 0 events\n", out.String())
}
