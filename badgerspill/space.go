package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/wbm"
)

const (
	// spaceInterval is how often free space is looked at without a reason.
	spaceInterval = int64(100 * time.Millisecond)
	// spaceStep is how much room there must be above the floor for service to be normal: one batch
	// of replay with all that it will cost. Room for less would let commits and replay fail and
	// succeed in turn.
	spaceStep = 8 << 20
	// openSlack is what Badger needs to open, beside the tables of the memtable logs that it finds:
	// the first pages of new logs.
	openSlack = 1 << 20
	// openFiles is how many files Badger makes to open, beside those tables: logs, manifests and
	// what is renamed into place.
	openFiles = 16
)

// diskSpace keeps the volumes above their floors. Badger's logs and tables are memory-mapped, and a
// page that the disk has no room for ends the process with SIGBUS; so what Badger is going to write
// must have room before it is told to.
//
// A look takes the free space and what Badger will write of its own accord (reserve). Whatever is
// written after it counts against what was left then: first as in flight, from before it is written
// until Badger or the spill has answered, then as written, until the next look sees it on the disk.
// When that has used up the room, the next commit looks again. So nothing depends on how often one
// looks.
type diskSpace struct {
	db     *DB
	off    bool
	shared bool // the spill's volume is one of Badger's, or may be

	badger, spill spaceSide

	inFlight atomic.Int64 // bytes claimed and not settled
	written  atomic.Int64 // bytes settled, ever
	last     atomic.Int64 // when it was looked at last, in nanoseconds of DB.now

	asking struct { // for looks in the background
		sync.Mutex
		stopped bool
	}

	mu sync.Mutex // one look at a time
}

// spaceSide is what is known of the volumes of one side: Badger's, or the spill's.
type spaceSide struct {
	dirs []string
	room atomic.Int64 // bytes above the floor at the last look
	// diskSpace.written then; stored after room, and read before it: the other way round would
	// forget bytes
	mark atomic.Int64
	low  atomic.Pointer[spaceError]
	// floor is that of the volume that has the least room above it; 0 if none is known.
	floor atomic.Int64
}

type spaceError struct {
	dir               string
	free, floor, need int64
	files             bool // they count files, not bytes
}

func (e *spaceError) Error() string {
	if e.files {
		return fmt.Sprintf("badgerspill: no free inodes: %s has those for %d more files, the floor is %d; have fewer files of others there, or give it a volume with more inodes",
			e.dir, e.free, e.floor)
	}
	if e.need > 0 {
		return fmt.Sprintf("badgerspill: %v: %s has %d bytes free, the floor is %d, and this needs %d; make room, or lower MinFreeSpace",
			ErrNoSpace, e.dir, e.free, e.floor, e.need)
	}
	return fmt.Sprintf("badgerspill: %v: %s has %d bytes free, the floor is %d; make room, or lower MinFreeSpace",
		ErrNoSpace, e.dir, e.free, e.floor)
}

func (e *spaceError) Is(target error) bool { return target == ErrNoSpace }

func newDiskSpace(db *DB) *diskSpace {
	s := &diskSpace{db: db}
	if db.opt.InMemory || db.opt.ReadOnly || db.opt.MinFreeSpace < 0 {
		s.off = true
		return s
	}
	s.badger.add(db.opt.Dir)
	s.badger.add(db.opt.ValueDir)
	if db.log != nil {
		s.spill.add(db.opt.SpillDir)
	}
	if s.shared = s.sharesVolume(); s.shared {
		s.spill.dirs = s.badger.dirs
	}
	s.look()
	return s
}

func (s *spaceSide) add(dir string) {
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
func (s *diskSpace) sharesVolume() bool {
	for _, spill := range s.spill.dirs {
		theirs, ok := s.volume(spill)
		if !ok {
			return true
		}
		for _, dir := range s.badger.dirs {
			if ours, ok := s.volume(dir); !ok || ours == theirs {
				return true
			}
		}
	}
	return false
}

func (s *diskSpace) volume(dir string) (uint64, bool) {
	_, info, err := s.db.opt.nearest(dir)
	if err != nil {
		return 0, false
	}
	return s.db.opt.system().volume(info)
}

// nearest returns dir, or if that is not there yet what is nearest above it.
func (opt *Options) nearest(dir string) (string, fs.FileInfo, error) {
	info, err := opt.fs().Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		info, err = opt.fs().Stat(dir)
	}
	return dir, info, err
}

// separate reports whether the spill has a volume of its own.
func (s *diskSpace) separate() bool { return !s.off && !s.shared && len(s.spill.dirs) > 0 }

// sideOf returns whose floor holds for what takes that way.
func (s *diskSpace) sideOf(way wbm.Outcome) *spaceSide {
	if way == wbm.Spilled {
		return &s.spill
	}
	return &s.badger
}

