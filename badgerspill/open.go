package badgerspill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/badgerspill/internal/room"
	"github.com/badgerspill/badgerspill/badgerspill/internal/strain"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// engine writes to Badger: a *host.Engine, which says what each method does. Tests put their own in
// between, to hold Badger up or to let it fail.
type engine interface {
	Prepare(c *pipeline.Commit) error
	Send(c *pipeline.Commit, answer func(error))
	Load(entries []spillfile.Entry) error
	Sync() error
	Seal() error
}

// seams are where tests take hold.
type seams struct {
	engine func(engine) engine
	fs     spillfile.FS
	system *system
	// Badger gets writes that it does not survive, as if their cause came after the look
	unguarded bool
	now       func() time.Time            // the wall clock that dates segments
	strain    func(share float64) float64 // of the foreground, for the replayer
}

func (opt *Options) fs() spillfile.FS {
	if opt.seams.fs != nil {
		return opt.seams.fs
	}
	return spillfile.OS
}

// OpenManaged is Open for a database whose timestamps are the caller's: NewTransactionAt, CommitAt.
func OpenManaged(opt Options) (*DB, error) {
	opt.managed = true
	return Open(opt)
}

// Open opens the database in opt.Dir, or creates it. What an earlier process left in the spill is
// readable at once and is replayed in the background. Errors: those of badger.Open, an *OptionError
// for a bad option, ErrCorrupt, ErrForeignSpill, ErrMissingSpill, ErrForeignWrites, and others that
// name the file. With an error nothing was changed that the next Open needs.
//
// With SpillPolicy Never it replays what the spill holds before it returns, and removes it; if that
// fails the spill stays, and the error says so.
func Open(opt Options) (*DB, error) { return openContext(context.Background(), opt) }

func openContext(ctx context.Context, opt Options) (*DB, error) {
	db, err := openOnce(ctx, opt)
	if err != nil || opt.SpillPolicy != Never || opt.ReadOnly || !db.spillMade() {
		return db, err
	}
	// Open has found commits in a spill that there is not to be. Once they are replayed it removes
	// what is left.
	err = db.drainNow(ctx, nil)
	if err != nil {
		err = fmt.Errorf("badgerspill: SpillPolicy Never: the spill in %s was not replayed, and stays: %w", db.opt.SpillDir, err)
		db.opt.KeepSpillOnClose = true
	}
	if err = errors.Join(err, db.CloseContext(ctx)); err != nil {
		return nil, err
	}
	return openOnce(ctx, opt)
}

func openOnce(ctx context.Context, opt Options) (*DB, error) {
	asked := opt
	opt, err := opt.checked()
	if err != nil {
		return nil, err
	}
	db := &DB{opt: opt, begin: time.Now(), publisher: newPublisher()}
	db.limits.given.Options = asked.withDefaults()
	db.limits.policy.Store(int32(opt.SpillPolicy))
	db.narrator = newNarrator(db, opt.Logger)
	db.events = newEvents(TeeEventListener(db.narrator.listener(), opt.EventListener), &db.opt)
	db.opening.ctx = ctx
	if err := db.goOn(); err != nil {
		return nil, err
	}
	db.guard = newGuard(db)
	db.watch = newWatcher(db)
	db.ctx, db.cancel = context.WithCancel(context.Background())
	db.health.normal.Store(newEndingContext(db.ctx))
	db.strain = strain.New(db.ctx, opt.SyncWrites, db.now, db.inBackground)
	db.maxBatchCount, db.maxBatchSize = opt.maxBatch()
	if opt.MemTableSize < asked.MemTableSize {
		db.opt.Infof("badgerspill: a MemoryLimit of %v makes memtables %v instead of %v: a transaction may hold %d entries and %v; raise it if that is too little\n",
			sizeOf(opt.MemoryLimit), sizeOf(opt.MemTableSize), sizeOf(asked.MemTableSize), db.maxBatchCount, sizeOf(db.maxBatchSize))
	}
	if err := db.openBudget(); err != nil {
		return nil, err
	}
	if err := db.open(); err != nil {
		db.cancel()
		db.account.Close()
		db.events.Close()
		return nil, err
	}
	return db, nil
}

