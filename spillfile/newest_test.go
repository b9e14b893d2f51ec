package spillfile

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// The newest segment is gone, which no other segment names.
func TestNewestSegmentGone(t *testing.T) {
	for _, test := range []struct {
		name  string
		o     Options
		lives func(t *testing.T, l *Log)
		gone  uint64 // its number
		says  string // the file that knows of it
		intact,
		lostFrom int
	}{
		{"killed, the first segment", Options{}, func(t *testing.T, l *Log) { mustPut(t, l, 1, "a", "1") }, 1, layout.NewestName, 0, 1},
		{"killed, the third", Options{}, func(t *testing.T, l *Log) {
			for ts := uint64(1); ts <= 3; ts++ {
				mustPut(t, l, ts, "a", "1")
				require.NoError(t, l.Seal())
			}
		}, 3, layout.NewestName, 2, 3},
		{"synced, and killed", Options{SyncWrites: true}, func(t *testing.T, l *Log) {
			intoTwoSegments(t, l)
		}, 2, layout.NewestName, 1, 2},
		{"the manifest was written after it", Options{}, func(t *testing.T, l *Log) {
			intoTwoSegments(t, l)
			require.NoError(t, l.Seal())
			mustPut(t, l, 3, "a", "1")
			require.NoError(t, l.Prepare())
			require.NoError(t, l.MarkReplayed(1))
		}, 3, layout.ManifestName, 1, 3},
		{"closed", Options{}, func(t *testing.T, l *Log) {
			intoTwoSegments(t, l)
			require.NoError(t, l.Close())
		}, 2, layout.ManifestName, 1, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := vfstest.NewDisk()
			o := test.o
			o.FS, o.Dir, o.DatabaseID = m, "/spill", testID
			l := mustOpen(t, o)
			test.lives(t, l)
			left := m.Killed()
			require.NoError(t, l.Close())
			files := left.Files()
			name := block.SegmentName(test.gone)
			require.Contains(t, files, name)
			delete(files, name)
			delete(files, index.Name(test.gone))
			left = vfstest.DiskOf("/spill", files)
			o.FS = left
			_, err := Open(o)
			c := new(CorruptError)
			require.ErrorAs(t, err, &c)
			require.Equal(t, "/spill/"+name, c.File)
			require.Contains(t, err.Error(), test.says)
			require.Equal(t, files, left.Files(), "a refused Open changed something")
			n, err := check.Walk(context.Background(), check.Source{Dir: "/spill", FS: left}, nil)
			require.NoError(t, err)
			require.True(t, n.Damaged())
			require.ErrorIs(t, n.OpenError, ErrCorrupt)
			require.Equal(t, "/spill/"+name, n.Faults[len(n.Faults)-1].File)
			require.EqualValues(t, test.intact, n.Commits)
			require.Len(t, n.Lost, 1)
			require.EqualValues(t, test.lostFrom, n.Lost[0].FirstSeq)
			in, err := check.Inspect(check.Source{Dir: "/spill", FS: left})
			require.NoError(t, err)
			require.ErrorIs(t, in.OpenError, ErrCorrupt)
			require.Contains(t, in.OpenError.Error(), name)
		})
	}
}

// twoSegments opens a spill in memory, and commits to two segments, of which the second is written.
func twoSegments(t *testing.T, sync bool) (*vfstest.Disk, Options, *Log) {
	t.Helper()
	m := vfstest.NewDisk()
	o := Options{FS: m, Dir: "/spill", DatabaseID: testID, SyncWrites: sync}
	l := mustOpen(t, o)
	intoTwoSegments(t, l)
	return m, o, l
}

func intoTwoSegments(t *testing.T, l *Log) {
	t.Helper()
	mustPut(t, l, 1, "a", "1")
	require.NoError(t, l.Seal())
	mustPut(t, l, 2, "a", "1")
}

// The newest segment is cut to nothing, or to its header, after its first group was synced.
func TestNewestSegmentEmptied(t *testing.T) {
	for _, size := range []int{0, 100, block.SegmentHeaderSize, block.SegmentHeaderSize + 10} {
		m, o, l := twoSegments(t, true)
		files := m.Killed().Files()
		require.NoError(t, l.Close())
		files[block.SegmentName(2)] = files[block.SegmentName(2)][:size]
		o.FS = vfstest.DiskOf("/spill", files)
		_, err := Open(o)
		require.ErrorIs(t, err, ErrCorrupt, "%d bytes", size)
		require.ErrorContains(t, err, block.SegmentName(2))
	}
}

