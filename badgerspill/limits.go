package badgerspill

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// Options that can be changed while the database is open. What holds of them is not in DB.opt,
// which is what Open has made of them. MemoryLimit and the ratios are the manager's, the capacity
// the spillover manager's, the ceiling the replayer's. Sizes that follow from them are brought
// up to date by fit.

type limits struct {
	setting sync.Mutex   // one Set... at a time; may be held over writes to disk
	policy  atomic.Int32 // the SpillPolicy of now; written under the commit lock
	fitting sync.Mutex   // one fit at a time: the last one sees the latest limits

	given struct { // to Open, and to Set... since; written under setting
		sync.Mutex
		Options
	}
}

// policy returns the SpillPolicy of now. It stays so while the commit lock is held.
func (db *DB) policy() SpillPolicy { return SpillPolicy(db.limits.policy.Load()) }

// spillCapacity returns the bytes that the spill may take: none if there is none. Needs
// limits.setting, or that nobody else knows db.
func (db *DB) spillCapacity() int64 {
	if db.opt.InMemory || db.policy() == Never {
		return 0
	}
	return db.limits.given.SpillCapacity
}

// change begins a Set..., which end ends.
func (db *DB) change() (end func(), err error) {
	l := &db.limits
	l.setting.Lock()
	if db.IsClosed() { // Close has waited for setting, and another process may have the directory
		l.setting.Unlock()
		return nil, ErrDBClosed
	}
	return l.setting.Unlock, nil
}

// settle waits for the Set... that is under way, if there is one.
func (l *limits) settle() {
	l.setting.Lock()
	defer l.setting.Unlock()
}

// note records what was given to a Set... .
func (l *limits) note(set func(opt *Options)) {
	l.given.Lock()
	defer l.given.Unlock()
	set(&l.given.Options)
}

// Opts returns the options as they were given: to Open, and since then to SetMemoryLimit and its
// like. The layer's options that have a fixed default show it instead of 0. Nothing in it follows
// from the directory, the machine or another option, except for what follows from another in
// Badger's own Opts: with ReadOnly there is no CompactL0OnClose, and with InMemory neither
// SyncWrites nor a ValueThreshold. So another directory can be opened with it; a SpillDir that was
// given must be changed then, too. What the database makes of the options, EffectiveOpts shows. It
// does not block and is safe for concurrent use.
func (db *DB) Opts() Options {
	db.limits.given.Lock()
	defer db.limits.given.Unlock()
	return db.limits.given.Options.asBadgerShows()
}

// EffectiveOpts returns the options that the database runs with now, with all that follows from the
// directory, the machine and other options. That is SpillDir, MemoryLimit and the ratios (the
// manager's), MemTableSize, BaseLevelSize, BaseTableSize, NumCompactors, StallThreshold, SpillRate,
// SpillCacheSize, QuietRate as it is known now, and SpillCapacity (0 = no spill). MinFreeSpace has
// the floor of Badger's volume at the last look (0 = it is not known). Do not open another
// directory with it: that is what Opts is for. It does not block and is safe for concurrent use.
func (db *DB) EffectiveOpts() Options {
	given := db.Opts()
	opt := db.opt.asBadgerShows()
	opt.WriteBufferManager = given.WriteBufferManager
	opt.SpillPolicy = db.policy()
	opt.SpillCapacity = db.spill.Capacity()
	opt.MemoryLimit = db.manager.Limit()
	t := &opt.Tuning
	t.SoftLimitRatio, t.SpillLimitRatio = db.manager.Ratios()
	t.SpillCacheSize = db.spillCacheSize()
	t.QuietRate = db.rate.QuietRate()
	t.ReplayMaxRate = given.Tuning.ReplayMaxRate
	if floor, ok := db.room.Floor(); ok {
		opt.MinFreeSpace = floor
	}
	return opt
}

// asBadgerShows returns opt with what Badger's Opts shows of other options.
func (opt Options) asBadgerShows() Options {
	if opt.ReadOnly {
		opt.CompactL0OnClose = false
	}
	if opt.InMemory {
		opt.SyncWrites, opt.ValueThreshold = false, math.MaxInt32
	}
	return opt
}

// maxMemoryLimit is what the manager of the budget takes at most.
const maxMemoryLimit = 1 << 60