func (db *DB) openBudget() (err error) {
	if db.manager = db.opt.WriteBufferManager; db.manager == nil {
		db.manager, err = wbm.New(wbm.Options{Limit: db.opt.MemoryLimit, SoftRatio: db.opt.Tuning.SoftLimitRatio, SpillRatio: db.opt.Tuning.SpillLimitRatio})
		if err != nil {
			return err
		}
	}
	db.account = db.manager.Register(wbm.Holder{
		Name:   db.opt.Dir,
		OnTier: func(old, new wbm.Tier) { db.events.tier(old, new, db.manager) },
		OnLimits: func() {
			if db.ready.Load() {
				db.fit()
			}
		},
		Relieve: func() {
			if db.ready.Load() {
				db.relieve()
			}
		},
	})
	db.spill = wbm.NewSpilloverManager(wbm.SpilloverOptions{
		Account:   db.account,
		Capacity:  db.spillCapacity(),
		HighWater: db.opt.Tuning.ReplayHighWater,
		Usable:    func() bool { return db.room.SpillUsable() },
		OnBlocked: db.writerBlocked,
	})
	db.ledger = room.NewLedger(db.spill)
	return nil
}

// open takes Badger's locks, and then opens the spill: a damaged or foreign one must not let Badger
// be touched.
func (db *DB) open() (err error) {
	db.phase(OpenSpill)
	if db.dirLocks, err = host.LockDirs(db.opt.Badger(), db.opt.fs(), db.opt.system().locks); err != nil {
		return errors.Join(asLocked(db.opt.Dir, err), db.dirLocks.Abandon())
	}
	if err := db.openSpill(); err != nil {
		return errors.Join(err, db.dirLocks.Abandon())
	}
	db.phaseDone()
	defer func() {
		if err != nil {
			if db.inner != nil {
				err = errors.Join(err, db.inner.Close())
			}
			if db.log != nil {
				err = errors.Join(err, db.log.Close())
			}
			err = errors.Join(err, db.shadow.remove(), db.dirLocks.Abandon())
		}
	}()
	if db.log != nil && !db.log.Empty() {
		if err := db.goOn(); err != nil {
			return err
		}
	}
	db.phase(OpenBadger)
	db.shapeTree()
	db.room = db.newRoom() // what Badger meets while it opens may ask whether its volume is low
	if err := db.openBadger(); err != nil {
		return err
	}
	db.phaseDone()
	db.engine = host.NewEngine(db.inner, db.badger)
	if wrap := db.opt.seams.engine; wrap != nil {
		db.engine = wrap(db.engine)
	}
	if err := db.finishDrop(); err != nil {
		return err
	}
	last, replayFirst := db.inner.MaxVersion(), uint64(0)
	if db.log != nil {
		if last, replayFirst, err = db.checkHistory(last); err != nil {
			return err
		}
	}
	db.pipe = db.newPipeline(last, replayFirst)
	db.levelZero = host.NewLevelZero(db.inner, db.now)
	db.guardLevelZero()
	if _, discard := db.pipe.Progress(); discard > 0 {
		db.discarded.Store(discard)
		db.inner.SetDiscardTs(discard)
	}
	db.banned.offset = db.opt.NamespaceOffset
	db.banned.load(db.inner)
	to := db.events.to
	db.memtables, err = host.NewMemtables(db.inner, db.account, db.now, to.StallBegin != nil || to.StallEnd != nil)
	if err != nil {
		return err
	}
	db.room.Look()
	_ = db.guard.Refresh()
	db.start()
	db.publishMetrics()
	return nil
}

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
	src := spillfile.Source{Dir: opt.SpillDir, FS: opt.fs(), EncryptionKey: opt.EncryptionKey}
	used, err := src.Lock()
	if errors.Is(err, spillfile.ErrLocked) {
		return asLocked(opt.SpillDir, err)
	}
	if err != nil {
		return fmt.Errorf("badgerspill: %w", err)
	}
	defer used.Close()
	in, err := spillfile.Inspect(src)
	if err != nil {
		return fmt.Errorf("badgerspill: %w", err)
	}
	c := spillfile.Claims{ID: id, IDFile: filepath.Join(opt.Dir, marker.IdentityName), IDErr: idErr, Names: names}
	if idErr == nil && !known {
		c.IDErr = fs.ErrNotExist
	}
	if locked {
		c.Interlock = db.interlock.Path()
	}
	if err := spillfile.Judge(in, c); err != nil {
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

// openBadger opens Badger in managed mode without conflict detection: the layer does both. The
// interlock has to go while Badger looks at the directory. A crash in between is found by
// checkHistory.
func (db *DB) openBadger() (err error) {
	opt := db.opt.Badger().WithDetectConflicts(false)
	if db.opt.InMemory {
		return db.openInner(opt)
	}
	locked, err := db.interlock.Present()
	if err != nil {
		return err
	}
	if locked {
		if db.opt.ReadOnly {
			return db.openShadow(opt)
		}
		if err := db.interlock.Remove(); err != nil {
			return err
		}
	}
	defer func() {
		switch {
		case db.log == nil || db.log.Empty() || db.opt.ReadOnly:
		case db.interlock.Trusted():
			err = errors.Join(err, db.interlock.Set())
		default:
			err = errors.Join(err, db.interlock.SetDoubted())
		}
	}()
	if !opt.ReadOnly {
		if err := errors.Join(db.cleanLogs(opt), db.dirLocks.WritePID(opt)); err != nil {
			return err
		}
	}
	if err := db.opt.roomToOpen(); err != nil {
		return err
	}
	if err := db.flushLargerMemtables(opt); err != nil {
		return err
	}
	if err := db.openInner(opt); err != nil {
		return err
	}
	db.noteMemtable(marker.Opened)
	return nil
}

// cleanLogs removes what Badger should not see of what an unclean stop has left. It needs the
// locks, or that the user has said with BypassLockGuard that nobody else has the directory open.
// Where the layer cannot hold them Badger finds out whether somebody has, and nothing is touched
// before. Without notes LOCK is what is locked, and is not opened.
func (db *DB) cleanLogs(opt badger.Options) error {
	sys := db.opt.system()
	if !sys.locks {
		return nil
	}
	err := removeEmptyLogs(opt)
	if sys.notes {
		err = errors.Join(err, host.RemoveDeadLogs(opt))
	}
	return err
}

// noteMemtable makes a note of the active memtable, where LOCK can be written beside the lock;
// nobody may write to Badger meanwhile.
func (db *DB) noteMemtable(note marker.Note) {
	if db.opt.system().notes {
		host.NoteMemtable(db.opt.Badger(), note)
	}
}

// removeEmptyLogs removes logs of no length, which hold nothing. Badger creates a log before it
// gives it a size, and truncates one before it removes it; killed in between it refuses to open
// what it has left.
func removeEmptyLogs(opt badger.Options) error {
	for _, in := range [][2]string{{opt.Dir, host.MemSuffix}, {opt.ValueDir, ".vlog"}} {
		files, err := os.ReadDir(in[0])
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("badgerspill: %w", err)
		}
		for _, f := range files {
			if ok, _ := filepath.Match("[0-9]*"+in[1], f.Name()); !ok {
				continue
			}
			path := filepath.Join(in[0], f.Name())
			if info, err := os.Stat(path); err == nil && info.Size() == 0 {
				if err := os.Remove(path); err != nil {
					return fmt.Errorf("badgerspill: an empty log that a killed process has left: %w", err)
				}
			}
		}
	}
	return nil
}

