//go:build go1.25

package room

import (
	"io/fs"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/wbm"
)

// No time passes here between two looks: what was claimed must be counted, in flight or written, by
// however many at once.
func TestClaimsCountDownBetweenLooks(t *testing.T) {
	const room = 64 * mib
	bubble(t, func(t *testing.T, w *world) {
		v := w.files.badger
		v.set(func(v *volume) { v.free = testFloor + room })
		w.Look()
		var claimed atomic.Int64
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				for w.ClaimBadger(mib) == nil {
					claimed.Add(mib)
				}
			})
		}
		writers.Wait()
		require.LessOrEqual(t, claimed.Load(), int64(room))
		require.Greater(t, claimed.Load(), int64(room-8*mib), "nobody is refused before the room is used up")

		w.Settle(claimed.Load()) // written, but the last look does not know
		require.Zero(t, w.InFlight())
		require.Less(t, w.left(), int64(Step))
		v.set(func(v *volume) { v.free -= claimed.Load() })
		require.ErrorIs(t, w.ClaimBadger(8*mib), ErrNoSpace)
		require.Zero(t, w.InFlight(), "a refused claim takes nothing")

		v.set(func(v *volume) { v.free = testFloor + room })
		require.NoError(t, w.ClaimBadger(mib), "a claim that finds too little looks at once")
		w.Settle(mib)
	})
}

// What is settled while a look asks the disk may be in the answer, or not. It must count against
// the room either way.
func TestSettledDuringALook(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		before := w.left()
		require.NoError(t, w.ClaimBadger(10*mib))
		once := sync.OnceFunc(func() { w.Settle(10 * mib) })
		w.files.mu.Lock()
		w.files.onFree = once // the answer was without it
		w.files.mu.Unlock()
		w.Look()
		require.Equal(t, before-10*mib, w.left())
		w.files.badger.set(func(v *volume) { v.free -= 10 * mib })
		w.Look()
		require.Equal(t, before-10*mib, w.left(), "once, now that the disk shows it")
	})
}

// Free space is looked at every 100 ms if somebody asks, in the background for who must not block,
// and not any more after Stop.
func TestLooksThatAreDue(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.Equal(t, 2, w.files.looks(), "Badger's side and the spill's")
		for range 3 {
			require.NoError(t, w.Check())
			require.True(t, w.SpillUsable())
		}
		time.Sleep(time.Duration(interval) - 1)
		require.NoError(t, w.Check())
		require.Zero(t, w.files.looks())
		time.Sleep(time.Nanosecond)
		require.NoError(t, w.Check())
		require.Equal(t, 2, w.files.looks())

		w.files.badger.set(func(v *volume) { v.free = 0 })
		require.NoError(t, w.Room.Low(), "as of the last look")
		time.Sleep(time.Duration(interval))
		require.True(t, w.SpillUsable(), "it does not wait for the look")
		synctest.Wait()
		require.Equal(t, 2, w.files.looks())
		require.False(t, w.SpillUsable())
		require.ErrorIs(t, w.Room.Low(), ErrNoSpace)

		w.Stop()
		time.Sleep(time.Duration(interval))
		require.False(t, w.SpillUsable())
		synctest.Wait()
		require.Zero(t, w.files.looks())
	})
}

// The listener is told of each change once, by side.
func TestListener(t *testing.T) {
	for _, row := range []struct {
		name       string
		changes    []func(*world, *Env, *Options)
		first      []string // Badger's volume gets low
		second     []string // and the spill's
		last, none []string // both have room again
	}{
		{"one volume", nil, []string{"low badger in badger", "low spill in badger"}, nil,
			[]string{"room badger in badger", "room spill in badger"}, nil},
		{"two volumes", with(apart), []string{"low badger in badger"}, []string{"low spill in spill"},
			[]string{"room badger in badger", "room spill in spill"}, nil},
		{"no spill", with(unlogged), []string{"low badger in badger"}, nil, []string{"room badger in badger"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.badgerLow()
				w.Look()
				require.Equal(t, row.first, w.notes())
				w.spillLow()
				require.Equal(t, row.second, w.notes())
				for _, v := range []*volume{w.files.badger, w.files.spill} {
					v.set(func(v *volume) { v.free = testFloor + Step })
				}
				w.Look()
				require.Equal(t, row.last, w.notes())
				require.True(t, w.SpillUsable())
				w.Look()
				require.Equal(t, row.none, w.notes())
			}, row.changes...)
		})
	}
}

// Less than Step above the floor is none.
func TestStep(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.files.badger.set(func(v *volume) { v.free = testFloor + Step - 1 })
		w.Look()
		require.ErrorIs(t, w.Room.Low(), ErrNoSpace)
		w.files.badger.set(func(v *volume) { v.free = testFloor + Step })
		w.Look()
		require.NoError(t, w.Room.Low())
	})
}

