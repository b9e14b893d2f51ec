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
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
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

// A batch failed and could not be cut off, so the clean close that followed left it out. Killed
// when only the name of the next segment was there, the log took that batch back: its writer had
// been told that it failed.
func TestFailedBatchStaysOutWhenAnUnusedSegmentFollows(t *testing.T) {
	m := vfstest.NewDisk()
	l := mustOpen(t, faultOptions(m, true, nil))
	mustPut(t, l, 1, "good", "1")
	m.SetFault(func(op, path string) error {
		if (op == "sync" || op == "truncate") && filepath.Base(path) == block.SegmentName(1) {
			return errInjected
		}
		return nil
	})
	require.ErrorIs(t, put(l, 2, "bad", "2"), errInjected)
	require.NoError(t, l.Close())
	m.SetFault(nil)

	l = mustOpen(t, faultOptions(m, true, nil))
	require.NotContains(t, dump(t, l), "bad@2")
	var killed map[string]string
	m.SetFault(func(op, _ string) error {
		if op == "write" && killed == nil { // of the header
			killed = m.Files()
		}
		return nil
	})
	mustPut(t, l, 3, "k", "v")
	require.NoError(t, l.Close())
	require.Empty(t, killed[block.SegmentName(2)])
	l = mustOpen(t, faultOptions(vfstest.DiskOf("/spill", killed), true, nil))
	defer l.Close()
	got := dump(t, l)
	require.Contains(t, got, "good@1")
	require.NotContains(t, got, "bad@2")
}

// The segment that was prepared ahead kept its arena after the log was empty, as long as nobody
// wrote.
func TestEmptyLogKeepsNoMemory(t *testing.T) {
	o := testOptions(t.TempDir())
	o.SegmentSize = 1 << 20
	l := mustOpen(t, o)
	defer l.Close()
	prepared := func() (s *segment, memory bool) {
		l.prep.mu.Lock()
		defer l.prep.mu.Unlock()
		return l.prep.ready, l.prep.ready != nil && l.prep.ready.index.Load() != nil
	}
	mustPut(t, l, 1, "a", string(randomValue(newRand(t), 700<<10)))
	require.True(t, waitFor(func() bool { _, memory := prepared(); return memory }), "no segment was prepared")
	require.NoError(t, l.DiscardAll())
	require.True(t, l.Empty())
	require.True(t, waitFor(func() bool { _, memory := prepared(); return !memory }), "an arena of %d bytes is kept",
		index.ArenaSize(o.SegmentSize))
	s, _ := prepared()
	require.NotNil(t, s, "the file may stay")
}

// A chunk that is used again kept the memory of all the largest values that it ever held.
func TestChunkKeepsNoLargeBuffers(t *testing.T) {
	l := mustOpen(t, testOptions(t.TempDir()))
	defer l.Close()
	random := rand.NewChaCha8([32]byte{})
	for i := range 3 {
		value := make([]byte, (i+1)*3<<20)
		_, _ = random.Read(value)
		mustPut(t, l, uint64(i+1), "a", string(value))
	}
	mustPut(t, l, 9, "b", "small")
	var c Chunk
	for from := (Position{}); !c.AtEnd; from = c.Next {
		require.NoError(t, l.ReadChunkInto(&c, from, 1<<20))
	}
	require.Equal(t, "small", string(c.Entries[len(c.Entries)-1].Value))
	c.Reset()
	held := c.reader.Memory()
	for _, s := range c.slabs {
		held += cap(s)
	}
	require.LessOrEqual(t, held, 3<<20)
}

// A power cut left the magic of a new segment and zeros. Open took those for version 0 of the
// format and refused.
func TestTornHeaderIsNotAVersion(t *testing.T) {
	o := faultOptions(nil, true, nil)
	files := disk(t, o)
	files[block.SegmentName(4)] = "bspilseg" + string(make([]byte, 500))
	l, _, err := damaged(t, o, files)
	require.NoError(t, err)
	require.Len(t, dump(t, l), 6)
	require.NoError(t, l.Close())
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

// Batches that were enqueued as one, the commits in flight when the log begins, were split where a
// group was full: the first half was acknowledged and the second half failed.
func TestBatchesEnqueuedTogetherFailTogether(t *testing.T) {
	for name, fails := range map[string]bool{"all are written": false, "the write fails": true} {
		t.Run(name, func(t *testing.T) {
			m := vfstest.NewDisk()
			o := faultOptions(m, true, nil)
			outcomes := map[uint64]error{}
			groups := 0
			o.OnCommit = func(batches []*Batch, err error) {
				groups++
				for _, b := range batches {
					outcomes[b.Seq()] = err
				}
			}
			l := mustOpen(t, o)
			var together []*Batch
			r := newRand(t)
			for i := range 5 {
				value := randomValue(r, int(o.SegmentSize))
				together = append(together, newBatch(Entry{Key: []byte{byte('a' + i)}, Value: value}))
			}
			writes := 0
			m.SetFault(func(op, _ string) error {
				if op == "write" {
					writes++
				}
				if writes == 2 && fails { // the header, then the group
					return errInjected
				}
				return nil
			})
			l.EnqueueAll(together, func(i int) uint64 { return uint64(i + 1) }, false)
			err := l.Commit(together[4])
			require.Equal(t, 1, groups)
			require.Len(t, outcomes, 5)
			for seq, outcome := range outcomes {
				require.Equal(t, err, outcome, "sequence %d", seq)
			}
			if fails {
				require.ErrorIs(t, err, errInjected)
				require.Empty(t, dump(t, l))
			} else {
				require.NoError(t, err)
				require.Len(t, dump(t, l), 5)
			}
			m.SetFault(nil)
			require.NoError(t, l.Close())
		})
	}
}

// A segment whose batches are all replayed stayed, and was read, while a commit was in the queue.
// If that commit then went elsewhere the segment hid it.
func TestReplayedSegmentGoesWhileABatchIsQueued(t *testing.T) {
	m := vfstest.NewDisk()
	l := mustOpen(t, faultOptions(m, false, nil))
	mustPut(t, l, 1, "k", "old")
	b := newBatch(Entry{Key: []byte("k"), Value: []byte("new")})
	l.Enqueue(b, 2)
	require.NoError(t, l.MarkReplayed(1))
	require.Zero(t, l.State().LiveSegments)
	_, ok := get(t, l, "k")
	require.False(t, ok)
	require.NoError(t, l.Commit(b))
	v, _ := get(t, l, "k")
	require.Equal(t, "new", v)
	require.NoError(t, l.Close())
	require.Equal(t, map[string]string{"k@2": "new"}, dump(t, mustOpen(t, faultOptions(m.Killed(), false, nil))))
}
