package badgerspill

import (
	"github.com/badgerspill/badgerspill/spillfile"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
)

// passage is how far a chunk has reached Badger, and how much of that is durable there. Where it is
// is noted beside the spill (spillfile.Place), so that the next process, or the next try, goes on
// at a key.
//
// A place may be noted once all before it is durable. That comes for free: Badger writes out its
// memtables in order, and syncs the table and its manifest before it removes the memtable's log.
// Only where that takes more than a checkpoint's bytes, and at the end of a run, Badger is synced
// for it: that writes logs to the disk which would be gone before long.
type passage struct {
	given   int64 // bytes, before compression
	durable int64 // of them, and so noted
	last    spillfile.Place
	// one for each memtable that may hold something of what is not durable, in order
	places []givenPlace
	vlog   bool // some of it lies in the value log, which no flush syncs
}

// givenPlace is a place before which all is in memtables up to a number.
type givenPlace struct {
	spillfile.Place
	given    int64
	memtable int
}

// took counts the chunk's latest batch, which Badger has answered, and notes what has become
// durable meanwhile. It returns how many bytes those are.
func (r *replayLog) took() (durable int64) {
	p, db := &r.passage, r.db
	p.given += r.chunk.RawBytes
	p.last = r.merge.Place()
	for i := range r.chunk.Entries {
		if int64(len(r.chunk.Entries[i].Value)) >= db.opt.ValueThreshold || db.opt.VLogPercentile > 0 {
			p.vlog = true
			break
		}
	}
	// All of the batch is in memtables up to the newest, and what is in one before the oldest is in
	// a table.
	numbers, err := host.MemNumbers(db.opt.Dir)
	if err != nil || len(numbers) == 0 {
		return 0
	}
	oldest := numbers[0]
	at := givenPlace{p.last, p.given, numbers[len(numbers)-1]}
	if n := len(p.places); n > 0 && p.places[n-1].memtable == at.memtable {
		p.places[n-1] = at
	} else {
		p.places = append(p.places, at)
	}
	flushed := 0
	for flushed < len(p.places) && p.places[flushed].memtable < oldest {
		flushed++
	}
	if flushed == 0 || p.vlog {
		return 0
	}
	// A table's name is not synced by Badger. If something fails here a checkpoint does it.
	if db.opt.fs().SyncDir(db.opt.Dir) != nil || !r.notePlace(p.places[flushed-1].Place) {
		return 0
	}
	durable = p.places[flushed-1].given - p.durable
	p.durable += durable
	p.places = p.places[flushed:]
	return durable
}

// notePlace makes a place durable, unless Badger may have lost what it was given. A place that
// cannot be written costs time after a kill, and nothing else: that is told, and replay goes on.
func (r *replayLog) notePlace(p spillfile.Place) bool {
	db := r.db
	if r.notLost() != nil {
		return false
	}
	if err := db.log.NotePlace(p); err != nil {
		db.events.backgroundError("note how far replay is", err, "after a kill more of it is replayed twice; it is tried again")
		return false
	}
	if db.guard.Failed() != nil { // badgerFailed may have removed it before it was there
		db.voidPlace()
		return false
	}
	return true
}

// voidPlace makes the next replay begin at the first live block.
func (db *DB) voidPlace() {
	if db.log == nil {
		return
	}
	if err := db.log.VoidPlace(); err != nil {
		db.events.backgroundError("remove the note of how far replay is", err, "look at the disk of SpillDir")
	}
}

// notePassage makes durable how far the chunk is, if it has got further since.
func (r *replayLog) notePassage() error {
	p := &r.passage
	if p.given == p.durable {
		return nil
	}
	if err := r.db.engine.Sync(); err != nil {
		return err
	}
	r.synced = r.seq
	p.vlog = false
	if r.notePlace(p.last) {
		p.durable, p.places = p.given, nil
	}
	return nil
}
