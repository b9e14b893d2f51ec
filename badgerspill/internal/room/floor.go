package room

import (
	"math"

	"github.com/badgerspill/badgerspill/wbm"
)

const (
	// ReplayCost is how much room replay of some bytes of the spill needs before they are dropped:
	// as BadgerCost, for values.
	ReplayCost = 4
	// ReplaySegments is for how many segments, at most, that room is kept free.
	ReplaySegments = 2

	// SpillFiles is the floor of inodes on the spill's volume: some segments with their indexes,
	// and what is renamed into place.
	SpillFiles = 16
	// BadgerFiles is the floor on Badger's volume, beside the tables that it may make: logs of
	// memtables and values, manifests.
	BadgerFiles = 64
)

// BadgerCost is what entries cost on Badger's volume in the end, at most: log, table, the
// compaction of that (see reserve), and the value log. memory is what they take of the memory
// budget, raw the bytes of their keys and values.
func BadgerCost(memory, raw int64) int64 { return 3*memory + raw }

// reserve returns how much Badger may write of its own accord at most, with what it holds now,
// before it gives back anything. That is the tables of all memtables, then a compaction of level 0,
// these included, with the base level, and beside it one of the other levels by each other
// compactor. It writes new tables before it removes what they replace.
func (d *disks) reserve() int64 {
	unflushed := d.env.Memory.UsageByKind(wbm.Memtable)
	need := 2 * unflushed
	var deep, file int64
	for _, l := range d.env.Badger.Levels() {
		if l.Level == 0 {
			need += l.Size
			continue
		}
		if l.IsBaseLevel {
			need += l.Size
		}
		if l.Size > 0 {
			deep += l.Size
			file = max(file, l.TargetFileSize)
		}
	}
	// A table and about as many below it as a level is larger than the one above.
	each := file * int64(d.opt.LevelSizeMultiplier+2)
	return need + min(deep, each*int64(max(d.opt.NumCompactors-1, 1)))
}

// replayRoom returns what a spill on Badger's volume must leave there beside Badger's floor:
// without it a full volume would keep the spill from being replayed, which alone makes room.
func (d *disks) replayRoom() int64 {
	return ReplayCost * min(d.env.Log.State().LiveBytes, ReplaySegments*d.env.Replay.SegmentSize())
}

// floor returns the floor of a volume of total bytes.
func (d *disks) floor(total, reserve int64) int64 {
	if d.opt.MinFree != 0 {
		return d.opt.MinFree
	}
	return max(min(1<<30, total/100), reserve)
}

// floorOf returns the floor of a side on a volume of total bytes.
func (d *disks) floorOf(s *side, total int64) int64 {
	switch {
	case s == &d.badger:
		return d.floor(total, d.reserve())
	case d.shared:
		return d.floor(total, d.reserve()) + d.replayRoom()
	default:
		return d.floor(total, 0)
	}
}

// filesFloor returns how many inodes a volume of a side must have free. On Badger's these are those
// of the tables that it may write before it removes any, see reserve; on one with the spill, those
// of the tables of a replay, too, which alone makes room.
func (d *disks) filesFloor(s *side) int64 {
	table := max(d.opt.BaseTableSize, 1<<20)
	floor := BadgerFiles + d.reserve()/table
	switch {
	case s == &d.badger:
		return floor
	case d.shared:
		return floor + d.replayRoom()/table + SpillFiles
	default:
		return SpillFiles
	}
}

// ChunkRoom returns how many bytes a chunk of the spill may have: on Badger's volume its segments
// take room until all of it is in Badger. It does not block.
func (r *Room) ChunkRoom() int64 {
	d := &r.disks
	if d.opt.Off || !d.shared {
		return math.MaxInt64
	}
	return max(d.left(&d.badger)/ReplayCost, r.env.Replay.SegmentSize())
}

// Floor returns the floor of Badger's volume in bytes at the last look, 0 if it is not known. ok is
// false if the disks are not looked at.
func (r *Room) Floor() (bytes int64, ok bool) {
	return r.disks.badger.floor.Load(), !r.disks.opt.Off
}

// Volume is the room on one volume, in bytes.
type Volume struct {
	Dir         string // on it
	Free, Total int64
	Floor       int64 // 0 if the disks are not looked at
}

// Volumes returns the volumes of directories: each once, those left out that cannot be looked up.
// It blocks for the file system.
func (r *Room) Volumes(dirs ...string) (all []Volume) {
	d := &r.disks
	volumes, names := map[uint64]bool{}, map[string]bool{}
	for _, dir := range dirs {
		there, _, err := Nearest(r.env.Files, dir)
		if err != nil || names[dir] {
			continue
		}
		volume, known := d.volume(dir)
		if known && volumes[volume] {
			continue
		}
		free, total, err := r.env.Files.Free(there)
		if err != nil {
			continue
		}
		names[dir], volumes[volume] = true, known
		v := Volume{Dir: dir, Free: free, Total: total}
		if !d.opt.Off {
			s := &d.badger
			if dir == d.opt.SpillDir && d.separate() {
				s = &d.spill
			}
			v.Floor = d.floorOf(s, total)
		}
		all = append(all, v)
	}
	return all
}

// Status is what is known of the disks, for tests and for who looks for a fault.
type Status struct {
	Room       int64 // above the floor of Badger's volume at the last look; see Step
	Reserve    int64 // bytes that Badger may write of its own accord
	ReplayRoom int64 // bytes that a spill on its volume must leave beside that
	FilesFloor int64 // inodes that Badger's volume must have
	Shared     bool  // the spill is on Badger's volume, or may be
	Separate   bool  // it has one of its own
}

// Status returns it. It does not block.
func (r *Room) Status() Status {
	d := &r.disks
	s := Status{Room: d.badger.room.Load(), Reserve: d.reserve(), FilesFloor: d.filesFloor(&d.badger),
		Shared: d.shared, Separate: d.separate()}
	if r.env.Log != nil {
		s.ReplayRoom = d.replayRoom()
	}
	return s
}
