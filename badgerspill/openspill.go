package badgerspill

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
)

// spillPieces is in how many pieces, at least, a full spill frees its room. Commits that the
// spill's filling slows are held up least when room comes often; a piece costs a sync of Badger.
const spillPieces = 16

// spillPiece returns the size in bytes that a segment, or what is replayed between two checkpoints,
// should not pass. It is a multiple of 4 KiB.
func spillPiece(capacity int64) int64 {
	if capacity == 0 { // what is left is replayed at any size
		return spillfile.MaxSegmentSize
	}
	piece := capacity / spillPieces
	return max(piece-piece%spillfile.MinSegmentSize, spillfile.MinSegmentSize)
}

func (db *DB) spillPiece() int64 { return spillPiece(db.spill.Capacity()) }

// segmentSize returns the size in bytes at which a segment is sealed.
func (db *DB) segmentSize() int64 { return min(db.opt.Tuning.SegmentSize, db.spillPiece()) }

// openSpill opens the log of the spill. A read-only database opens one that is there, and makes
// none.
func (db *DB) openSpill() error {
	opt := &db.opt
	fsys := opt.fs()
	if opt.InMemory {
		return nil
	}
	// whoever finds the interlock is in another working directory
	spill, err := filepath.Abs(opt.SpillDir)
	if err != nil {
		return fmt.Errorf("badgerspill: option SpillDir: %w", err)
	}
	db.interlock = marker.NewInterlock(fsys, opt.Dir, spill, func() bool { return db.log.Empty() })
	exists, err := marker.Exists(fsys, filepath.Join(opt.SpillDir, "MANIFEST"))
	if err != nil {
		return err
	}
	locked, err := db.interlock.Present()
	if err != nil {
		return err
	}
	where, _, err := db.interlock.Read()
	if err != nil { // it is taken for missing: what Badger holds is compared with the spill
		opt.Warningf("badgerspill: the interlock is not readable, Badger is compared with the spill instead: %v\n", err)
	}
	id, known, idErr := marker.ReadIdentity(fsys, opt.Dir)
	if !exists || !known {
		if err := db.judgeSpill(id, known, idErr, locked, where); err != nil {
			return err
		}
	}
	if !exists && opt.ReadOnly {
		return nil
	}
	if !exists && opt.SpillPolicy == Never {
		return db.deferSpill()
	}
	if !known && !opt.ReadOnly {
		if err := fsys.MkdirAll(opt.Dir, 0o700); err != nil {
			return fmt.Errorf("badgerspill: option Dir: %w", err)
		}
		if id, err = marker.WriteIdentity(fsys, opt.Dir); err != nil {
			return err
		}
	}
	db.log, err = spillfile.OpenContext(db.opening.ctx, db.logOptions(id, locked, false))
	if err != nil {
		db.log = nil
		if !known && !opt.ReadOnly {
			err = errors.Join(err, fsys.Remove(filepath.Join(opt.Dir, marker.IdentityName)))
		}
		if errors.Is(err, spillfile.ErrLocked) {
			return asLocked(opt.SpillDir, err)
		}
		return fmt.Errorf("badgerspill: %w", mismatched(err))
	}
	if n := db.log.State().TruncatedBytes; n > 0 {
		opt.Infof("badgerspill: opened the spill in %s, without %v at its end that were being written when the process or the machine stopped\n",
			opt.SpillDir, sizeOf(n))
	}
	if opt.SpillPolicy == Never && !opt.ReadOnly && db.log.Empty() {
		if err := db.removeSpill(); err != nil {
			db.log = nil
			return err
		}
		return db.deferSpill()
	}
	return nil
}

