package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/room"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// disks is a file system in which the spill may have a volume of its own, and whose free space the
// test says.
type disks struct {
	spillfile.FS
	separate   bool
	badgerFree atomic.Int64
	spillFree  atomic.Int64
	// measure: badgerFree is what the files under dir leave of so many bytes
	badgerSize, measure int64
	dir                 string
	least               atomic.Int64 // free space ever seen
	looks               atomic.Int64
	badgerFiles         atomic.Int64 // free inodes; 0: the file system tells none
	spillFiles          atomic.Int64
}

func (d *disks) FreeFiles(dir string) (int64, error) {
	free := d.badgerFiles.Load()
	if d.separate && inSpill(dir) {
		free = d.spillFiles.Load()
	}
	if free == 0 {
		return 0, errors.ErrUnsupported
	}
	return free, nil
}

func newDisks(free int64) *disks {
	d := &disks{FS: spillfile.OS, badgerSize: 1 << 40}
	d.badgerFree.Store(free)
	d.spillFree.Store(free)
	d.least.Store(1 << 62)
	return d
}

func inSpill(path string) bool { return strings.Contains(path, "spill") }

func (d *disks) Free(dir string) (free, total int64, err error) {
	d.looks.Add(1)
	if d.measure > 0 {
		return d.left(), d.measure, nil
	}
	if d.separate && inSpill(dir) {
		return d.spillFree.Load(), 1 << 40, nil
	}
	return d.badgerFree.Load(), d.badgerSize, nil
}

// left returns what the files leave of the volume.
func (d *disks) left() int64 {
	left := d.measure
	_ = filepath.WalkDir(d.dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if info, err := e.Info(); err == nil {
				left -= allocated(info)
			}
		}
		return nil // what is removed meanwhile is gone
	})
	for {
		least := d.least.Load()
		if left >= least || d.least.CompareAndSwap(least, left) {
			return left
		}
	}
}

type statInfo struct {
	fs.FileInfo
	volume uint64
}

// onVolumes is this system, but for the volumes, which are those of disks.
func onVolumes() *system {
	sys := *thisSystem
	sys.volume = func(info fs.FileInfo) (uint64, bool) { return info.(*statInfo).volume, true }
	return &sys
}

func (d *disks) Stat(name string) (fs.FileInfo, error) {
	info, err := d.FS.Stat(name)
	if err != nil {
		return nil, err
	}
	s := &statInfo{FileInfo: info}
	if d.separate && inSpill(name) {
		s.volume = 1
	}
	return s, nil
}

const testFloor = 100 << 20

func on(d *disks) func(*Options) {
	return func(opt *Options) { opt.MinFreeSpace, opt.seams.fs, opt.seams.system = testFloor, d, onVolumes() }
}

// settled waits until every claim is settled: none may leak.
func (f *fixture) settledClaims() {
	f.t.Helper()
	eventually(f.t, "all claims are settled", func() bool { return f.room.InFlight() == 0 })
}

func TestNoSpaceOnOneVolume(t *testing.T) {
	d := newDisks(1 << 30)
	f := open(t, on(d))
	f.put("a", "1")
	f.spillOne("b", "2")
	d.badgerFree.Store(testFloor - 1)
	eventually(t, "the next look", func() bool { return f.room.Check() != nil })
	for range 3 {
		require.ErrorIs(t, put(f.DB, "c", "3"), ErrNoSpace)
	}
	require.EqualValues(t, 3, f.SpillStats().NoSpace)
	require.ErrorIs(t, f.Flatten(1), ErrNoSpace)
	require.False(t, f.feed.MayReplay(true))
	require.ErrorIs(t, f.drainNow(f.ctx, nil), ErrNoSpace)
	require.Equal(t, "1", f.get("a"))
	require.Equal(t, "2", f.get("b"))
	require.Equal(t, absent, f.get("c"))

	d.badgerFree.Store(1 << 30)
	eventually(t, "service is normal again", func() bool { return put(f.DB, "c", "3") == nil })
	f.drained()
	f.direct()
	require.Equal(t, "3", f.get("c"))
	f.settledClaims()
}

func TestNoSpaceEndsAWait(t *testing.T) {
	d := newDisks(1 << 30)
	f := open(t, on(d), noSpill)
	f.occupy(f.share(1))
	waits := f.putAsync("a", "1")
	eventually(t, "it waits for memory", f.parked)
	d.badgerFree.Store(testFloor - 1)
	f.room.Look()
	require.ErrorIs(t, receive(t, "the waiting commit", waits), ErrNoSpace)
	require.ErrorIs(t, receive(t, "another", f.putAsync("b", "2")), ErrNoSpace)
	f.settledClaims()
}

