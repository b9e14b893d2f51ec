package spillfile

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// powerCuts is how many outcomes of a power cut a test looks at: what was not synced is there or
// not, by seed.
const powerCuts = 64

func cutPower(m *vfstest.Disk, seed uint64) *vfstest.Disk {
	return m.PowerCut(rand.New(rand.NewPCG(seed, 1)))
}

// failOp makes every operation of one kind fail, on all files or on those whose name ends with
// suffix.
func failOp(m *vfstest.Disk, kind, suffix string) {
	m.SetFault(func(op, path string) error {
		if op == kind && strings.HasSuffix(path, suffix) {
			return errInjected
		}
		return nil
	})
}

func fileNames(m *vfstest.Disk) []string { return slices.Sorted(maps.Keys(m.Files())) }

// Recovery removed the segments behind a cut without ordering the removals on disk. Cut power there
// left the later ones without the earlier: Open called it corruption, for good.
func TestPowerCutWhileRecoveryRemovesSegments(t *testing.T) {
	for seed := range uint64(powerCuts) {
		m := vfstest.NewDisk()
		l := mustOpen(t, faultOptions(m, false, nil))
		failOp(m, "sync", "") // no block says that one before it is durable
		mustPut(t, l, 1, "a", "1")
		mustPut(t, l, 2, "b", "2")
		require.NoError(t, l.Seal())
		mustPut(t, l, 3, "c", "3")
		require.NoError(t, l.Seal())
		mustPut(t, l, 4, "d", "4")
		files := m.Files()
		_ = l.Close()
		first := block.SegmentName(1)
		files[first] = files[first][:len(files[first])-3] // a first power cut
		m = vfstest.DiskOf("/spill", files)
		removed := false
		// and a second one before the removals are synced
		m.SetFault(func(op, _ string) error {
			removed = removed || op == "remove"
			if removed && op == "syncdir" {
				return errInjected
			}
			return nil
		})
		_, err := Open(faultOptions(m, false, nil))
		require.ErrorIs(t, err, errInjected)
		cut := cutPower(m, seed)
		l, err = Open(faultOptions(cut, false, nil))
		require.NoError(t, err, "seed %d, files %v", seed, fileNames(cut))
		require.Equal(t, map[string]string{"a@1": "1"}, dump(t, l))
		require.NoError(t, l.Close())
	}
}

// Killed between the rename of a manifest and the sync of its directory. The next process removed
// what that manifest says is dead; a power cut brought the old manifest back, and what it needs was
// gone.
func TestManifestIsDurableBeforeRecoveryRemovesFiles(t *testing.T) {
	for seed := range uint64(powerCuts) {
		m := vfstest.NewDisk()
		l := mustOpen(t, faultOptions(m, true, nil))
		mustPut(t, l, 1, "a", "1")
		require.NoError(t, l.Seal())
		mustPut(t, l, 2, "b", "2")
		failOp(m, "syncdir", "")
		require.ErrorIs(t, l.MarkReplayed(1), errInjected)
		killed := m.Killed()
		_ = l.Close()
		failOp(killed, "syncdir", "")
		_, err := Open(faultOptions(killed, true, nil))
		require.ErrorIs(t, err, errInjected)
		cut := cutPower(killed, seed)
		l, err = Open(faultOptions(cut, true, nil))
		require.NoError(t, err, "seed %d, files %v", seed, fileNames(cut))
		require.Contains(t, dump(t, l), "b@2")
		require.NoError(t, l.Close())
	}
}

type dirSyncs struct {
	*vfstest.Disk
	synced map[string]bool
}

func (d *dirSyncs) SyncDir(dir string) error {
	d.synced[dir] = true
	return d.Disk.SyncDir(dir)
}

// The directory that Open makes was not durable in its parent: a power cut could take the whole
// spill, synced or not.
func TestNameOfTheDirectoryIsDurable(t *testing.T) {
	d := &dirSyncs{vfstest.NewDisk(), map[string]bool{}}
	o := faultOptions(nil, true, nil)
	o.FS = d
	l := mustOpen(t, o)
	require.True(t, d.synced["/"], "only %v", d.synced)
	require.NoError(t, l.Close())
}