// The reserve is the tables of all memtables and their compaction with the base level, and beside
// it a compaction of other levels by each other compactor.
func TestReserve(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.Zero(t, w.Status().Reserve, "a new database needs none")
		w.memory.Force(wbm.Memtable, 5*mib)
		require.EqualValues(t, 2*5*mib, w.Status().Reserve, "a table, and its compaction")
		w.badger.set(func() {
			w.badger.levels = []badger.LevelInfo{
				{Level: 0, Size: 3 * mib},
				{Level: 1, Size: 0, TargetFileSize: 100 * mib}, // it has no tables
				{Level: 2, Size: 10 * mib, TargetFileSize: 2 * mib, IsBaseLevel: true},
				{Level: 3, Size: 50 * mib, TargetFileSize: 2 * mib},
			}
		})
		require.EqualValues(t, (10+3+10+60)*mib, w.Status().Reserve, "no more than there is below level 0")
		w.badger.set(func() { w.badger.levels[3].Size = 500 * mib })
		require.EqualValues(t, (10+3+10+2*12*3)*mib, w.Status().Reserve, "a table and 11 below it, by 3 compactors")
		require.EqualValues(t, BadgerFiles+(10+3+10+2*12*3)/2, w.Status().FilesFloor)
		w.disks.opt.NumCompactors = 0
		require.EqualValues(t, (10+3+10+2*12)*mib, w.Status().Reserve)
	})
}

// The default floor is a hundredth of the volume, 1 GiB at most, and what Badger needs at least.
// The spill's on the same volume is higher by what its replay needs, of two segments at most.
func TestFloors(t *testing.T) {
	defaults := func(_ *world, _ *Env, opt *Options) { opt.MinFree = 0 }
	floors := func(w *world) (badgers, spills int64) {
		w.Look()
		return w.disks.badger.floor.Load(), w.disks.spill.floor.Load()
	}
	for name, separate := range map[string]bool{"one volume": false, "two volumes": true} {
		t.Run(name, func(t *testing.T) {
			changes := with(defaults)
			if separate {
				changes = append(changes, apart)
			}
			bubble(t, func(t *testing.T, w *world) {
				badgers, spills := floors(w)
				require.Equal(t, [2]int64{1 << 30, 1 << 30}, [2]int64{badgers, spills})
				for _, v := range []*volume{w.files.badger, w.files.spill} {
					v.set(func(v *volume) { v.total = 1000 * mib })
				}
				badgers, spills = floors(w)
				require.Equal(t, [2]int64{10 * mib, 10 * mib}, [2]int64{badgers, spills})
				w.memory.Force(wbm.Memtable, 25*mib)
				w.log.set(func() { w.log.live = mib / 2 })
				badgers, spills = floors(w)
				want, chunk := int64(10*mib), int64(math.MaxInt64)
				if !separate {
					want, chunk = 50*mib+ReplayCost*mib/2, w.left()/ReplayCost
				}
				require.Equal(t, [2]int64{50 * mib, want}, [2]int64{badgers, spills})
				require.EqualValues(t, ReplayCost*mib/2, w.Status().ReplayRoom)
				require.Equal(t, chunk, w.ChunkRoom())
				w.log.set(func() { w.log.live = 100 * mib })
				require.EqualValues(t, ReplayCost*ReplaySegments*mib, w.Status().ReplayRoom)
				floor, ok := w.Floor()
				require.True(t, ok)
				require.Equal(t, badgers, floor)
			}, changes...)
		})
	}
	bubble(t, func(t *testing.T, w *world) {
		w.memory.Force(wbm.Memtable, 55*mib)
		badgers, spills := floors(w)
		require.Equal(t, [2]int64{testFloor, testFloor}, [2]int64{badgers, spills}, "one that is set is taken as it is")
		w.files.badger.set(func(v *volume) { v.free = testFloor })
		w.Look()
		require.EqualValues(t, mib, w.ChunkRoom(), "a segment at least")
	})
}

// Below the floor of inodes there is no room, whatever bytes are free.
func TestInodes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.files.badger.set(func(v *volume) { v.files = BadgerFiles - 1 })
		w.Look()
		require.ErrorIs(t, w.Room.Low(), ErrNoSpace)
		require.ErrorContains(t, w.Room.Low(), "inodes")
		require.True(t, w.SpillUsable())
		w.files.badger.set(func(v *volume) { v.files = BadgerFiles })
		w.files.spill.set(func(v *volume) { v.files = SpillFiles - 1 })
		w.Look()
		require.NoError(t, w.Room.Low())
		require.False(t, w.SpillUsable())
	}, apart)
	bubble(t, func(t *testing.T, w *world) { // the spill's floor on one volume is above Badger's
		w.log.set(func() { w.log.live = 2 * mib })
		replay := int64(ReplayCost * 2 / 2) // tables of 2 MiB
		w.files.badger.set(func(v *volume) { v.files = BadgerFiles + SpillFiles + replay - 1 })
		w.Look()
		require.NoError(t, w.Room.Low())
		require.False(t, w.SpillUsable())
		w.files.badger.set(func(v *volume) { v.files++ })
		w.Look()
		require.True(t, w.SpillUsable())
	})
}