// openInner leaves db.inner alone if Badger fails: what it returns then is half made, and closing
// that panics or hangs.
func (db *DB) openInner(opt badger.Options) error {
	if !opt.InMemory && !opt.ReadOnly {
		db.lost = host.NewLostTables(opt.Dir, db.badgerFailed)
	}
	lines := &badgerLogger{to: opt.Logger, lost: db.lost}
	inner, err := badger.OpenManaged(db.dirLocks.Options(opt).WithLogger(lines))
	if err != nil {
		return asLocked(opt.Dir, named(err))
	}
	db.inner, db.badger = inner, host.NewState(inner)
	lines.state.Store(db.badger)
	if err := db.lost.Check(); err != nil { // from here on
		return err
	}
	if opt.ReadOnly {
		return nil
	}
	return host.SortLevelZero(inner) // before Badger may discard anything
}

// flushLargerMemtables lets Badger flush the memtable logs of an unclean stop at the size they were
// written with: it cannot take over one that is larger than its memtables.
func (db *DB) flushLargerMemtables(opt badger.Options) error {
	if opt.ReadOnly {
		return nil
	}
	numbers, err := host.MemNumbers(opt.Dir)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("badgerspill: option Dir: %w", err)
	}
	var size int64
	for _, n := range numbers {
		info, err := os.Stat(host.MemPath(opt.Dir, n))
		if err != nil {
			return fmt.Errorf("badgerspill: %w", err)
		}
		size = max(size, info.Size()/2) // Badger makes the log twice as long as the memtable
	}
	if size <= opt.MemTableSize {
		return nil
	}
	db.opt.Infof("badgerspill: flushing memtables of %v that an unclean stop left, before opening with %v\n", sizeOf(size), sizeOf(opt.MemTableSize))
	old, err := badger.OpenManaged(db.dirLocks.Options(opt).WithMemTableSize(size))
	if err != nil {
		return asLocked(opt.Dir, named(err))
	}
	return errors.Join(host.SortLevelZero(old), old.Close())
}

