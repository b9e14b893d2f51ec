package spillfile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Salvage is killed when its new spill is complete and nothing is moved yet; the damaged file is
// restored from a copy instead, and the spill goes on. What that Salvage has left is of no use from
// then on: a later one must not take it for its own.
func TestOpenRemovesWhatAnInterruptedSalvageHasLeft(t *testing.T) {
	src, all := smallSpill(t, nil, 12)
	manifest := filepath.Join(src.Dir, manifestName)
	_, places, _ := walkAll(t, src)
	damage(t, places[3].File, places[3].Offset+60)
	_, _, found := walkAll(t, src)
	cut := src
	named := false
	cut.FS = cutWhen(func(op, path string) bool {
		defer func() { named = named || op == "rename" && filepath.Base(path) == rebuiltName }()
		return named
	})
	_, err := Salvage(t.Context(), cut, found, false)
	require.ErrorIs(t, err, errCut)
	require.DirExists(t, filepath.Join(src.Dir, rebuiltName))
	require.FileExists(t, manifest)
	damage(t, places[3].File, places[3].Offset+60) // undoes itself

	// one that was killed earlier
	require.NoError(t, os.Mkdir(filepath.Join(src.Dir, rebuildingName), 0o700))
	o := testOptions(src.Dir)
	o.ReadOnly = true
	require.NoError(t, mustOpen(t, o).Close())
	require.DirExists(t, filepath.Join(src.Dir, rebuiltName), "read-only nothing changes")
	l := mustOpen(t, testOptions(src.Dir))
	require.NoDirExists(t, filepath.Join(src.Dir, rebuiltName))
	require.NoDirExists(t, filepath.Join(src.Dir, rebuildingName))
	mustPut(t, l, 1000, "later", "commit")
	require.NoError(t, l.Close())

	require.NoError(t, os.Remove(manifest))
	_, _, found = walkAll(t, src)
	done, err := Salvage(t.Context(), src, found, false)
	require.NoError(t, err)
	require.False(t, done.Resumed)
	got, _, _ := walkAll(t, src)
	require.Len(t, got, len(all)+1)
	require.Contains(t, byTs(got), uint64(1000))
}