// Killed in the very first Open, before the name of the manifest was durable; power is cut while
// the first commit makes its segment. That left a segment without a manifest, which Open refuses.
func TestFirstManifestIsDurableBeforeTheFirstSegment(t *testing.T) {
	for seed := range uint64(powerCuts) {
		m := vfstest.NewDisk()
		m.SetFault(func(op, path string) error {
			if op == "syncdir" && filepath.Base(path) == "spill" {
				return errInjected
			}
			return nil
		})
		_, err := Open(faultOptions(m, true, nil))
		require.ErrorIs(t, err, errInjected)
		m = m.Killed()
		l := mustOpen(t, faultOptions(m, true, nil))
		failOp(m, "syncdir", "")
		require.ErrorIs(t, put(l, 1, "a", "1"), errInjected)
		cut := cutPower(m, seed)
		_ = l.Close()
		l, err = Open(faultOptions(cut, true, nil))
		require.NoError(t, err, "seed %d, files %v", seed, fileNames(cut))
		require.NoError(t, l.Close())
	}
}

// forgetful is a system that after a failed sync of a segment takes its pages for written: until
// somebody writes them again, a sync succeeds and does nothing for them.
type forgetful struct {
	*vfstest.Disk
	fail      bool
	forgotten map[string]int // by file, the offset from which on
}

type forgetfulFile struct {
	*vfstest.DiskFile
	fs   *forgetful
	name string
}

func (s *forgetful) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := s.Disk.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &forgetfulFile{f.(*vfstest.DiskFile), s, name}, nil
}

func (f *forgetfulFile) WriteAt(b []byte, at int64) (int, error) {
	if from, ok := f.fs.forgotten[f.name]; ok && int(at) <= from {
		delete(f.fs.forgotten, f.name)
	}
	return f.DiskFile.WriteAt(b, at)
}

func (f *forgetfulFile) Sync() error {
	if f.fs.fail && strings.HasSuffix(f.name, block.SegmentSuffix) {
		f.fs.forgotten[f.name] = f.Durable()
		return syscall.EIO
	}
	from, ok := f.fs.forgotten[f.name]
	if !ok {
		return f.DiskFile.Sync()
	}
	f.SyncOnly(from)
	return nil
}

// The process is killed after a failed sync. The next one, which had not seen the failure, synced
// the same pages, was told that they are durable, and acknowledged commits behind them: a power cut
// took all of it.
func TestRecoveryWritesAgainWhatMayHaveFailedToSync(t *testing.T) {
	s := &forgetful{Disk: vfstest.NewDisk(), forgotten: map[string]int{}}
	o := faultOptions(nil, false, nil)
	o.FS = s
	l := mustOpen(t, o)
	mustPut(t, l, 1, "a", "1")
	require.NoError(t, l.Sync())
	mustPut(t, l, 2, "b", "2")
	s.fail = true
	require.ErrorIs(t, l.Sync(), syscall.EIO)
	require.NotEmpty(t, s.forgotten)

	s = &forgetful{Disk: s.Killed(), forgotten: maps.Clone(s.forgotten)}
	_ = l.Close()
	o.FS, o.SyncWrites = s, true
	l = mustOpen(t, o)
	require.Len(t, dump(t, l), 2)
	mustPut(t, l, 3, "c", "3") // durable, says Commit
	cut := s.OnlySynced()
	require.NoError(t, l.Close())
	l = mustOpen(t, faultOptions(cut, true, nil))
	require.Len(t, dump(t, l), 3)
	require.NoError(t, l.Close())
}

// Segments that a power cut made worthless were removed, and their numbers given out again: a file
// that came back, from a backup say, would have passed for another.
func TestNumbersOfDroppedSegmentsAreNotUsedAgain(t *testing.T) {
	m := vfstest.NewDisk()
	l := mustOpen(t, faultOptions(m, false, nil))
	failOp(m, "sync", "")
	mustPut(t, l, 1, "a", "1")
	require.NoError(t, l.Seal())
	mustPut(t, l, 2, "b", "2") // acknowledged in segment 2
	files := m.Files()
	_ = l.Close()
	files[block.SegmentName(1)] = files[block.SegmentName(1)][:block.SegmentHeaderSize/2]
	m = vfstest.DiskOf("/spill", files)
	l = mustOpen(t, faultOptions(m, false, nil))
	require.Empty(t, dump(t, l), "both are dropped")
	killed := m.Killed()
	require.NoError(t, l.Close())
	l = mustOpen(t, faultOptions(killed, false, nil))
	mustPut(t, l, 3, "c", "3")
	require.Greater(t, l.w.active.id(), uint64(2))
	require.NoError(t, l.Close())
}