const (
	// replayCost is how much room replay of some bytes of the spill needs before they are dropped:
	// as badgerCost, for values.
	replayCost = 4
	// replaySegments is for how many segments, at most, that room is kept free.
	replaySegments = 2
)

// replayRoom returns what a spill on Badger's volume must leave there beside Badger's floor:
// without it a full volume would keep the spill from being replayed, which alone makes room.
func (s *diskSpace) replayRoom() int64 {
	return replayCost * min(s.db.log.State().LiveBytes, replaySegments*s.db.segmentSize())
}

// chunkRoom returns how large a chunk may be: on Badger's volume its segments take room until all
// of it is in Badger.
func (s *diskSpace) chunkRoom() int64 {
	if s.off || !s.shared {
		return math.MaxInt64
	}
	return max(s.left(&s.badger)/replayCost, s.db.segmentSize())
}

// reserve returns how much Badger may write of its own accord at most, with what it holds now,
// before it gives back anything. That is the tables of all memtables, then a compaction of level 0,
// these included, with the base level, and beside it one of the other levels by each other
// compactor. It writes new tables before it removes what they replace.
func (s *diskSpace) reserve() int64 {
	unflushed := s.db.account.UsageByKind(wbm.Memtable)
	need := 2 * unflushed
	var deep, file int64
	for _, l := range s.db.inner.Levels() {
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
	each := file * int64(s.db.opt.LevelSizeMultiplier+2)
	return need + min(deep, each*int64(max(s.db.opt.NumCompactors-1, 1)))
}

// floor returns the floor of a volume of total bytes.
func (s *diskSpace) floor(total, reserve int64) int64 {
	if s.db.opt.MinFreeSpace != 0 {
		return s.db.opt.MinFreeSpace
	}
	return max(min(1<<30, total/100), reserve)
}

// floorOf returns the floor of a side on a volume of total bytes.
func (s *diskSpace) floorOf(side *spaceSide, total int64) int64 {
	switch {
	case side == &s.badger:
		return s.floor(total, s.reserve())
	case s.shared:
		return s.floor(total, s.reserve()) + s.replayRoom()
	default:
		return s.floor(total, 0)
	}
}

const (
	// spillFiles is the floor of inodes on the spill's volume: some segments with their indexes,
	// and what is renamed into place.
	spillFiles = 16
	// badgerFiles is the floor on Badger's volume, beside the tables that it may make: logs of
	// memtables and values, manifests.
	badgerFiles = 64
)

// filesFloor returns how many inodes a volume of a side must have free. On Badger's these are those
// of the tables that it may write before it removes any, see reserve; on one with the spill, those
// of the tables of a replay, too, which alone makes room.
func (s *diskSpace) filesFloor(side *spaceSide) int64 {
	table := max(s.db.opt.BaseTableSize, 1<<20)
	floor := badgerFiles + s.reserve()/table
	switch {
	case side == &s.badger:
		return floor
	case s.shared:
		return floor + s.replayRoom()/table + spillFiles
	default:
		return spillFiles
	}
}

// look takes the free space of all volumes.
func (s *diskSpace) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last.Store(s.db.now())
	// Before everything else: what is settled after this counts twice until the next look, never
	// not at all.
	mark := s.written.Load()
	was := s.badger.low.Load()
	s.lookAt(&s.badger, mark)
	switch low := s.badger.low.Load(); {
	case low != nil && was == nil:
		s.db.setHealth(nil)
		if low.files {
			s.db.opt.Warningf("badgerspill: %s has inodes for %d more files, the floor is %d: replay pauses, and commits to Badger fail with ErrNoSpace; have fewer files of others there\n",
				low.dir, low.free, low.floor)
			break
		}
		s.db.opt.Warningf("badgerspill: %s has %v free, the floor is %v: replay pauses, and commits to Badger fail with ErrNoSpace; make room, or lower MinFreeSpace\n",
			low.dir, sizeOf(low.free), sizeOf(low.floor))
	case low == nil && was != nil:
		s.db.setHealth(nil)
		s.db.opt.Infof("badgerspill: %s has room again: replay goes on, and commits are taken\n", was.dir)
	}
	if len(s.spill.dirs) == 0 {
		s.spill.low.Store(s.badger.low.Load())
		return
	}
	was = s.spill.low.Load()
	s.lookAt(&s.spill, mark)
	switch low := s.spill.low.Load(); {
	case low != nil && was == nil:
		if low.files {
			s.db.opt.Warningf("badgerspill: %s has inodes for %d more files, the floor is %d: the spill counts as full; have fewer files of others there\n",
				low.dir, low.free, low.floor)
			break
		}
		s.db.opt.Warningf("badgerspill: %s has %v free, the floor is %v: the spill counts as full; make room, or lower MinFreeSpace\n",
			low.dir, sizeOf(low.free), sizeOf(low.floor))
	case low == nil && was != nil:
		s.db.opt.Infof("badgerspill: %s has room again: the spill is used\n", was.dir)
	}
}

