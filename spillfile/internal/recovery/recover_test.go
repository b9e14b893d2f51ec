package recovery_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
	"github.com/badgerspill/badgerspill/spillfile/internal/spilltest"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// decide decides what a directory in memory holds.
func decide(t *testing.T, disk *vfstest.Disk) (*recovery.Recovery, error) {
	t.Helper()
	o := recovery.Options{Dir: "/spill", FS: disk, DatabaseID: spilltest.ID}
	require.NoError(t, o.Check())
	return recovery.Decide(context.Background(), recovery.NewDirectory(o), true)
}

// A power cut took a part of the last commit. Decide says so and changes nothing, CarryOut cuts it
// off, and then there is nothing left to be done.
func TestDecideThenCarryOut(t *testing.T) {
	m := vfstest.NewDisk()
	o := spilltest.Options("/spill")
	o.FS = m
	l := spilltest.MustOpen(t, o)
	spilltest.MustPut(t, l, 10, "a", "1")
	spilltest.MustPut(t, l, 20, "b", "2")
	disk := m.Killed()
	require.NoError(t, l.Close())
	torn := disk.Files()
	name := block.SegmentName(1)
	torn[name] = torn[name][:len(torn[name])-1]
	disk = vfstest.DiskOf("/spill", torn)

	look := recovery.Options{Dir: "/spill", FS: disk, ReadOnly: true}
	dropped, err := recovery.Verdict(look)
	require.NoError(t, err)
	r, err := decide(t, disk)
	require.NoError(t, err)
	require.Len(t, r.Live, 1)
	require.EqualValues(t, 1, r.Live[0].LastSeq)
	require.False(t, r.CleanEnd())
	require.Len(t, r.Dropped, 1)
	require.Equal(t, "/spill/"+name, r.Dropped[0].File)
	require.Equal(t, dropped, r.Dropped[0].Bytes)
	require.Equal(t, dropped, r.DroppedBytes)
	require.Equal(t, torn, disk.Files(), "Decide has changed something")
	end := r.Live[0].End
	require.NoError(t, r.CarryOut())
	r.CloseUnused(nil)
	require.Len(t, disk.Files()[name], int(end))

	r, err = decide(t, disk)
	require.NoError(t, err)
	require.Empty(t, r.Dropped)
	require.Len(t, r.Live, 1)
	require.GreaterOrEqual(t, r.NextNumber(), uint64(2))
	r.CloseUnused(nil)
}

// Who only looks sees a segment that is not intact, where Decide refuses.
func TestLookGoesOnPastDamage(t *testing.T) {
	m := vfstest.NewDisk()
	o := spilltest.Options("/spill")
	o.FS = m
	l := spilltest.MustOpen(t, o)
	for ts := range uint64(3) {
		spilltest.MustPut(t, l, ts+1, "a", "1")
		require.NoError(t, l.Seal())
	}
	require.NoError(t, l.Close())
	files := m.Files()
	delete(files, block.SegmentName(2))
	disk := vfstest.DiskOf("/spill", files)
	_, err := decide(t, disk)
	require.ErrorIs(t, err, block.ErrCorrupt)
	_, verdict := recovery.Verdict(recovery.Options{Dir: "/spill", FS: disk, ReadOnly: true})
	require.EqualError(t, verdict, err.Error())
	k, err := recovery.NewLook(recovery.Options{Dir: "/spill", FS: disk, ReadOnly: true})
	require.NoError(t, err)
	defer k.Close()
	require.Len(t, k.Chain, 2)
	require.Len(t, k.Gaps, 1)
	require.EqualValues(t, 3, k.Gaps[0].Before.ID)
	require.ErrorContains(t, k.Gaps[0].Err, block.SegmentName(2))
	require.False(t, k.Absent)
	require.NoError(t, k.ManifestErr)
}