// Where nobody tells the room it is unlimited.
func TestRoomThatNobodyTells(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.files.badger.set(func(v *volume) { v.free = -1 })
		w.Look()
		require.NoError(t, w.Room.Low())
		require.NoError(t, w.ClaimBadger(1<<40))
		w.Settle(1 << 40)
		floor, ok := w.Floor()
		require.Zero(t, floor)
		require.True(t, ok)
		require.Equal(t, unknown, w.Status().Room)
		require.Empty(t, w.Volumes("/badger", "/spill"))
	})
}

// Which directories are on one volume. Those of which that is not known are taken for one.
func TestVolumes(t *testing.T) {
	vol := func(dir string, floor int64) Volume { return Volume{dir, testFloor + 1<<30, 1 << 40, floor} }
	for _, row := range []struct {
		name    string
		changes []func(*world, *Env, *Options)
		shared  bool
		want    []Volume
	}{
		{"one", nil, true, []Volume{vol("/badger", testFloor)}},
		{"two", with(apart), false, []Volume{vol("/badger", testFloor), vol("/spill", testFloor)}},
		{"no spill", with(unlogged), false, []Volume{vol("/badger", testFloor)}},
		{"not known", with(func(w *world, _ *Env, _ *Options) {
			w.files.badger, w.files.spill = newVolume(0), newVolume(0)
		}), true, []Volume{vol("/badger", testFloor), vol("/spill", testFloor)}},
		{"the spill's is not known", with(func(w *world, _ *Env, _ *Options) {
			w.files.spill = newVolume(0)
		}), true, []Volume{vol("/badger", testFloor), vol("/spill", testFloor)}},
		{"Badger's is not there yet", with(func(w *world, _ *Env, _ *Options) {
			w.files.missing = map[string]bool{"badger": true}
		}), true, []Volume{vol("/badger", testFloor)}},
		{"not to be looked up", with(func(w *world, _ *Env, _ *Options) { w.files.statErr = fs.ErrPermission }), true, nil},
		{"not looked at", with(apart, func(_ *world, _ *Env, opt *Options) { opt.Off = true }), false,
			[]Volume{vol("/badger", 0), vol("/spill", 0)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				require.Equal(t, row.shared, w.Status().Shared)
				require.Equal(t, row.name == "two", w.Status().Separate)
				require.Equal(t, row.want, w.Volumes("/badger", "/badger", "/spill"))
			}, row.changes...)
		})
	}
}

// Nearest goes up to what is there.
func TestNearest(t *testing.T) {
	files := &fakeFiles{badger: newVolume(1), missing: map[string]bool{"b": true, "c": true}}
	files.spill = files.badger
	dir, info, err := Nearest(files, filepath.Join("a", "b", "c"))
	require.NoError(t, err)
	require.Equal(t, "a", dir)
	require.Equal(t, fakeInfo{volume: 1}, info)
	files.statErr = fs.ErrPermission
	_, _, err = Nearest(files, "a")
	require.ErrorIs(t, err, fs.ErrPermission)
}

// With the check off nothing is counted, and the file system is not asked.
func TestOff(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.files.badger.set(func(v *volume) { v.free = 0 })
		time.Sleep(time.Hour)
		require.NoError(t, w.Check())
		require.True(t, w.SpillUsable())
		require.NoError(t, w.ClaimBadger(1<<40))
		require.Zero(t, w.InFlight())
		w.Settle(1 << 40)
		c := &pipeline.Commit{Memory: 3000, RawBytes: 500}
		ticket, turn, err := w.Reserve(request, &pipeline.Wait{})
		require.NoError(t, err)
		require.Equal(t, pipeline.NoTurn, turn)
		ticket, _, err = w.Claim(ticket, c)
		require.NoError(t, err)
		w.Cancel(ticket)
		w.ForceDirect(c)
		require.Equal(t, [4]int64{3000, 0, 0, 0}, w.held())
		require.Zero(t, w.files.looks())
		_, ok := w.Floor()
		require.False(t, ok)
		require.EqualValues(t, int64(math.MaxInt64), w.ChunkRoom())
	}, func(_ *world, _ *Env, opt *Options) { opt.Off = true })
}

// The texts name both values that disagree, and the way out.
func TestShortError(t *testing.T) {
	for want, e := range map[string]*ShortError{
		"badgerspill: free disk space is below MinFreeSpace: d has 1 bytes free, the floor is 2; make room, or lower MinFreeSpace":                          {Dir: "d", Free: 1, Floor: 2},
		"badgerspill: free disk space is below MinFreeSpace: d has 1 bytes free, the floor is 2, and this needs 3; make room, or lower MinFreeSpace":        {Dir: "d", Free: 1, Floor: 2, Need: 3},
		"badgerspill: no free inodes: d has those for 1 more files, the floor is 2; have fewer files of others there, or give it a volume with more inodes": {Dir: "d", Free: 1, Floor: 2, Files: true},
	} {
		require.EqualError(t, e, want)
		require.ErrorIs(t, e, ErrNoSpace)
	}
}
