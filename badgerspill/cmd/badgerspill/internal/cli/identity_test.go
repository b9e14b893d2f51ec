//go:build unix

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
)

// Without the identity of its database nothing opens a spill that is sound itself. Each command
// says so, with the way out.
func TestIdentityThatIsDamagedOrMissing(t *testing.T) {
	for name, damaged := range map[string]string{"damaged": "x", "missing": ""} {
		t.Run(name, func(t *testing.T) {
			d := spilled(t, 20, nil)
			path := filepath.Join(d.dir, "BADGERSPILL")
			id, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.Remove(path))
			if damaged != "" {
				require.NoError(t, os.WriteFile(path, []byte(damaged), 0o600))
			}
			before := tree(t, d.dir)
			line := strings.TrimSpace(string(id))
			in := infoOf(t, d.dir)
			require.NotEqual(t, "sound", in.Health)
			require.Contains(t, strings.Join(in.Problems, "\n"), line)
			for _, args := range [][]string{{"verify"}, {"drain"}, {"salvage", "-y"}} {
				code, stdout, stderr := built(t, append(args, d.dir)...)
				require.Equal(t, frame.Failed, code, args[0])
				require.Contains(t, stdout+stderr, path, args[0])
				require.Contains(t, stdout+stderr, "write the line "+line, args[0])
			}
			copied := filepath.Join(t.TempDir(), "copy")
			ok(t, "salvage", "-copy-only", "-out", copied, d.dir)
			require.FileExists(t, copied)
			require.Equal(t, before, tree(t, d.dir))

			require.NoError(t, os.WriteFile(path, []byte(line+"\n"), 0o600))
			require.Contains(t, ok(t, "verify", d.dir), "sound")
			require.Equal(t, d.want, drained(t, d))
		})
	}
}
