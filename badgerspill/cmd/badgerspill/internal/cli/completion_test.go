package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		t.Run(shell, func(t *testing.T) {
			script := ok(t, "completion", shell)
			require.Contains(t, script, "badgerspill")
			path := filepath.Join(t.TempDir(), "completion")
			require.NoError(t, os.WriteFile(path, []byte(script), 0o600))
			if program, err := exec.LookPath(shell); err == nil && shell != "powershell" {
				out, err := exec.Command(program, "-n", path).CombinedOutput()
				require.NoError(t, err, string(out))
				require.Empty(t, string(out))
			}
		})
	}
	require.Contains(t, ok(t), "completion")
}

// What the scripts ask the command for.
func TestCompletionOfArguments(t *testing.T) {
	const directories = ":16\n" // cobra's directive for a shell: complete names of directories
	for _, verb := range []string{"info", "verify", "drain", "dump", "salvage"} {
		require.True(t, strings.HasPrefix(ok(t, "__complete", verb, ""), directories), verb)
		require.True(t, strings.HasPrefix(ok(t, "__complete", verb, "--spill-dir", ""), directories), verb)
		require.True(t, strings.HasPrefix(ok(t, "__complete", verb, "--vlog-dir", ""), directories), verb)
		require.True(t, strings.HasPrefix(ok(t, "__complete", verb, "dir", ""), ":4\n"), "%s: nothing more", verb)
		require.Contains(t, ok(t, "__complete", verb, "--enc"), "--encryption-key-file")
		require.Contains(t, ok(t, "__complete", verb[:2]), verb)
	}
	require.Contains(t, ok(t, "__complete", "dump", "--pre"), "--prefix-hex")
	require.Contains(t, ok(t, "__complete", "plan", "--"), "--overwrites\tshare of the writes")
	require.True(t, strings.HasPrefix(ok(t, "__complete", "plan", "--rate", ""), ":4\n"), "no file")
	require.NotContains(t, ok(t, "__complete", ""), "man\t", "it is hidden")
}
