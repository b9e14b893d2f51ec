package badgerspill

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// Limits that can be changed while the database is open. Their values are not those of DB.opt, which is what Open was
// given: MemoryLimit and the ratios are the manager's, SpillCapacity the spillover manager's, and sizes that follow from them are
// brought up to date by fit.

type limits struct {
	making   sync.Mutex // one SetSpillCapacity at a time; may be held over writes to disk
	deferred bool       // the spill is not made on disk yet; guarded by making

	fitting       sync.Mutex // one fit at a time: the last one sees the latest limits
	replayMaxRate atomic.Int64
}

// maxMemoryLimit is what the manager of the budget takes at most.
const maxMemoryLimit = 1 << 60

// SetMemoryLimit changes Options.MemoryLimit, in bytes; 0 means its default. A higher limit lets commits go on that wait for room. Below
// what is in use nothing is lost and nothing hangs: the tiers hold for the new limit at once, so commits are spilled or wait while memory is
// flushed and the spill replayed, and a commit larger than the limit passes when nothing else is on its way to Badger.
//
// Memtables keep the size that they were opened with, and so do MaxBatchCount and MaxBatchSize. Below (NumMemtables+1) * MemTableSize memory
// is therefore freed by sealing memtables that are not full, which costs MemTableSize bytes written for each: to run with such a limit for
// long, open the database with it.
//
// Errors: *OptionError for a limit that is not from 0 to 2^60, or with a shared WriteBufferManager, whose own SetLimit changes the limit for all
// of its databases; ErrDBClosed. It does not wait for anything and is safe for concurrent use.
func (db *DB) SetMemoryLimit(bytes int64) error {
	switch {
	case db.IsClosed():
		return ErrDBClosed
	case db.opt.WriteBufferManager != nil:
		return bad("MemoryLimit", bytes, "left alone with a WriteBufferManager: its SetLimit changes it for all databases that share it")
	case bytes < 0 || bytes > maxMemoryLimit:
		return bad("MemoryLimit", bytes, "from 1 to %d bytes, or 0 for (NumMemtables+1) * MemTableSize", int64(maxMemoryLimit))
	case bytes == 0:
		bytes = (int64(db.opt.NumMemtables) + 1) * db.opt.MemTableSize
	}
	if err := db.manager.SetLimit(bytes); err != nil {
		return &OptionError{Field: "MemoryLimit", Value: bytes, Bound: "one that the budget takes", Err: err}
	}
	return nil
}

// SetLimitRatios changes Options.SoftLimitRatio and SpillLimitRatio, as shares of MemoryLimit; 0 means the default of each, 0.80 and 0.90. It
// holds at once. Errors: *OptionError for one that is not in (0, 1], for a soft ratio above the spill ratio, or with a shared
// WriteBufferManager, whose own SetRatios changes them for all of its databases; ErrDBClosed. It does not wait for anything and
// is safe for concurrent use.
func (db *DB) SetLimitRatios(soft, spill float64) error {
	if soft == 0 {
		soft = wbm.DefaultSoftRatio
	}
	if spill == 0 {
		spill = wbm.DefaultSpillRatio
	}
	switch {
	case db.IsClosed():
		return ErrDBClosed
	case db.opt.WriteBufferManager != nil:
		return bad("SoftLimitRatio", soft, "left alone with a WriteBufferManager: its SetRatios changes it for all databases that share it")
	case !(soft > 0 && soft <= 1):
		return bad("SoftLimitRatio", soft, "in (0, 1]")
	case !(spill > 0 && spill <= 1):
		return bad("SpillLimitRatio", spill, "in (0, 1]")
	case spill < soft:
		return bad("SpillLimitRatio", spill, "at least SoftLimitRatio, which is %v", soft)
	}
	return db.manager.SetRatios(soft, spill)
}

