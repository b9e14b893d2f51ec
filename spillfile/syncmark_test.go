package spillfile

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// An index is a promise that its segment and all before it are durable. So damage before it is
// corruption, and no torn tail that may be dropped, also where no block has a mark that says so.
func TestIndexAfterTheCutIsASyncedMark(t *testing.T) {
	for name, damage := range map[string]func(o Options, files map[string]string){
		"block of an earlier segment": func(o Options, files map[string]string) {
			delete(files, index.Name(1))
			at := block.SegmentName(1)
			files[at] = forgery.Flip(files[at], block.SegmentHeaderSize+block.HeaderSize, 1)
		},
		"header of the segment": func(o Options, files map[string]string) {
			at := block.SegmentName(2)
			files[at] = forgery.Flip(files[at], 40, 1)
		},
		"last segment and the filter of its index": func(o Options, files map[string]string) {
			at := block.SegmentName(2)
			files[at] = forgery.Flip(files[at], block.SegmentHeaderSize+block.HeaderSize, 1)
			at = index.Name(2)
			files[at] = forgery.Flip(files[at], len(files[at])-forgery.IndexFooterBytes-40, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := vfstest.NewDisk()
			o := faultOptions(m, false, nil)
			l := mustOpen(t, o)
			defer l.Close()
			// No sync ends before the last block is written, so no block has a mark.
			mustPut(t, l, 1, "a", "one")
			first := l.w.active
			first.syncing.Lock()
			require.NoError(t, l.Seal())
			mustPut(t, l, 2, "b", "two")
			require.NoError(t, l.Seal())
			first.syncing.Unlock()
			require.NoError(t, l.Sync())
			require.NoError(t, l.indexSealed())
			files := m.Files()
			damage(o, files)
			o.FS = vfstest.DiskOf(o.Dir, files)
			again, err := Open(o)
			if err == nil {
				require.NoError(t, again.Close())
			}
			require.ErrorIs(t, err, ErrCorrupt)
		})
	}
}
