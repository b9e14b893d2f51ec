package badgerspill

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
)

// TestLostEndOfTheSpill: what replay had given to Badger already is cut off the spill, as a failing
// disk does it. It was taken for the work of plain Badger, which the interlock keeps out.
func TestLostEndOfTheSpill(t *testing.T) {
	f := open(t)
	f.put("direct", "1")
	f.spillOne("a", "1")
	end := f.log.State().NewestEnd
	f.put("b", "2")
	_, err := f.feed.Replay(t.Context(), 1<<20)
	require.NoError(t, err)
	require.Equal(t, "2", f.inBadger("b"))
	kept, dir := crash(t, f.opt.Dir), crash(t, f.opt.Dir)
	segment := segments(t, dir)[0]
	require.NoError(t, os.Truncate(segment, end))
	for range 2 {
		_, err = tryOpen(t, dir)
		var damage *spillfile.CorruptError
		require.ErrorAs(t, err, &damage)
		require.Equal(t, segment, damage.File)
		require.Equal(t, end, damage.Offset)
		require.NotErrorIs(t, err, ErrForeignWrites)
		require.ErrorContains(t, err, "Badger in "+dir+" has version 3")
		require.ErrorContains(t, err, "put all files of the spill back")
	}
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "spill")))
	require.NoError(t, os.Rename(filepath.Join(kept, "spill"), filepath.Join(dir, "spill")))
	g := openAt(t, dir)
	require.Equal(t, "1", g.get("a"))
	require.Equal(t, "2", g.get("b"))
}
