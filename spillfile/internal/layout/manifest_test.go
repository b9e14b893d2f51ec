package layout

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

func TestManifestIsReadAsItWasWritten(t *testing.T) {
	disk := vfstest.NewDisk()
	require.NoError(t, disk.MkdirAll("/spill", 0o700))
	_, err := ReadManifest(disk, "/spill")
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, m := range []Manifest{
		{DatabaseID: [16]byte{7}, Replayed: 1, Next: 2, FirstLive: 3, Mark: block.Position{Segment: 4, Offset: 5}, MarkSeq: 6, LastSeq: 7, Newest: 8, Clean: true},
		{Next: 1, FirstLive: 1},
	} {
		require.NoError(t, m.Write(disk, "/spill"))
		got, err := ReadManifest(disk, "/spill")
		require.NoError(t, err)
		require.Equal(t, m, *got)
	}
}

// Of each slot of NEWEST every byte may be wrong: then the other slot holds.
func TestNoteInTheOtherSlot(t *testing.T) {
	older, newer := Note{DatabaseID: [16]byte{7}, Count: 1, Segment: 3, FirstSeq: 4}, Note{DatabaseID: [16]byte{7}, Count: 2, Segment: 4, FirstSeq: 9, Synced: 300}
	file := make([]byte, NoteDistance+newestSlot)
	copy(file[NoteDistance:], older.Marshal())
	copy(file, newer.Marshal())
	read := func(b []byte) (*Note, error) {
		return ReadNote(vfstest.DiskOf("/spill", map[string]string{NewestName: string(b)}), "/spill")
	}
	got, err := read(file)
	require.NoError(t, err)
	require.Equal(t, newer, *got)
	for at := range newestSlot {
		bad := append([]byte(nil), file...)
		bad[at] ^= 0x10
		got, err := read(bad)
		if at >= 8 && at < 12 { // the version
			require.ErrorIs(t, err, block.ErrFormatVersion)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, older, *got, "byte %d", at)
	}
	got, err = read(file[:NoteDistance-1])
	require.NoError(t, err)
	require.Equal(t, newer, *got, "the file is cut off")
	got, err = ReadNote(vfstest.DiskOf("/spill", map[string]string{}), "/spill")
	require.NoError(t, err)
	require.Nil(t, got)
}

func TestIsSpillFile(t *testing.T) {
	for name, want := range map[string]bool{
		ManifestName: true, ManifestTemp: true, NewestName: true, PlaceName: true, PlaceTemp: true,
		block.SegmentName(1): true,
		LockName:             false, RebuiltName: false, "README": false, "1.seg": false, "": false,
	} {
		require.Equal(t, want, IsSpillFile(name), "%q", name)
	}
}
