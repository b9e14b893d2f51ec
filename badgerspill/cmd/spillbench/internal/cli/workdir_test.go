package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The command as README.md has it, and as it is when it is installed: a relative path is one of the
// user's.
func TestRelativePathsAreTheUsers(t *testing.T) {
	module, err := filepath.Abs("../..")
	require.NoError(t, err)
	bin := filepath.Join(t.TempDir(), "spillbench.exe")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", bin, "../..").CombinedOutput()
	require.NoError(t, err, "%s", out)
	load := []string{"burst", "--engine", "log", "--dir", "db", "--html", "page.html", "--calm", "0s", "--quiet", "0s",
		"--burst", "100ms", "--burst-rate", "1000", "--backlog", "5s"}
	for _, row := range []struct {
		name    string
		command []string
		in      string // the working directory, "" for the user's
	}{
		{"go -C from the user's directory", []string{"go", "-C", module, "run", "."}, ""},
		{"go run in the module", []string{"go", "run", "."}, module},
		{"installed", []string{bin}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			user, args := t.TempDir(), load
			if row.in != "" { // where nothing may be left
				args = append(args[:len(args):len(args)], "--dir", filepath.Join(user, "db"), "--html", filepath.Join(user, "page.html"))
			}
			cmd := exec.CommandContext(t.Context(), row.command[0], append(row.command[1:], args...)...)
			cmd.Dir = user
			if row.in != "" {
				cmd.Dir = row.in
			}
			// as a shell sets it
			cmd.Env = append(os.Environ(), "PWD="+cmd.Dir, "GOFLAGS=-buildvcs=false")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.DirExists(t, filepath.Join(user, "db", "log"), "%s", out)
			require.FileExists(t, filepath.Join(user, "page.html"), "%s", out)
		})
	}
	t.Run("a directory that is gone", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), bin, "burst")
		cmd.Dir = module
		gone := filepath.Join(t.TempDir(), "gone")
		cmd.Env = append(os.Environ(), "PWD="+gone)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.True(t, errors.As(err, &exit), "%s", out)
		require.Equal(t, 1, exit.ExitCode())
		require.Contains(t, string(out), "spillbench: go back to the directory that PWD names: chdir "+gone)
	})
}