// The spill's volume alone is low: the spill is full, no more. Badger takes what it can, and replay
// makes room.
func TestSpillVolumeLow(t *testing.T) {
	d := newDisks(1 << 30)
	d.separate = true
	f := open(t, on(d))
	require.True(t, f.room.Status().Separate)
	d.spillFree.Store(testFloor - 1)
	f.room.Look()
	free := f.occupy(f.share(0.95))
	f.put("a", "1")
	require.Equal(t, Direct, f.routerState(), "a full spill lets Badger use all memory")
	free()

	d.spillFree.Store(1 << 30)
	f.room.Look()
	f.spillOne("b", "2")
	d.spillFree.Store(testFloor - 1)
	f.room.Look()
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	f.stub.set(func() { f.stub.mu.onLoad = func(int, []entry) error { <-held; return nil } })
	waits := f.putAsync("c", "3")
	eventually(t, "it waits for the spill", f.parked)
	release()
	require.NoError(t, receive(t, "the waiting commit", waits), "replay has emptied the spill")
	f.direct()
	f.settledClaims()
}

// Badger's volume alone is low: commits go to the spill, and replay pauses. When the spill is full,
// too, nobody waits for what cannot come.
func TestBadgerVolumeLow(t *testing.T) {
	d := newDisks(1 << 30)
	d.separate = true
	f := open(t, on(d), eager, func(opt *Options) { opt.SpillCapacity, opt.Tuning.ReplayHighWater = 1<<20, 1 })
	f.put("a", "1")
	d.badgerFree.Store(testFloor - 1)
	f.room.Look()
	value := incompressible(64<<10, 1)
	var err error
	n := 0
	for ; err == nil; n++ {
		require.Less(t, n, 20)
		err = put(f.DB, key(n), value)
	}
	require.ErrorIs(t, err, ErrNoSpace)
	require.Greater(t, n, 10)
	require.EqualValues(t, 1, f.SpillStats().SpillStarts["space"])
	require.Zero(t, f.stub.loads())
	require.Equal(t, 1, f.stub.sends())
	require.Equal(t, value, f.get(key(0)))

	d.badgerFree.Store(1 << 30)
	f.room.Look()
	f.drained()
	f.direct()
	require.Equal(t, value, f.get(key(n-2)))
	require.Equal(t, value, f.inBadger(key(n-2)))
	f.put("b", "2")
	require.Equal(t, 2, f.stub.sends())
	f.settledClaims()
}

// The spill's disk fails while Badger's volume is low: the commit must not go there after all.
func TestBadgerVolumeLowAndTheSpillFails(t *testing.T) {
	d := newDisks(1 << 30)
	d.separate = true
	f := open(t, on(d))
	d.badgerFree.Store(testFloor - 1)
	f.room.Look()
	f.hooks.set(failSegmentWrites)
	require.ErrorIs(t, put(f.DB, "a", "1"), errTest)
	require.Zero(t, f.stub.sends())
	require.ErrorIs(t, put(f.DB, "a", "1"), ErrNoSpace, "the spill is not tried for a second")
	f.hooks.clear()
	f.room.RetrySpill(0)
	f.put("a", "2")
	require.Equal(t, "2", f.get("a"))
	f.settledClaims()
}

// One commit does not fit, though others do.
func TestNoSpaceForALargeCommit(t *testing.T) {
	d := newDisks(testFloor + room.Step + 1<<20)
	f := open(t, on(d), func(opt *Options) { opt.MemTableSize = 32 << 20 })
	large := incompressible(4<<20-1, 1)
	require.Greater(t, room.BadgerCost(int64(len(large)), int64(len(large))), int64(room.Step+1<<20))
	require.Less(t, int64(len(large)), f.MaxBatchSize())
	err := f.Update(func(txn *Txn) error {
		for i := range 4 {
			if err := txn.Set([]byte(key(i)), []byte(large[i<<20:min((i+1)<<20-1, len(large))])); err != nil {
				return err
			}
		}
		return nil
	})
	require.ErrorIs(t, err, ErrNoSpace)
	require.ErrorContains(t, err, "this needs")
	f.put("small", "1")
	f.settledClaims()
}

