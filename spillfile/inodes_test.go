package spillfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// inodeFS is a volume on which there is room for so many files.
type inodeFS struct {
	*vfstest.Disk
	limit atomic.Int64
}

func (f *inodeFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if flag&os.O_CREATE != 0 {
		files := f.Files()
		_, have := files[filepath.Base(name)]
		if limit := f.limit.Load(); limit > 0 && int64(len(files)) >= limit && !have {
			return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOSPC}
		}
	}
	return f.Disk.OpenFile(name, flag, perm)
}

// With no inode left what is replayed is dropped, piece by piece: the file of the next manifest is
// there beforehand. The room that this makes is used for the next one. A kill and an Open in
// between change nothing.
func TestSpillFreesItselfWithoutInodes(t *testing.T) {
	for _, name := range []string{"open", "opened after a kill", "opened after a Close"} {
		t.Run(name, func(t *testing.T) {
			fsys := &inodeFS{Disk: vfstest.NewDisk()}
			o := Options{Dir: "/spill", FS: fsys, DatabaseID: testID}
			l := mustOpen(t, o)
			segmentsOf(t, l, 10)
			full := func() {
				fsys.limit.Store(int64(len(fsys.Files())))
			}
			full()
			switch name {
			case "opened after a kill":
				fsys = &inodeFS{Disk: fsys.Killed()}
				full()
				o.FS = fsys
				l = mustOpen(t, o)
			case "opened after a Close":
				require.NoError(t, l.Close())
				full()
				l = mustOpen(t, o)
			}
			require.NoError(t, l.Seal())
			for seq := uint64(3); seq <= 30; seq += 3 {
				full()
				require.NoError(t, l.MarkReplayed(seq), "%d", seq)
				require.Len(t, dump(t, l), int(30-seq))
			}
			require.True(t, l.Empty())
			fsys.limit.Store(0)
			mustPut(t, l, 31, "k", "v")
			require.NoError(t, l.Close())
			_, kept := fsys.Files()[layout.ManifestTemp]
			require.True(t, kept, "the next Open may find no room for it")
			l = mustOpen(t, o)
			require.NoError(t, l.Seal())
			require.NoError(t, l.MarkReplayed(31))
			require.NoError(t, l.Close())
			_, kept = fsys.Files()[layout.ManifestTemp]
			require.False(t, kept, "an empty spill needs none")
		})
	}
}

// A write to the spare manifest that fails leaves the old one, and the next one has a new file.
func TestSpareManifestFails(t *testing.T) {
	for _, op := range []string{"write", "sync", "rename", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			disk := vfstest.NewDisk()
			l := mustOpen(t, Options{Dir: "/spill", FS: disk, DatabaseID: testID})
			segmentsOf(t, l, 3)
			failed := false
			disk.SetFault(func(what, path string) error {
				if what == op && !failed && (filepath.Base(path) == layout.ManifestTemp || filepath.Base(path) == layout.ManifestName || op == "syncdir") {
					failed = true
					return errInjected
				}
				return nil
			})
			require.ErrorIs(t, l.MarkReplayed(3), errInjected)
			require.True(t, failed)
			again := mustOpen(t, Options{Dir: "/spill", FS: disk.Killed(), DatabaseID: testID})
			require.Contains(t, []int{6, 9}, len(dump(t, again)))
			require.NoError(t, again.Close())
			require.NoError(t, l.MarkReplayed(3))
			require.Len(t, dump(t, l), 6)
			require.NoError(t, l.Close())
		})
	}
}