// SetSpillCapacity changes Options.SpillCapacity, in bytes. A higher capacity lets commits go on that wait for room in the spill. With one below what
// the spill holds nothing is lost: it counts as full, commits wait, and it is replayed until they fit, or are alone in it. With 0 all of it is
// replayed, and commits go to Badger from then on. A commit larger than the capacity goes to Badger, or waits until the
// spill is empty.
//
// A database that was opened with capacity 0 makes its spill on disk in the first call with another one, and blocks for that; files that are
// larger than the new capacity makes them stay as they are until they are replayed. Otherwise it does not wait for anything. It is
// safe for concurrent use.
//
// Errors: *OptionError for a capacity below 0, one above 0 where there is no spill (InMemory, SpillPolicy Never), and 0 with SpillPolicy Always;
// ErrDBClosed; and what making the spill meets, which is then not made.
func (db *DB) SetSpillCapacity(bytes int64) error {
	switch {
	case db.IsClosed():
		return ErrDBClosed
	case bytes < 0:
		return bad("SpillCapacity", bytes, "at least 0")
	case bytes > 0 && (db.opt.InMemory || db.opt.SpillPolicy == Never):
		return bad("SpillCapacity", bytes, "0 in a database without a spill (InMemory, or SpillPolicy Never)")
	case bytes == 0 && db.opt.SpillPolicy == Always:
		return bad("SpillCapacity", bytes, "above 0 with SpillPolicy Always")
	}
	l := &db.limits
	l.making.Lock()
	defer l.making.Unlock()
	if db.IsClosed() { // Close has waited for making, and another process may have the directory
		return ErrDBClosed
	}
	if bytes > 0 && l.deferred {
		if err := db.makeSpill(); err != nil {
			return err
		}
		l.deferred = false
	}
	db.spill.SetCapacity(bytes)
	db.fit()
	db.mu.Lock()
	db.router.lookAgain() // a full queue to Badger turns to the spill
	db.mu.Unlock()
	return nil
}

// spillMade reports whether the spill is made on disk. It waits for one that is being made.
func (db *DB) spillMade() bool {
	db.limits.making.Lock()
	defer db.limits.making.Unlock()
	return !db.limits.deferred
}

// makeSpill makes the spill of a database that was opened without one.
func (db *DB) makeSpill() error {
	fsys := db.opt.fs()
	id, known, err := readIdentity(fsys, db.opt.Dir)
	if err == nil && !known {
		id, err = writeIdentity(fsys, db.opt.Dir)
	}
	if err != nil {
		return err
	}
	if err = db.log.Make(id); err == nil {
		if !db.space.off {
			db.space.look()
		}
		return nil
	}
	if !known {
		err = errors.Join(err, fsys.Remove(filepath.Join(db.opt.Dir, identityName)))
	}
	if errors.Is(err, spillfile.ErrClosed) {
		return ErrDBClosed
	}
	return fmt.Errorf("badgerspill: option SpillCapacity: %w", err)
}

// SetReplayMaxRate changes Options.ReplayMaxRate, in bytes per second before compression; 0 takes the ceiling away. It holds at once, for a replay
// under way, too. Errors: *OptionError for one below 0; ErrDBClosed. It does not wait for anything and is safe for concurrent use.
func (db *DB) SetReplayMaxRate(bytesPerSecond int64) error {
	if db.IsClosed() {
		return ErrDBClosed
	}
	if bytesPerSecond < 0 {
		return bad("ReplayMaxRate", bytesPerSecond, "at least 0 bytes per second")
	}
	l := &db.limits
	l.fitting.Lock()
	defer l.fitting.Unlock()
	l.replayMaxRate.Store(bytesPerSecond)
	if db.replayer != nil {
		db.replayer.SetMaxRate(bytesPerSecond)
	}
	return nil
}

// spillCacheSize is the default of Options.SpillCacheSize.
func spillCacheSize(memoryLimit int64) int64 { return min(16<<20, memoryLimit/32) }

func (db *DB) spillCacheSize() int64 {
	if db.asked.SpillCacheSize != 0 {
		return db.opt.SpillCacheSize
	}
	return spillCacheSize(db.manager.Limit())
}

// fit brings up to date what follows from the limits, and has replay look at them.
func (db *DB) fit() {
	if db.log == nil || db.opt.ReadOnly {
		return
	}
	db.limits.fitting.Lock()
	defer db.limits.fitting.Unlock()
	if err := db.log.Resize(db.segmentSize(), db.indexArena(), db.spillCacheSize()); err != nil {
		db.events.backgroundError("resize the spill", err, "it keeps its old sizes") // out of range: cannot be
	}
	db.replayer.SetCheckpointBytes(min(replay.DefaultCheckpointBytes, db.spillPiece()))
	db.spillUse.refresh()
	db.wakeReplay()
}