// checkHistory compares what Badger holds with what the spill holds, and returns the newest
// timestamp of both.
//
// By invariant I1 Badger holds nothing newer than the spill. There is one exception of our own
// making: hedged commits, which are in Badger, and of whose append to the spill a crash has left
// only the beginning. The segments say through which timestamp that can be; the spill is dead then,
// since Badger, which takes commits in order, has it all.
func (db *DB) checkHistory(inBadger uint64) (newest, replayFirst uint64, err error) {
	st := db.log.State()
	if st.LiveBatches == 0 {
		return inBadger, 0, nil
	}
	newest = max(inBadger, st.MaxVersion, st.NewestTs)
	if st.DirectThrough == spillfile.Unordered { // timestamps tell nothing about order
		// Hedged commits in it may be older than what Badger has of the same keys, and go there
		// again: until then Badger must not discard a tombstone that they would come back from
		// under.
		return newest, st.LastSeq, nil
	}
	if inBadger > st.DirectThrough && inBadger > st.NewestTs {
		return 0, 0, db.foreignWrites(inBadger, st.NewestTs)
	}
	if inBadger > st.NewestTs {
		if db.opt.ReadOnly { // dead, and not to be changed
			err := db.log.Close()
			db.log = nil
			return newest, 0, err
		}
		if err := db.log.DiscardAll(); err != nil {
			return 0, 0, err
		}
		return newest, 0, db.interlock.Drop()
	}
	if db.interlock.Trusted() {
		return newest, 0, nil
	}
	foreign, err := db.findForeign(max(st.OldestTs, 1))
	if err != nil {
		return 0, 0, err
	}
	if foreign > 0 {
		return 0, 0, db.foreignWrites(foreign, st.NewestTs)
	}
	if db.opt.ReadOnly {
		return newest, 0, nil
	}
	return newest, 0, db.interlock.Set()
}

func (db *DB) foreignWrites(inBadger, inSpill uint64) error {
	return fmt.Errorf("badgerspill: %w: Badger in %s holds version %d, the spill in %s ends at %d. "+
		"\"badgerspill dump\" shows what the spill holds. Who gives that up sets it aside with \"badgerspill discard\"; "+
		"who gives up what was written past it restores the database from a backup",
		ErrForeignWrites, db.opt.Dir, inBadger, db.opt.SpillDir, inSpill)
}

