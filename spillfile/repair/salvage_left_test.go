package repair_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/internal/spilltest"
	"github.com/badgerspill/badgerspill/spillfile/repair"
)

// A Salvage is killed when its new spill is complete and nothing is moved yet; the damaged file is
// restored from a copy instead, and the spill goes on. What that Salvage has left is of no use from
// then on: a later one must not take it for its own.
func TestOpenRemovesWhatAnInterruptedSalvageHasLeft(t *testing.T) {
	src, all := spilltest.Small(t, nil, 12)
	manifest := filepath.Join(src.Dir, layout.ManifestName)
	_, places, _ := spilltest.WalkAll(t, src)
	spilltest.Damage(t, places[3].File, places[3].Offset+60)
	_, _, found := spilltest.WalkAll(t, src)
	cut := src
	named := false
	cut.FS = cutWhen(func(op, path string) bool {
		defer func() { named = named || op == "rename" && filepath.Base(path) == layout.RebuiltName }()
		return named
	})
	_, err := repair.Salvage(t.Context(), cut, found, false)
	require.ErrorIs(t, err, errCut)
	require.DirExists(t, filepath.Join(src.Dir, layout.RebuiltName))
	require.FileExists(t, manifest)
	spilltest.Damage(t, places[3].File, places[3].Offset+60) // undoes itself

	// one that was killed earlier
	require.NoError(t, os.Mkdir(filepath.Join(src.Dir, layout.RebuildingName), 0o700))
	o := spilltest.Options(src.Dir)
	o.ReadOnly = true
	require.NoError(t, spilltest.MustOpen(t, o).Close())
	require.DirExists(t, filepath.Join(src.Dir, layout.RebuiltName), "read-only nothing changes")
	l := spilltest.MustOpen(t, spilltest.Options(src.Dir))
	require.NoDirExists(t, filepath.Join(src.Dir, layout.RebuiltName))
	require.NoDirExists(t, filepath.Join(src.Dir, layout.RebuildingName))
	spilltest.MustPut(t, l, 1000, "later", "commit")
	require.NoError(t, l.Close())

	require.NoError(t, os.Remove(manifest))
	_, _, found = spilltest.WalkAll(t, src)
	done, err := repair.Salvage(t.Context(), src, found, false)
	require.NoError(t, err)
	require.False(t, done.Resumed)
	got, _, _ := spilltest.WalkAll(t, src)
	require.Len(t, got, len(all)+1)
	require.Contains(t, byTs(got), uint64(1000))
}
