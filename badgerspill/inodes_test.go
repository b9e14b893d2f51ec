package badgerspill

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/room"
)

// TestNoInodesForBadger: below the floor of inodes on Badger's volume commits fail as on a full
// disk, before Badger is told, and go on when there are inodes again. A file system that tells none
// has no such floor.
func TestNoInodesForBadger(t *testing.T) {
	d := newDisks(1 << 40)
	f := open(t, on(d), func(opt *Options) { opt.Tuning.SpillRate = Off })
	f.put("untold", "v")
	d.badgerFiles.Store(1 << 20)
	f.room.Look()
	f.put("many", "v")
	floor := f.room.Status().FilesFloor
	require.GreaterOrEqual(t, floor, int64(room.BadgerFiles))
	d.badgerFiles.Store(floor - 1)
	f.room.Look()
	err := put(f.DB, "refused", "v")
	require.ErrorIs(t, err, ErrNoSpace)
	require.ErrorContains(t, err, "inodes")
	require.NotContains(t, err.Error(), "MinFreeSpace")
	require.ErrorIs(t, f.room.Check(), ErrNoSpace, "replay pauses")
	require.Equal(t, absent, f.get("refused"))
	require.Positive(t, f.SpillStats().NoSpace)
	d.badgerFiles.Store(1 << 20)
	f.room.Look()
	f.put("again", "v")
	require.NoError(t, f.Close())

	d.badgerFiles.Store(openFiles - 1)
	_, err = tryOpen(t, f.opt.Dir, on(d))
	require.ErrorIs(t, err, ErrNoSpace)
	require.ErrorContains(t, err, "inodes")
}

// TestNoInodesForTheSpill: below the floor on its own volume the spill counts as full, and Badger
// goes on; what was spilled is replayed.
func TestNoInodesForTheSpill(t *testing.T) {
	d := newDisks(1 << 40)
	d.separate = true
	d.badgerFiles.Store(1 << 20)
	d.spillFiles.Store(1 << 20)
	f := open(t, on(d))
	f.spillOne("k", "v")
	d.spillFiles.Store(room.SpillFiles - 1)
	f.room.Look()
	require.False(t, f.room.SpillUsable())
	require.NoError(t, f.room.Check(), "replay goes on")
	f.drained()
	require.Equal(t, "v", f.inBadger("k"))
	f.put("direct", "v")
	d.spillFiles.Store(room.SpillFiles)
	f.room.Look()
	require.True(t, f.room.SpillUsable())
}
