package check_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/internal/spilltest"
	"github.com/badgerspill/badgerspill/spillfile/repair"
)

// What a failed write has left, and could not be cut off, lies behind the end that the index file
// of its segment says. Open ignores it, so it is no commit for Walk either, and does not come back
// by a Salvage.
func TestWalkEndsASegmentWhereItsIndexDoes(t *testing.T) {
	src := check.Source{Dir: t.TempDir()}
	segment := filepath.Join(src.Dir, block.SegmentName(1))
	l := spilltest.MustOpen(t, spilltest.Options(src.Dir))
	spilltest.MustPut(t, l, 10, "a", "1")
	require.NoError(t, l.Seal())
	require.True(t, spilltest.WaitFor(func() bool {
		_, err := os.Stat(filepath.Join(src.Dir, index.Name(1)))
		return err == nil
	}))
	killed := check.Source{Dir: spilltest.Crash(t, src.Dir)}
	require.NoError(t, l.Close())
	whole, err := os.ReadFile(segment)
	require.NoError(t, err)

	// The same commit and one more: a block is bound to its place.
	other := t.TempDir()
	l = spilltest.MustOpen(t, spilltest.Options(other))
	spilltest.MustPut(t, l, 10, "a", "1")
	spilltest.MustPut(t, l, 20, "a", "failed")
	require.NoError(t, l.Close())
	more, err := os.ReadFile(filepath.Join(other, block.SegmentName(1)))
	require.NoError(t, err)
	segment = filepath.Join(killed.Dir, block.SegmentName(1))
	require.NoError(t, os.WriteFile(segment, append(whole, more[len(whole):]...), 0o600))

	got, _, found := spilltest.WalkAll(t, killed)
	require.Len(t, got, 1)
	require.Empty(t, found.Faults)
	require.EqualValues(t, 1, found.NewestSeq)

	require.NoError(t, os.Remove(filepath.Join(killed.Dir, layout.ManifestName)))
	_, _, found = spilltest.WalkAll(t, killed)
	_, err = repair.Salvage(t.Context(), killed, found, false)
	require.NoError(t, err)
	l = spilltest.MustOpen(t, spilltest.Options(killed.Dir))
	require.EqualValues(t, 1, l.State().LiveBatches)
	require.NoError(t, l.Close())
}