// judgeSpill looks at the spill before it is opened, where something is missing that tells whose it
// is, or where it is. A spill that is in use is ErrLocked; nothing else is known of it.
func (db *DB) judgeSpill(id [16]byte, known bool, idErr error, locked bool, names string) error {
	opt := &db.opt
	src := check.Source{Dir: opt.SpillDir, FS: opt.fs(), EncryptionKey: opt.EncryptionKey}
	used, err := src.Lock()
	if errors.Is(err, spillfile.ErrLocked) {
		return asLocked(opt.SpillDir, err)
	}
	if err != nil {
		return fmt.Errorf("badgerspill: %w", err)
	}
	defer used.Close()
	in, err := check.Inspect(src)
	if err != nil {
		return fmt.Errorf("badgerspill: %w", err)
	}
	c := check.Claims{ID: id, IDFile: filepath.Join(opt.Dir, marker.IdentityName), IDErr: idErr, Names: names}
	if idErr == nil && !known {
		c.IDErr = fs.ErrNotExist
	}
	if locked {
		c.Interlock = db.interlock.Path()
	}
	if err := check.Judge(in, c); err != nil {
		return fmt.Errorf("badgerspill: %w", mismatched(err))
	}
	if errors.Is(idErr, ErrCorrupt) && !locked && !opt.ReadOnly { // nothing is known by it
		opt.Warningf("badgerspill: %v; no commits are pending, so it is written anew\n", idErr)
		return nil
	}
	return idErr
}

// mismatched makes of an error about a key what Badger calls it.
func mismatched(err error) error {
	if errors.Is(err, spillfile.ErrWrongKey) || errors.Is(err, spillfile.ErrKeyMissing) {
		return fmt.Errorf("%w: %w; if Badger's key was changed since, change it back, Drain, and change it again", ErrEncryptionKeyMismatch, err)
	}
	return err
}

// deferSpill opens a log of which nothing is on disk: there may be a spill later, see
// SetSpillPolicy.
func (db *DB) deferSpill() (err error) {
	db.log, err = spillfile.Open(db.logOptions([16]byte{}, false, true))
	return err
}

func (db *DB) logOptions(id [16]byte, existing, deferred bool) spillfile.Options {
	opt := &db.opt
	return spillfile.Options{
		Dir:           opt.SpillDir,
		FS:            opt.fs(),
		Now:           opt.seams.now,
		DatabaseID:    id,
		Existing:      existing,
		SegmentSize:   db.segmentSize(),
		IndexArena:    db.indexArena(),
		CacheSize:     opt.Tuning.SpillCacheSize,
		OpenFiles:     opt.Tuning.SpillOpenFiles,
		SyncWrites:    opt.SyncWrites,
		EncryptionKey: opt.EncryptionKey,
		Deferred:      deferred,
		ReadOnly:      opt.ReadOnly,
		OnRecovery:    db.recovered,
		OnFirst:       db.firstSpilled,
		OnCommit:      func(b []*spillfile.Batch, err error) { db.pipe.Spilled(b, err) },
		OnEvent:       db.segmentEvent,
		OnIndexed:     db.ledger.Refresh,
		Logf:          func(format string, args ...any) { db.opt.Warningf("badgerspill: "+format+"\n", args...) },
	}
}

// indexArena is the memory of the index of the segment that is being written. It is in use from the
// first spilled commit on, when memory is short already: two of them, one ready for the next
// segment, must fit between the spill limit and the limit, for all databases of the budget.
func (db *DB) indexArena() int64 {
	share := db.manager.Limit() / int64(32*max(1, len(db.manager.Accounts())))
	return min(max(minIndexArena, min(share, db.segmentSize()/4)), maxIndexArena)
}

const (
	minIndexArena = 64 << 10
	maxIndexArena = 64 << 20
)

// firstSpilled is called before the first batch is written to an empty spill.
func (db *DB) firstSpilled() error {
	err := db.interlock.Set()
	db.wakeReplay()
	return err
}

func (db *DB) segmentEvent(ev spillfile.Event) {
	if ev.Kind == spillfile.SegmentRemoved {
		db.ledger.Refresh()
	}
	db.events.segment(ev)
	switch {
	case ev.Err == nil:
	case ev.Kind == spillfile.TailTruncated: // an ordinary end; Open has a line for it
	case ev.Kind == spillfile.SegmentPoisoned:
		db.events.backgroundError("write a segment of the spill", ev.Err, "the spill goes on with another; look at the disk of SpillDir")
	default:
		db.events.backgroundError("maintain the spill", ev.Err, "it is tried again; look at the disk of SpillDir")
	}
}
