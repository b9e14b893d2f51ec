package main

import (
	"context"
	"os"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
)

// TestProgram is the program, in a process of its own.
func TestProgram(t *testing.T) {
	os.Args = []string{"shutdown", childproc.Arg[string](t)}
	main()
	os.Exit(0)
}

// runUntilSIGTERM starts the program, sends it SIGTERM while it stores, and returns what it
// printed.
func runUntilSIGTERM(t *testing.T, dir string) (found, stored string) {
	t.Helper()
	child := childproc.Start(t, "TestProgram", dir)
	child.Bound(time.Minute)
	var printed strings.Builder
	for line := range child.Lines() {
		printed.WriteString(line + "\n")
		if line == "storing" {
			require.NoError(t, child.Signal(syscall.SIGTERM))
		}
	}
	require.NoError(t, child.Wait(), "%s", &printed)
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