// A volume as small as a few memtables, and a burst far faster than the interval between two looks.
// What is claimed since the last look must keep Badger within the volume, with all that it writes
// of its own accord.
func TestBurstStaysWithinASmallVolume(t *testing.T) {
	for _, policy := range []SpillPolicy{Auto, Never, Always} {
		t.Run(policy.String(), func(t *testing.T) {
			bounded(t)
			d := newDisks(0)
			d.dir, d.measure = t.TempDir(), 48<<20
			f := openAt(t, d.dir, eager, func(opt *Options) {
				opt.MemTableSize, opt.NumMemtables, opt.NumLevelZeroTables = 1<<20, 3, 2
				opt.BaseTableSize, opt.BaseLevelSize, opt.ValueThreshold = 512<<10, 2<<20, 64<<10
				opt.SpillPolicy, opt.StallThreshold = policy, 2*time.Millisecond
				opt.MinFreeSpace, opt.seams.fs = 0, d
			})
			var acked atomic.Int64
			ended := make(chan error, 4)
			var writers kit.WaitGroup
			stop := make(chan struct{})
			for w := range 4 {
				writers.Go(func() {
					for i := 0; ; i++ {
						if err := put(f.DB, string(rune('a'+w))+key(i), incompressible(20<<10, w<<20|i)); err != nil {
							ended <- err
							return
						}
						acked.Add(1)
					}
				})
			}
			var watcher kit.WaitGroup
			watcher.Go(func() {
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-tick.C:
						d.left()
					case <-stop:
						return
					}
				}
			})
			writers.Wait()
			for range 4 {
				require.ErrorIs(t, <-ended, ErrNoSpace)
			}
			// What is on its way yet: flushes and compactions.
			eventually(t, "memtables are flushed", func() bool { return !f.memtables.Flushing() })
			never(t, 100*time.Millisecond, "the volume is exceeded", func() bool { return d.left() < 0 })
			close(stop)
			watcher.Wait()
			t.Logf("%d commits of 20 KiB, %d looks, %d KiB free at the least, reserve %d KiB", acked.Load(), d.looks.Load(), d.least.Load()>>10, f.room.Status().Reserve>>10)
			require.Positive(t, d.least.Load())
			require.Greater(t, acked.Load(), int64(200), "most of the volume can be used")
			f.settledClaims()
		})
	}
}

func TestReserveIsWhatBadgerMayWrite(t *testing.T) {
	f := open(t, func(opt *Options) { opt.MinFreeSpace, opt.seams.fs = 0, newDisks(1<<40); small(opt) })
	require.Zero(t, f.room.Status().Reserve, "a new database needs none")
	for i := range 3 {
		f.put(key(i), incompressible(800, i))
	}
	held := f.account.UsageByKind(wbm.Memtable)
	require.Positive(t, held)
	require.Equal(t, 2*held, f.room.Status().Reserve, "a table, and its compaction")
	require.NoError(t, f.stub.Seal())
	eventually(t, "the memtable is a table", func() bool {
		f.watch.hurry()
		return f.account.UsageByKind(wbm.Memtable) == 0
	})
	size := int64(0)
	for _, l := range f.Levels() {
		size += l.Size
	}
	require.Positive(t, size)
	require.GreaterOrEqual(t, f.room.Status().Reserve, size)
}

func TestOpenOnAFullVolume(t *testing.T) {
	d := newDisks(1 << 30)
	f := open(t, on(d))
	f.put("a", strings.Repeat("1", 512<<10))
	dir := crash(t, f.opt.Dir)
	d.badgerFree.Store(openSlack + 256<<10)
	_, err := tryOpen(t, dir, on(d))
	require.ErrorIs(t, err, ErrNoSpace)
	require.ErrorContains(t, err, dir)
	d.badgerFree.Store(openSlack + 2<<20)
	g := openAt(t, dir, on(d))
	require.Equal(t, f.get("a"), g.get("a"))
	require.ErrorIs(t, put(g.DB, "b", "2"), ErrNoSpace)
}

