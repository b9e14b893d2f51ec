package spillfile

import (
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// seedFiles are small intact files: two segments and their manifest.
func seedFiles(f *testing.F, key []byte) map[string]string {
	m := vfstest.NewDisk()
	l, err := Open(faultOptions(m, true, key))
	require.NoError(f, err)
	require.NoError(f, put(l, 1, "a", "one"))
	require.NoError(f, put(l, 2, "b", "two"))
	require.NoError(f, l.Seal())
	require.NoError(f, put(l, 3, "c", "three"))
	files := m.Files()
	require.NoError(f, l.Close())
	return files
}

// exercise reads everything that an opened log claims to hold, and uses it.
func exercise(t *testing.T, o Options) {
	l, err := Open(o)
	if err != nil {
		return
	}
	defer l.Close()
	_, _ = tryDump(l)
	for from := (Position{}); ; {
		c, err := l.ReadChunk(from, 1000)
		if err != nil || c.AtEnd {
			break
		}
		require.True(t, c.Next.After(from))
		from = c.Next
	}
	if seq := l.State().LastSeq; seq < 1<<63 {
		mustPut(t, l, 9, "next", "n")
		require.Equal(t, seq+1, l.State().LastSeq)
	}
}

// segmentPerByte bounds what reading a segment takes for each byte of it: snappy makes 22 bytes of
// one at most, an entry takes 6 of those, and about 400 bytes in the index and in what is read.
const segmentPerByte = 22 * 400 / 6 * 2

func FuzzSegment(f *testing.F) {
	files := seedFiles(f, nil)
	first := []byte(files[block.SegmentName(1)])
	f.Add(first, false)
	f.Add(first, true)
	f.Add(first[:250], true)
	f.Add([]byte(files[block.SegmentName(2)]), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, stamped bool) {
		b = append([]byte(nil), b...)
		if stamped {
			forgery.Restamp(b, 1)
		}
		bounded(t, len(b), segmentPerByte, func() {
			exercise(t, faultOptions(vfstest.DiskOf("/spill", map[string]string{layout.ManifestName: files[layout.ManifestName], block.SegmentName(1): string(b)}), true, nil))
		})
		// The same bytes before an intact successor, and as an encrypted segment.
		bounded(t, len(b), segmentPerByte, func() {
			exercise(t, faultOptions(vfstest.DiskOf("/spill", map[string]string{
				layout.ManifestName: files[layout.ManifestName], block.SegmentName(1): string(b), block.SegmentName(2): files[block.SegmentName(2)]}), false, make([]byte, 32)))
		})
	})
}

func FuzzManifest(f *testing.F) {
	files := seedFiles(f, nil)
	f.Add([]byte(files[layout.ManifestName]), false)
	f.Add([]byte(files[layout.ManifestName]), true)
	f.Add([]byte("bspilman"), true)
	f.Fuzz(func(t *testing.T, b []byte, stamped bool) {
		b = append([]byte(nil), b...)
		if stamped && len(b) == layout.ManifestSize {
			le.PutUint32(b[124:], crc32.Checksum(b[:124], castagnoli))
		}
		disk := map[string]string{block.SegmentName(1): files[block.SegmentName(1)], block.SegmentName(2): files[block.SegmentName(2)], layout.ManifestName: string(b)}
		m := new(layout.Manifest)
		if m.Unmarshal("MANIFEST", b) == nil && m.Next > 1<<62 {
			return // numbers that run out are not a state that a spill gets into
		}
		bounded(t, len(b), 0, func() { exercise(t, faultOptions(vfstest.DiskOf("/spill", disk), true, nil)) })
	})
}