func (s *diskSpace) lookAt(side *spaceSide, mark int64) {
	room := int64(math.MaxInt64 / 4) // where it is not knowable: writes report what they meet
	var tightest *spaceError
	side.floor.Store(0)
	for _, dir := range side.dirs {
		free, total, err := s.db.opt.fs().Free(dir)
		if err != nil {
			continue
		}
		floor := s.floorOf(side, total)
		if left := free - floor; left < room {
			room, tightest = left, &spaceError{dir: dir, free: free, floor: floor}
			side.floor.Store(floor)
		}
	}
	// Without inodes bytes are of no use: there is no room then.
	for _, dir := range side.dirs {
		free, err := s.db.opt.fs().FreeFiles(dir)
		if err != nil {
			continue
		}
		if floor := s.filesFloor(side); free < floor && room >= spaceStep {
			room, tightest = 0, &spaceError{dir: dir, free: free, floor: floor, files: true}
		}
	}
	side.room.Store(room)
	side.mark.Store(mark)
	if room >= spaceStep {
		tightest = nil
	}
	side.low.Store(tightest)
}

// left returns the room above the floor, what was claimed since the last look taken off.
func (s *diskSpace) left(side *spaceSide) int64 {
	mark := side.mark.Load()
	return side.room.Load() - (s.written.Load() - mark) - s.inFlight.Load()
}

// refresh looks if that is due. It may block for the file system.
func (s *diskSpace) refresh() {
	if now, last := s.db.now(), s.last.Load(); !s.off && now-last >= spaceInterval && s.last.CompareAndSwap(last, now) {
		s.look()
	}
}

// refreshSoon is refresh for who must not block.
func (s *diskSpace) refreshSoon() {
	if now, last := s.db.now(), s.last.Load(); s.off || now-last < spaceInterval || !s.last.CompareAndSwap(last, now) {
		return
	}
	s.asking.Lock()
	defer s.asking.Unlock()
	if !s.asking.stopped {
		s.db.inBackground(s.look)
	}
}

// stop ends looks in the background; Close waits for the last one.
func (s *diskSpace) stop() {
	s.asking.Lock()
	defer s.asking.Unlock()
	s.asking.stopped = true
}

// check returns an error matching ErrNoSpace while Badger's volume is low: nothing may be written
// to it, replay pauses.
func (s *diskSpace) check() error {
	s.refresh()
	if low := s.badger.low.Load(); low != nil {
		return low
	}
	return nil
}

// low returns why Badger's volume takes nothing as of the last look, nil if it does. It does not
// block.
func (s *diskSpace) low() error {
	if s == nil { // not before Open is done
		return nil
	}
	if low := s.badger.low.Load(); low != nil {
		return low
	}
	return nil
}

// spillUsable reports whether the spill's volume has room. It does not block.
func (s *diskSpace) spillUsable() bool {
	if s == nil { // not before Open is done
		return true
	}
	s.refreshSoon()
	return s.spill.low.Load() == nil
}

// claim takes n bytes of a side's room, to be settled once they are written, or not going to be.
// Without room it returns an error matching ErrNoSpace, and nothing is taken.
func (s *diskSpace) claim(side *spaceSide, n int64) error {
	if s.off {
		return nil
	}
	s.refresh()
	s.inFlight.Add(n)
	if s.left(side) >= spaceStep {
		return nil
	}
	s.look()
	left := s.left(side)
	low := side.low.Load()
	if low == nil && left >= 0 {
		return nil
	}
	s.inFlight.Add(-n)
	if low != nil {
		return low
	}
	for _, dir := range side.dirs {
		if free, total, err := s.db.opt.fs().Free(dir); err == nil {
			return &spaceError{dir: dir, free: free, floor: s.floorOf(side, total), need: n}
		}
	}
	return &spaceError{dir: side.dirs[0], need: n}
}

// force is claim for what must pass.
func (s *diskSpace) force(n int64) {
	if !s.off {
		s.inFlight.Add(n)
	}
}

// settle ends a claim of n bytes that may have been written. Badger's must be accounted for as in
// its memtables by then.
func (s *diskSpace) settle(n int64) {
	if !s.off {
		s.written.Add(n) // first: they must not be counted nowhere
		s.inFlight.Add(-n)
	}
}

// cancel ends a claim of n bytes of which nothing was written.
func (s *diskSpace) cancel(n int64) {
	if !s.off {
		s.inFlight.Add(-n)
	}
}