// findForeign looks in Badger for an entry, from timestamp oldest on, that the spill does not have,
// and returns its version, 0 if there is none. All from there on reached Badger by replay, or past
// the layer. It reads all that Badger has taken since, so it is only for a database whose interlock
// was missing.
func (db *DB) findForeign(oldest uint64) (uint64, error) {
	view := db.acquireView()
	if view == nil {
		return 0, nil
	}
	defer view.Release()
	if err := db.goOn(); err != nil {
		return 0, err
	}
	db.phase(OpenCompare)
	txn := db.inner.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	opt := badger.DefaultIteratorOptions
	opt.AllVersions, opt.SinceTs = true, oldest-1
	it := txn.NewIterator(opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := db.goOn(); err != nil {
			return 0, err
		}
		item := it.Item()
		db.opening.told.Bytes += item.EstimatedSize()
		db.tellOpenSoon()
		ref, ok, err := view.Get(item.Key(), item.Version(), true)
		if err != nil {
			return 0, fmt.Errorf("badgerspill: %w", err)
		}
		if !ok || ref.Version != item.Version() {
			return item.Version(), nil
		}
		if view.Unordered() {
			continue // a merge operator may have written a version twice
		}
		if !sameEntry(ref, item) {
			return item.Version(), nil
		}
		ours, err := view.Value(ref, nil)
		if err != nil {
			return 0, fmt.Errorf("badgerspill: %w", err)
		}
		if err := item.Value(func(theirs []byte) error {
			if !bytes.Equal(ours, theirs) {
				return ErrForeignWrites
			}
			return nil
		}); err != nil {
			return item.Version(), nil
		}
	}
	db.phaseDone()
	return 0, nil
}

// sameEntry compares all but the values. A tombstone has no time to live.
func sameEntry(ours spillfile.Ref, theirs *badger.Item) bool {
	return ours.UserMeta == theirs.UserMeta() && ours.ExpiresAt == theirs.ExpiresAt() &&
		(ours.ExpiresAt > 0 || (ours.Meta&metaDelete > 0) == theirs.IsDeletedOrExpired()) &&
		(ours.Meta&metaDiscardEarlier > 0) == theirs.DiscardEarlierVersions()
}

// start starts the goroutines. Before it, no lock is needed.
func (db *DB) start() {
	opt := &db.opt
	tuning := &opt.Tuning
	db.feed = db.newFeed()
	db.rate = replay.NewRateDetector(replay.RateOptions{QuietRate: tuning.QuietRate, QuietWindow: tuning.QuietWindow})
	if opt.ReadOnly {
		return
	}
	if db.log != nil && tuning.SpillRate > 0 {
		db.commits = replay.NewRateDetector(replay.RateOptions{QuietRate: tuning.SpillRate / 2, QuietWindow: tuning.QuietWindow})
	}
	if db.log != nil {
		suffering := db.strain.Strain
		if opt.seams.strain != nil {
			suffering = opt.seams.strain
		}
		db.replayer = replay.New(replay.Options{
			Log: db.feed, Rate: db.rate, Commits: db.commits, MaxRate: tuning.ReplayMaxRate, Strain: suffering,
			Absorbed:    int64(opt.NumMemtables+1) * opt.MemTableSize,
			MaxSpillAge: tuning.MaxSpillAge, HighWater: tuning.ReplayHighWater,
			CheckpointBytes: min(replay.DefaultCheckpointBytes, db.spillPiece()),
			OnBegin:         db.events.replayBegin,
			OnProgress: func(r replay.Run) {
				db.events.replayProgress(r)
				db.feed.Progressed()
				db.replayMoves()
			},
			OnEnd:   db.events.replayEnd,
			OnError: db.replayFailed, OnRecovered: db.replayRecovered, Lasting: lasting,
		})
		db.ready.Store(true)
		db.fit() // to limits that were changed meanwhile
		db.ledger.Follow(db.log)
		switch live := db.log.State().LiveBatches > 0; {
		case live:
			db.pipe.Recovered(pipeline.CauseRecovery)
		case opt.SpillPolicy == Always:
			db.pipe.Recovered(pipeline.CausePolicy)
		}
		db.replayer.Start()
		db.wakeReplay()
	}
	db.ready.Store(true)
	if db.log != nil && tuning.SpillVerifyRate > 0 {
		db.inBackground(db.verifyInBackground)
	}
	db.watch.start()
}
