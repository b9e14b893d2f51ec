package repair_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/spilltest"
	"github.com/badgerspill/badgerspill/spillfile/repair"
)

// Salvage of a spill whose newest segment is gone makes one that opens.
func TestSalvageWithoutTheNewestSegment(t *testing.T) {
	dir := t.TempDir()
	o := spilltest.Options(dir)
	l := spilltest.MustOpen(t, o)
	spilltest.MustPut(t, l, 1, "a", "1")
	require.NoError(t, l.Seal())
	spilltest.MustPut(t, l, 2, "a", "2")
	left := spilltest.Crash(t, dir)
	require.NoError(t, l.Close())
	require.NoError(t, spillfile.OS.Remove(left+"/"+block.SegmentName(2)))
	src := check.Source{Dir: left}
	found, err := check.Walk(context.Background(), src, nil)
	require.NoError(t, err)
	done, err := repair.Salvage(context.Background(), src, found, false)
	require.NoError(t, err)
	require.EqualValues(t, 1, done.Commits)
	o.Dir = left
	l, err = spillfile.Open(o)
	require.False(t, errors.Is(err, spillfile.ErrCorrupt), "%v", err)
	require.NoError(t, err)
	spilltest.MustPut(t, l, 3, "b", "3")
	require.Len(t, spilltest.Dump(t, l), 2)
	require.NoError(t, l.Close())
}