// badgerCost is what entries cost on Badger's volume in the end, at most: log, table, the
// compaction of that (see reserve), and the value log.
func badgerCost(memory, raw int64) int64 { return 3*memory + raw }

// reserveRoom is the way that a commit takes through memory, the spill's capacity and the room on
// disk. It may block for room, but not while replay has stopped, for damage, or since Badger's
// volume is low or Badger is held: waiting does not end that.
func (db *DB) reserveRoom(req wbm.Request, w *pipeline.Wait) (way wbm.Outcome, turn pipeline.Cause, err error) {
	s := db.space
	turn = pipeline.NoTurn
	for {
		s.refresh()
		low, stopped := db.guard.refresh(), db.health.stopped()
		held := low != nil
		if short := s.badger.low.Load(); !held && short != nil {
			low = short
		}
		if low == nil && (stopped == nil || !db.spill.IsActive()) {
			var ends context.Context = db.health.normal.Load()
			if stopped != nil { // memory is all that is short, and that needs no replay
				ends = db.ctx
			}
			ctx, release := w.With(ends)
			way, err := db.spill.Reserve(ctx, req, w.Left())
			release()
			if err == nil || db.ctx.Err() != nil {
				return way, turn, err
			}
			if given := w.GivenUp(); given != nil && errors.Is(given, err) {
				return way, turn, given
			}
			if !errors.Is(err, context.Canceled) {
				return way, turn, err
			}
			continue // replay has stopped meanwhile, or had when the context was taken
		}
		if low == nil { // damage: Badger itself is well
			way, err := db.spill.Reserve(db.ctx, req, -1)
			if errors.Is(err, wbm.ErrWriteBlocked) {
				err = stopped.full()
			}
			return way, turn, err
		}
		if !held && s.shared || db.log == nil {
			return wbm.Direct, turn, low
		}
		way, err := db.spill.Reserve(db.ctx, req, -1)
		switch {
		case errors.Is(err, wbm.ErrWriteBlocked):
			return way, turn, low
		case err != nil || way == wbm.Spilled:
			return way, turn, err
		}
		db.spill.Cancel(req, way)
		if db.spill.IsSpilloverFull(0, 0) {
			return way, turn, low
		}
		if held {
			return way, pipeline.CauseHeld, nil
		}
		return way, pipeline.CauseSpace, nil
	}
}

// roomToOpen returns an error matching ErrNoSpace if Badger cannot open without more room than
// there is: it writes tables of the memtable logs that an unclean stop has left.
func (opt *Options) roomToOpen() error {
	if opt.InMemory || opt.ReadOnly || opt.MinFreeSpace < 0 {
		return nil
	}
	numbers, err := host.MemNumbers(opt.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("badgerspill: option Dir: %w", err)
	}
	// exact reads the logs, and is only for when it matters: most of a log may be filling.
	needed := func(exact bool) int64 {
		need := int64(openSlack)
		for _, n := range numbers {
			path := host.MemPath(opt.Dir, n)
			info, err := os.Stat(path)
			switch {
			case err != nil:
			case exact:
				need += min(allocated(info), host.MemLogEntries(path, info.Size(), int64(len(fillerKey(opt.MemTableSize)))))
			default:
				need += min(allocated(info), info.Size())
			}
		}
		return need
	}
	need, exact := needed(false), false
	for _, dir := range []string{opt.Dir, opt.ValueDir} {
		free, _, err := opt.fs().Free(dir)
		if err == nil && free < need && !exact {
			need, exact = needed(true), true
		}
		if files, ferr := opt.fs().FreeFiles(dir); ferr == nil && files < openFiles+int64(len(numbers)) {
			return fmt.Errorf("badgerspill: %w: opening makes %d files in %s at most, there are inodes for %d", ErrNoSpace, openFiles+len(numbers), dir, files)
		}
		if err == nil && free < need {
			return fmt.Errorf("badgerspill: %w: opening needs %d bytes in %s, %d are free", ErrNoSpace, need, dir, free)
		}
	}
	return nil
}

// collectCost is what a garbage collection of the value log may write: what is left of the largest
// file that is not written to any more, and the pointers to it.
func (opt *Options) collectCost(discardRatio float64) (most int64) {
	if !(discardRatio > 0 && discardRatio < 1) {
		return 0 // Badger refuses it
	}
	files, err := os.ReadDir(opt.ValueDir)
	if err != nil {
		return 0
	}
	var last int64 // by number the newest comes last
	for _, f := range files {
		if info, err := f.Info(); err == nil && strings.HasSuffix(f.Name(), ".vlog") {
			most, last = max(most, last), info.Size()
		}
	}
	return int64(float64(most) * (1 - discardRatio) * 1.25)
}
