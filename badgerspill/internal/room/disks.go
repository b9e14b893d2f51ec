package room

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// interval is how often free space is looked at without a reason, in nanoseconds.
	interval = int64(100 * time.Millisecond)
	// Step is how many bytes there must be above the floor for service to be normal: one batch of
	// replay with all that it will cost. Room for less would let commits and replay fail and
	// succeed in turn.
	Step = 8 << 20
	// unknown is the room where it is not knowable: writes report what they meet.
	unknown = int64(math.MaxInt64 / 4)
)

// disks keeps the volumes above their floors: see the package's comment for how it counts.
type disks struct {
	env    *Env
	opt    Options
	shared bool // the spill's volume is one of Badger's, or may be

	badger, spill side

	inFlight atomic.Int64 // bytes claimed and not settled
	written  atomic.Int64 // bytes settled, ever
	last     atomic.Int64 // when it was looked at last, in nanoseconds of Env.Now

	asking struct { // for looks in the background
		sync.Mutex
		stopped bool
	}

	looking sync.Mutex // one look at a time
}

// side is what is known of the volumes of one side: Badger's, or the spill's.
type side struct {
	dirs []string
	room atomic.Int64 // bytes above the floor at the last look
	// disks.written then; stored after room, and read before it: the other way round would forget
	// bytes
	mark  atomic.Int64
	short atomic.Pointer[ShortError] // nil: it has room
	// floor is that of the volume that has the least room above it; 0 if none is known.
	floor atomic.Int64
}

func (d *disks) init(env *Env, opt Options) {
	d.env, d.opt = env, opt
	d.last.Store(math.MaxInt64) // none is due before the first
	if opt.Off {
		return
	}
	for _, dir := range opt.BadgerDirs {
		d.badger.add(dir)
	}
	if env.Log != nil {
		d.spill.add(opt.SpillDir)
	}
	if d.shared = d.sharesVolume(); d.shared {
		d.spill.dirs = d.badger.dirs
	}
}

func (s *side) add(dir string) {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	for _, have := range s.dirs {
		if have == dir {
			return
		}
	}
	s.dirs = append(s.dirs, dir)
}

// sharesVolume is true where it cannot be known: a floor that is too high costs less than one that
// is too low.
func (d *disks) sharesVolume() bool {
	for _, spill := range d.spill.dirs {
		theirs, ok := d.volume(spill)
		if !ok {
			return true
		}
		for _, dir := range d.badger.dirs {
			if ours, ok := d.volume(dir); !ok || ours == theirs {
				return true
			}
		}
	}
	return false
}

func (d *disks) volume(dir string) (uint64, bool) {
	_, info, err := Nearest(d.env.Files, dir)
	if err != nil {
		return 0, false
	}
	return d.env.Volume(info)
}

// Nearest returns dir, or if that is not there yet what is nearest above it. It blocks for the file
// system.
func Nearest(files Files, dir string) (string, fs.FileInfo, error) {
	info, err := files.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		info, err = files.Stat(dir)
	}
	return dir, info, err
}

// separate reports whether the spill has a volume of its own.
func (d *disks) separate() bool { return !d.opt.Off && !d.shared && len(d.spill.dirs) > 0 }

// look takes the free space of all volumes.
func (d *disks) look() {
	if d.opt.Off {
		return
	}
	d.looking.Lock()
	defer d.looking.Unlock()
	d.last.Store(d.env.Now())
	// Before everything else: what is settled after this counts twice until the next look, never
	// not at all.
	mark := d.written.Load()
	d.lookAt(&d.badger, mark)
	if len(d.spill.dirs) == 0 {
		d.spill.short.Store(d.badger.short.Load())
		return
	}
	d.lookAt(&d.spill, mark)
}

