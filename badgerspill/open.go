package badgerspill

import (
	"context"
	"errors"
	"fmt"
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
	if err := db.openingEnded(); err != nil {
		return nil, err
	}
	db.guard = newGuard(db)
	db.watch = newWatcher(db)
	db.ctx, db.cancel = context.WithCancel(context.Background())
	db.health.untilStopped.Store(newEndingContext(db.ctx))
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
				db.applyLimits()
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
			err = errors.Join(err, db.shadow.Remove(), db.dirLocks.Abandon())
		}
	}()
	if db.log != nil && !db.log.Empty() {
		if err := db.openingEnded(); err != nil {
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
	db.engine = host.NewEngine(db.inner, db.badger, db.unsynced)
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

// openBadger opens Badger in managed mode without conflict detection: the layer does both. The
// interlock has to go while Badger looks at the directory. A crash in between is found by
// checkHistory.
func (db *DB) openBadger() (err error) {
	opt := db.opt.Badger().WithDetectConflicts(false)
	if db.opt.InMemory {
		return db.openInner(opt)
	}
	if err := host.CheckTables(opt); err != nil {
		return err
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
	if err := errors.Join(db.opt.roomToOpen(), db.opt.filesToOpen()); err != nil {
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
	err := host.RemoveEmptyLogs(opt)
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

// openInner leaves db.inner alone if Badger fails: what it returns then is half made, and closing
// that panics or hangs.
func (db *DB) openInner(opt badger.Options) error {
	if !opt.InMemory && !opt.ReadOnly {
		db.lost = host.NewLostTables(opt.Dir, db.badgerFailed)
		db.unsynced = host.NewUnsynced(db.badgerFailed)
	}
	lines := host.NewLogger(opt.Logger, db.lost, db.unsynced)
	inner, err := badger.OpenManaged(db.dirLocks.Options(opt).WithLogger(lines))
	if err != nil {
		return asLocked(opt.Dir, named(err))
	}
	db.inner, db.badger = inner, host.NewState(inner)
	lines.Mends(db.badger)
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
	size, err := host.WrittenMemTableSize(opt.Dir)
	if err != nil {
		return fmt.Errorf("badgerspill: option Dir: %w", err)
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

// openShadow opens Badger read-only by way of a shadow.
func (db *DB) openShadow(opt badger.Options) error {
	if sys := db.opt.system(); !sys.locks && !opt.BypassLockGuard {
		return fmt.Errorf("badgerspill: read-only with commits in the spill: on %s nothing keeps writers out of %s meanwhile; "+
			"open it for writing once, or set BypassLockGuard if nobody writes", sys.name, opt.Dir)
	}
	shadow, opt, err := host.NewShadow(opt)
	if err != nil {
		return err
	}
	if err := db.openInner(opt); err != nil {
		return errors.Join(err, shadow.Remove())
	}
	db.shadow = shadow
	return nil
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
		db.applyLimits() // to limits that were changed meanwhile
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
