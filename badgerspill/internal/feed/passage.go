package feed

import "github.com/badgerspill/badgerspill/spillfile"

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

// countBatch counts the chunk's latest batch, which Badger has answered, and notes what has become
// durable meanwhile. It returns how many bytes those are. Needs mu.
func (f *Feed) countBatch() (durable int64) {
	p := &f.mu.passage
	p.given += f.mu.chunk.RawBytes
	p.last = f.mu.merge.Place()
	for i := range f.mu.chunk.Entries {
		if f.opt.InValueLog(len(f.mu.chunk.Entries[i].Value)) {
			p.vlog = true
			break
		}
	}
	// All of the batch is in memtables up to the newest, and what is in one before the oldest is in
	// a table.
	numbers, err := f.env.Badger.Memtables()
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
	if f.env.Badger.SyncDir() != nil || !f.notePlace(p.places[flushed-1].Place) {
		return 0
	}
	durable = p.places[flushed-1].given - p.durable
	p.durable += durable
	p.places = p.places[flushed:]
	return durable
}

// notePlace makes a place durable, unless Badger may have lost what it was given. A place that
// cannot be written costs time after a kill, and nothing else: that is told, and replay goes on.
// Needs mu.
func (f *Feed) notePlace(p spillfile.Place) bool {
	if f.env.Guard.Lost() != nil {
		return false
	}
	if err := f.env.Log.NotePlace(p); err != nil {
		f.env.Audience.PlaceNotNoted(err)
		return false
	}
	if f.env.Guard.Failed() != nil { // who noticed may have made it void before it was there
		VoidPlace(f.env.Log, f.env.Audience)
		return false
	}
	return true
}

// VoidPlace makes the next replay begin at the first live block: what the place says is in Badger
// may be what is lost. It blocks for the disk, needs no lock, and is safe for concurrent use.
func VoidPlace(log Log, a Audience) {
	if err := log.VoidPlace(); err != nil {
		a.PlaceNotVoided(err)
	}
}

// notePassage makes durable how far the chunk is, if it has got further since. Needs mu.
func (f *Feed) notePassage() error {
	p := &f.mu.passage
	if p.given == p.durable {
		return nil
	}
	if err := f.env.Badger.Sync(); err != nil {
		return err
	}
	f.mu.synced = f.mu.seq
	p.vlog = false
	if f.notePlace(p.last) {
		p.durable, p.places = p.given, nil
	}
	return nil
}