// lookAt takes the free space of one side's volumes, and tells the listener. Needs looking.
func (d *disks) lookAt(s *side, mark int64) {
	room, tightest := unknown, (*ShortError)(nil)
	s.floor.Store(0)
	for _, dir := range s.dirs {
		free, total, err := d.env.Files.Free(dir)
		if err != nil {
			continue
		}
		floor := d.floorOf(s, total)
		if left := free - floor; left < room {
			room, tightest = left, &ShortError{Dir: dir, Free: free, Floor: floor}
			s.floor.Store(floor)
		}
	}
	// Without inodes bytes are of no use: there is no room then.
	for _, dir := range s.dirs {
		free, err := d.env.Files.FreeFiles(dir)
		if err != nil {
			continue
		}
		if floor := d.filesFloor(s); free < floor && room >= Step {
			room, tightest = 0, &ShortError{Dir: dir, Free: free, Floor: floor, Files: true}
		}
	}
	s.room.Store(room)
	s.mark.Store(mark)
	if room >= Step {
		tightest = nil
	}
	switch was := s.short.Swap(tightest); {
	case tightest != nil && was == nil:
		d.env.Listener.Low(s == &d.spill, tightest)
	case tightest == nil && was != nil:
		d.env.Listener.HasRoom(s == &d.spill, was.Dir)
	}
}

// left returns the room above the floor, what was claimed since the last look taken off.
func (d *disks) left(s *side) int64 {
	mark := s.mark.Load()
	return s.room.Load() - (d.written.Load() - mark) - d.inFlight.Load()
}

// low returns why a side's volume takes nothing as of the last look, nil if it does.
func (d *disks) low(s *side) error {
	if short := s.short.Load(); short != nil {
		return short
	}
	return nil
}

// due reports whether it is time for a look, which the caller must take then.
func (d *disks) due() bool {
	if d.opt.Off {
		return false
	}
	now, last := d.env.Now(), d.last.Load()
	return now-last >= interval && d.last.CompareAndSwap(last, now)
}

// refresh looks if that is due. It may block for the file system.
func (d *disks) refresh() {
	if d.due() {
		d.look()
	}
}

// refreshSoon is refresh for who must not block.
func (d *disks) refreshSoon() {
	if !d.due() {
		return
	}
	d.asking.Lock()
	defer d.asking.Unlock()
	if !d.asking.stopped {
		d.env.Background(d.look)
	}
}

// stop ends looks in the background; closing waits for the last one.
func (d *disks) stop() {
	d.asking.Lock()
	defer d.asking.Unlock()
	d.asking.stopped = true
}

// spillUsable reports whether the spill's volume has room. It does not block.
func (d *disks) spillUsable() bool {
	d.refreshSoon()
	return d.spill.short.Load() == nil
}

// claim takes n bytes of a side's room, to be settled once they are written, or not going to be.
// Without room it returns an error matching ErrNoSpace, and nothing is taken.
func (d *disks) claim(s *side, n int64) error {
	if d.opt.Off {
		return nil
	}
	d.refresh()
	d.inFlight.Add(n)
	if d.left(s) >= Step {
		return nil
	}
	d.look()
	left, low := d.left(s), d.low(s)
	if low == nil && left >= 0 {
		return nil
	}
	d.inFlight.Add(-n)
	if low != nil {
		return low
	}
	for _, dir := range s.dirs {
		if free, total, err := d.env.Files.Free(dir); err == nil {
			return &ShortError{Dir: dir, Free: free, Floor: d.floorOf(s, total), Need: n}
		}
	}
	return &ShortError{Dir: s.dirs[0], Need: n}
}

// force is claim for what must pass.
func (d *disks) force(n int64) {
	if !d.opt.Off {
		d.inFlight.Add(n)
	}
}

// settle ends a claim of n bytes that may have been written.
func (d *disks) settle(n int64) {
	if !d.opt.Off {
		d.written.Add(n) // first: they must not be counted nowhere
		d.inFlight.Add(-n)
	}
}

// cancel ends a claim of n bytes of which nothing was written.
func (d *disks) cancel(n int64) {
	if !d.opt.Off {
		d.inFlight.Add(-n)
	}
}