// SetMemoryLimit changes Options.MemoryLimit, in bytes; 0 means its default. A higher limit lets
// commits go on that wait for room. Below what is in use nothing is lost and nothing hangs. The
// tiers hold for the new limit at once: commits are spilled or wait while memory is flushed and the
// spill replayed, and a commit larger than the limit passes when nothing else is on its way to
// Badger.
//
// Memtables keep the size that they were opened with, and so do MaxBatchCount and MaxBatchSize.
// Below (NumMemtables+1) * MemTableSize memory is therefore freed by sealing memtables that are not
// full, which costs MemTableSize bytes written for each: to run with such a limit for long, open
// the database with it.
//
// Errors: *OptionError for a limit that is not from 0 to 2^60 (2^31-1 in a 32-bit address space),
// or with a shared WriteBufferManager, whose own SetLimit changes the limit for all of its
// databases; ErrDBClosed. It waits for nothing but another Set..., and is safe for concurrent use.
func (db *DB) SetMemoryLimit(bytes int64) error {
	end, err := db.change()
	if err != nil {
		return err
	}
	defer end()
	limit := bytes
	most := min(maxMemoryLimit, db.opt.system().maxPiece)
	switch {
	case db.opt.WriteBufferManager != nil:
		return bad("MemoryLimit", bytes, "left alone with a WriteBufferManager: its SetLimit changes it for all databases that share it")
	case bytes < 0 || bytes > most:
		return bad("MemoryLimit", bytes, "from 1 to %d bytes, or 0 for (NumMemtables+1) * MemTableSize", most)
	case bytes == 0:
		limit = db.opt.defaultMemoryLimit()
	}
	if err := db.manager.SetLimit(limit); err != nil {
		return &OptionError{Field: "MemoryLimit", Value: bytes, Bound: "one that the budget takes", Err: err}
	}
	db.limits.note(func(opt *Options) { opt.MemoryLimit = bytes })
	return nil
}

// SetLimitRatios changes Tuning.SoftLimitRatio and Tuning.SpillLimitRatio, as shares of
// MemoryLimit; 0 means the default of each, 0.80 and 0.90. It holds at once. Errors: *OptionError
// for one that is not in (0, 1], for a soft ratio above the spill ratio, or with a shared
// WriteBufferManager, whose own SetRatios changes them for all of its databases; ErrDBClosed. It
// waits for nothing but another Set..., and is safe for concurrent use.
func (db *DB) SetLimitRatios(soft, spill float64) error {
	end, err := db.change()
	if err != nil {
		return err
	}
	defer end()
	fill(&soft, wbm.DefaultSoftRatio)
	fill(&spill, wbm.DefaultSpillRatio)
	if db.opt.WriteBufferManager != nil {
		return bad("Tuning.SoftLimitRatio", soft, "left alone with a WriteBufferManager: its SetRatios changes it for all databases that share it")
	}
	if err := checkRatios(soft, spill); err != nil {
		return err
	}
	if err := db.manager.SetRatios(soft, spill); err != nil {
		return err
	}
	db.limits.note(func(opt *Options) { opt.Tuning.SoftLimitRatio, opt.Tuning.SpillLimitRatio = soft, spill })
	return nil
}

// SetSpillCapacity changes Options.SpillCapacity, in bytes; 0 means its default, 8 GiB. A higher
// capacity lets commits go on that wait for room in the spill. With one below what the spill holds
// nothing is lost: it counts as full, commits wait, and it is replayed until they fit, or are alone
// in it. A commit larger than the capacity goes to Badger, or waits until the spill is empty.
// Existing files keep their size. Without a spill (SpillPolicy Never) the capacity holds from when
// SetSpillPolicy turns it on.
//
// Errors: *OptionError for a capacity below 0; ErrDBClosed. It waits for nothing but another
// Set..., and is safe for concurrent use.
func (db *DB) SetSpillCapacity(bytes int64) error {
	end, err := db.change()
	if err != nil {
		return err
	}
	defer end()
	fill(&bytes, DefaultSpillCapacity)
	if bytes < 0 {
		return bad("SpillCapacity", bytes, "at least 0; SetSpillPolicy(Never) turns the spill off")
	}
	db.limits.note(func(opt *Options) { opt.SpillCapacity = bytes })
	db.spill.SetCapacity(db.spillCapacity())
	db.applyLimits()
	db.pipe.LookAgain() // a full queue to Badger turns to the spill
	return nil
}