// A segment whose number was noted, and which is gone for a good reason, is not missed.
func TestNewestSegmentGoneForGood(t *testing.T) {
	for name, lives := range map[string]func(t *testing.T, l *Log, m *vfstest.Disk){
		"replayed while it was written": func(t *testing.T, l *Log, m *vfstest.Disk) { require.NoError(t, l.MarkReplayed(2)) },
		"replayed and prepared": func(t *testing.T, l *Log, m *vfstest.Disk) {
			require.NoError(t, l.Prepare())
			require.NoError(t, l.MarkReplayed(2))
		},
		"all at once": func(t *testing.T, l *Log, m *vfstest.Disk) { require.NoError(t, l.DiscardAll()) },
		"by a hand-over": func(t *testing.T, l *Log, m *vfstest.Disk) {
			_, err := l.MarkReplayedIfLast(2)
			require.NoError(t, err)
		},
		"its first write failed": func(t *testing.T, l *Log, m *vfstest.Disk) {
			require.NoError(t, l.MarkReplayed(2))
			m.SetFault(func(op, path string) error {
				if op == "write" && filepath.Base(path) == block.SegmentName(3) {
					return errInjected
				}
				return nil
			})
			require.ErrorIs(t, put(l, 3, "c", "3"), errInjected)
			m.SetFault(nil)
			require.NoError(t, l.removeDead())
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, o, l := twoSegments(t, false)
			lives(t, l, m)
			left := m.Killed()
			require.NoError(t, l.Close())
			o.FS = left
			l = mustOpen(t, o)
			require.True(t, l.Empty())
			require.NoError(t, l.Close())
			require.NoError(t, mustOpen(t, o).Close())
		})
	}
	t.Run("a torn tail, whose removal was interrupted", func(t *testing.T) {
		m, o, l := twoSegments(t, false)
		files := m.Killed().Files()
		require.NoError(t, l.Close())
		files[block.SegmentName(2)] = "" // the power cut took what was not synced
		for k := 1; ; k++ {
			cut := vfstest.DiskOf("/spill", files)
			cut.SetFault(func(_, _ string) error {
				if cut.Ops() >= k {
					return errInjected
				}
				return nil
			})
			o.FS = cut
			l, err := Open(o)
			left := cut.Killed()
			if err == nil {
				cut.SetFault(nil)
				require.NoError(t, l.Close())
			}
			o.FS = left
			again := mustOpen(t, o)
			require.EqualValues(t, 1, again.State().LastSeq)
			require.NoError(t, again.Close())
			if left.Ops() < k {
				break
			}
		}
	})
	t.Run("a spill that was removed, and made again", func(t *testing.T) {
		m := vfstest.NewDisk()
		o := Options{FS: m, Dir: "/spill", DatabaseID: testID}
		l := mustOpen(t, o)
		for ts := uint64(1); ts < 9; ts++ {
			mustPut(t, l, ts, "a", "1")
			require.NoError(t, l.Seal())
		}
		files := m.Killed().Files()
		require.NoError(t, l.Close())
		for name := range files {
			if name != layout.NewestName { // an older layer leaves it
				delete(files, name)
			}
		}
		o.FS = vfstest.DiskOf("/spill", files)
		l = mustOpen(t, o)
		mustPut(t, l, 20, "b", "2")
		left := o.FS.(*vfstest.Disk).Killed()
		require.NoError(t, l.Close())
		o.FS = left
		l = mustOpen(t, o)
		require.Len(t, dump(t, l), 1)
		require.NoError(t, l.Close())
	})
	t.Run("an older layer went on", func(t *testing.T) {
		m, o, l := twoSegments(t, false)
		files := m.Killed().Files()
		require.NoError(t, l.Close())
		// It has dropped segment 2 as a torn tail: its manifest knows the next number, and no
		// newest segment.
		old := layout.Manifest{DatabaseID: testID, Next: 3, FirstLive: 1}
		files[layout.ManifestName] = string(old.Marshal())
		delete(files, block.SegmentName(2))
		o.FS = vfstest.DiskOf("/spill", files)
		require.NoError(t, mustOpen(t, o).Close())
	})
}

// The note cannot be written: commits go on, and somebody is told.
func TestNewestSegmentNotNoted(t *testing.T) {
	for _, op := range []string{"create", "write", "sync"} {
		m := vfstest.NewDisk()
		h := newHistory()
		o := h.listen(Options{FS: m, Dir: "/spill", DatabaseID: testID, SyncWrites: true})
		m.SetFault(func(got, path string) error {
			if got == op && filepath.Base(path) == layout.NewestName {
				return errInjected
			}
			return nil
		})
		l := mustOpen(t, o)
		mustPut(t, l, 1, "a", "1")
		require.Contains(t, h.told, "went missing", op)
		left := m.Killed()
		require.NoError(t, l.Close())
		o.FS = left
		l = mustOpen(t, o)
		require.Len(t, dump(t, l), 1)
		require.NoError(t, l.Close())
	}
}
