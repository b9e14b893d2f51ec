package workdir

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestElsewhere(t *testing.T) {
	const module = "example.com/mod"
	dir, user := t.TempDir(), t.TempDir()
	own, other := filepath.Join(dir, "own"), filepath.Join(dir, "other")
	for path, mod := range map[string]string{own: module, other: module + "/more"} {
		require.NoError(t, os.Mkdir(path, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(path, "go.mod"), []byte("module "+mod+"\n\ngo 1.25.0\n"), 0o600))
	}
	link, file := filepath.Join(dir, "link"), filepath.Join(dir, "file")
	require.NoError(t, os.Symlink(own, link))
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, row := range []struct{ name, in, pwd, want string }{
		{"go -C", own, user, user},
		{"in the module's directory", own, own, ""},
		{"in it by another name", own, link, ""},
		{"no PWD", own, "", ""},
		{"a PWD of another system", own, "c/Users", ""},
		{"a PWD that is a file", own, file, ""},
		{"a PWD that is gone, which Restore will say", own, filepath.Join(dir, "gone"), filepath.Join(dir, "gone")},
		{"an installed program, started in another directory", dir, user, ""},
		{"an installed program, in another module", other, user, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Chdir(row.in)
			require.Equal(t, row.want, elsewhere(module, row.pwd))
		})
	}
}