// A memtable's log may be filled for the sake of its flush: that needs no room in a table.
func TestOpenNeedsNoRoomForFilling(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprint("encrypted ", encrypted), func(t *testing.T) {
			d := newDisks(1 << 30)
			with := func(opt *Options) {
				opt.MemTableSize, opt.ValueThreshold = 16<<20, 1<<20
				if encrypted {
					opt.EncryptionKey, opt.IndexCacheSize = make([]byte, 32), 1<<20
				}
			}
			f := open(t, on(d), with)
			value := strings.Repeat("1", 512<<10)
			f.put("a", value)
			filler := host.FillerKey(f.opt.MemTableSize)
			fill := func(bytes int) {
				loader := f.inner.NewKVLoader(4)
				for n := 0; n < bytes; n += len(filler) {
					require.NoError(t, loader.Set(&pb.KV{Key: filler, Version: 1, Meta: []byte{metaDelete}}))
				}
				require.NoError(t, loader.Finish())
			}
			fill(4 << 20)
			f.put("b", "2")
			fill(2 << 20)
			dir := crash(t, f.opt.Dir)
			numbers, err := host.MemNumbers(dir)
			require.NoError(t, err)
			require.Len(t, numbers, 1)
			path := host.MemPath(dir, numbers[0])
			info, err := os.Stat(path)
			require.NoError(t, err)
			need := host.MemLogEntries(path, info.Size(), int64(len(filler)))
			require.InDelta(t, len(value), need, 1<<10)
			require.Greater(t, host.MemLogEntries(path, info.Size(), int64(len(filler))-1), int64(6<<20))

			d.badgerFree.Store(openSlack + 256<<10)
			_, err = tryOpen(t, dir, on(d), with)
			require.ErrorIs(t, err, ErrNoSpace)
			d.badgerFree.Store(openSlack + 600<<10)
			g := openAt(t, dir, on(d), with)
			require.Equal(t, value, g.get("a"))
			require.Equal(t, "2", g.get("b"))
		})
	}
}

func TestNoSpaceForValueLogGC(t *testing.T) {
	d := newDisks(1 << 40)
	f := open(t, on(d), func(opt *Options) { opt.ValueThreshold, opt.ValueLogFileSize = 1<<10, 4<<20 })
	for i := range 24 {
		f.put(key(i%4), incompressible(300<<10, i))
	}
	cost := f.opt.collectCost(0.1)
	require.Greater(t, cost, int64(3<<20))
	require.Less(t, cost, int64(8<<20))
	require.Zero(t, f.opt.collectCost(1))
	d.badgerFree.Store(testFloor)
	f.room.Look()
	require.ErrorIs(t, f.RunValueLogGC(0.1), ErrNoSpace)
	d.badgerFree.Store(1 << 40)
	f.room.Look()
	require.NotErrorIs(t, f.RunValueLogGC(0.1), ErrNoSpace)
	require.ErrorIs(t, f.RunValueLogGC(1), badger.ErrInvalidRequest)
	f.settledClaims()
}

// A spill that has filled the volume could not be replayed, and only replay makes room: it must
// leave what that takes.
func TestSpillLeavesRoomForItsReplay(t *testing.T) {
	d := newDisks(1 << 30)
	f := open(t, on(d), func(opt *Options) { opt.Tuning.SegmentSize = 1 << 20 })
	free := f.occupy(f.share(0.95))
	for i := range 12 {
		f.put(key(i), incompressible(256<<10, i))
	}
	free()
	live := f.log.State().LiveBytes
	require.Greater(t, live, int64(2<<20))
	require.EqualValues(t, room.ReplayCost*room.ReplaySegments<<20, f.room.Status().ReplayRoom, "of two segments at most")
	d.badgerFree.Store(testFloor + 2*room.Step - 1)
	f.room.Look()
	require.NoError(t, f.room.Check(), "Badger has room")
	waits := f.putAsync("a", "1")
	require.NoError(t, receive(t, "the commit that waits for replay", waits))
	f.direct()
	require.Equal(t, Direct, f.routerState())
	require.Equal(t, incompressible(256<<10, 11), f.inBadger(key(11)))
	f.settledClaims()
}

func TestSpillOnAVolumeThatIsNotKnown(t *testing.T) {
	f := open(t, func(opt *Options) { opt.MinFreeSpace, opt.seams.fs = 0, noStat{newDisks(1 << 40)} })
	require.False(t, f.room.Status().Separate)
	require.True(t, f.room.Status().Shared)
}

type noStat struct{ *disks }

func (n noStat) Stat(name string) (fs.FileInfo, error) {
	if strings.HasSuffix(name, "spill") {
		return nil, os.ErrPermission
	}
	return n.disks.Stat(name)
}

func TestCloseWhileSpaceIsLow(t *testing.T) {
	d := newDisks(1 << 30)
	f := open(t, on(d), func(opt *Options) { opt.KeepSpillOnClose = true })
	f.spillOne("a", "1")
	waits := make(chan error, 1)
	d.badgerFree.Store(testFloor)
	f.room.Look()
	go func() { waits <- f.Drain(context.Background()) }()
	require.NoError(t, receive(t, "Close", async(f.Close)))
	require.Error(t, receive(t, "Drain", waits))
}