// SetSpillPolicy changes Options.SpillPolicy. Never turns the spill off: all of it is replayed,
// commits wait meanwhile as for a full spill, and go to Badger from then on; Close removes its
// files if it is empty then. Auto and Always turn it on again, with the capacity that was set last.
// They make its files, if there are none, and block for that. Otherwise it waits for nothing but
// another Set.... It is safe for concurrent use.
//
// Errors: *OptionError for Always in memory, and for what is no policy; ErrBlockedWrites while data
// is being dropped; ErrDBClosed; and what making the spill meets. Nothing is changed then.
func (db *DB) SetSpillPolicy(p SpillPolicy) error {
	end, err := db.change()
	if err != nil {
		return err
	}
	defer end()
	if err := p.check(db.opt.InMemory); err != nil {
		return err
	}
	spills := db.log != nil && !db.opt.ReadOnly
	if spills && p != Never {
		if err := db.makeSpill(); err != nil {
			return err
		}
	}
	if err := db.pipe.Adopt(p == Always, spills, func() {
		db.limits.policy.Store(int32(p))
		db.spill.SetCapacity(db.spillCapacity())
	}); err != nil {
		return err
	}
	db.limits.note(func(opt *Options) { opt.SpillPolicy = p })
	db.applyLimits() // and has replay look: what is spilled goes, unless p is Always
	return nil
}

// spillMade reports whether the spill is on disk. It waits for one that is being made.
func (db *DB) spillMade() bool { return db.log != nil && db.log.Made() }

// makeSpill makes the spill on disk, if it is not there.
func (db *DB) makeSpill() error {
	if db.spillMade() {
		return nil
	}
	fsys := db.opt.fs()
	id, known, err := marker.ReadIdentity(fsys, db.opt.Dir)
	if errors.Is(err, ErrCorrupt) { // Make refuses a spill that is there: nothing is known by it
		err = nil
	}
	if err == nil && !known {
		id, err = marker.WriteIdentity(fsys, db.opt.Dir)
	}
	if err != nil {
		return err
	}
	if err = db.log.Make(id); err == nil {
		db.room.Look()
		return nil
	}
	if !known {
		err = errors.Join(err, fsys.Remove(filepath.Join(db.opt.Dir, marker.IdentityName)))
	}
	if errors.Is(err, spillfile.ErrClosed) {
		return ErrDBClosed
	}
	return fmt.Errorf("badgerspill: option SpillPolicy: %w", asLocked(db.opt.SpillDir, err))
}

// removeSpill closes the log of an empty spill, and removes all that is on disk of it: the
// interlock first, for one without a spill is an error of the next Open, and the identity last.
// Each state in between is that of an empty spill, or of none. If the interlock is kept, for a drop
// that the next Open finishes, or cannot be removed, the spill stays.
func (db *DB) removeSpill() error {
	err := db.interlock.Drop()
	there := false
	if err == nil {
		there, err = db.interlock.Present()
	}
	if err != nil || there {
		return errors.Join(err, db.log.Close())
	}
	if err := db.log.Remove(); err != nil {
		return fmt.Errorf("badgerspill: SpillPolicy Never: %w", err)
	}
	fsys := db.opt.fs()
	err = fsys.Remove(filepath.Join(db.opt.Dir, marker.IdentityName))
	if err == nil {
		err = fsys.SyncDir(db.opt.Dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("badgerspill: SpillPolicy Never: %w", err)
	}
	return nil
}

// SetReplayMaxRate changes Tuning.ReplayMaxRate, in bytes per second before compression; 0 takes
// the ceiling away. It holds at once, for a replay under way, too. Errors: *OptionError for one
// below 0; ErrDBClosed. It waits for nothing but another Set..., and is safe for concurrent use.
func (db *DB) SetReplayMaxRate(bytesPerSecond int64) error {
	end, err := db.change()
	if err != nil {
		return err
	}
	defer end()
	if bytesPerSecond < 0 {
		return bad("Tuning.ReplayMaxRate", bytesPerSecond, "at least 0 bytes per second")
	}
	if db.replayer != nil {
		db.replayer.SetMaxRate(bytesPerSecond)
	}
	db.limits.note(func(opt *Options) { opt.Tuning.ReplayMaxRate = bytesPerSecond })
	return nil
}

// spillCacheSize is the default of Tuning.SpillCacheSize.
func spillCacheSize(memoryLimit int64) int64 { return min(16<<20, memoryLimit/32) }

func (db *DB) spillCacheSize() int64 {
	if asked := db.limits.given.Tuning.SpillCacheSize; asked != 0 { // no Set... changes it
		return asked
	}
	return spillCacheSize(db.manager.Limit())
}

// applyLimits brings up to date what follows from the limits, and has replay look at them.
func (db *DB) applyLimits() {
	if db.log == nil || db.opt.ReadOnly {
		return
	}
	db.limits.fitting.Lock()
	defer db.limits.fitting.Unlock()
	if err := db.log.Resize(db.segmentSize(), db.indexArena(), db.spillCacheSize()); err != nil {
		// out of range: cannot be
		db.events.backgroundError("resize the spill", err, "it keeps its old sizes")
	}
	db.replayer.SetCheckpointBytes(min(replay.DefaultCheckpointBytes, db.spillPiece()))
	db.ledger.Refresh()
	db.wakeReplay()
}
