package badgerspill

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/feed"
	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/badgerspill/internal/room"
	"github.com/badgerspill/badgerspill/badgerspill/internal/strain"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// DB is a Badger database with a spill over it. It stands for badger.DB and is safe for concurrent
// use.
//
// Locks, in the order in which they are taken. Who holds one takes only those below it.
//
//	limits.setting    one Set... at a time, over writes to disk
//	limits.fitting    one adaption to new limits at a time
//	upkeep.mu         which maintenance is under way; not held while it is
//	the feed's lock   replay, drops, sealing, and loads that begin: see internal/feed
//	the commit lock   of pipe: see internal/pipeline
//	publisher.mu      subscribers and what waits for them
//	host.Guard, and the locks of room's looks: one look at Badger, or at the disks, at a time, and
//	whether one may begin in the background
//	health.mu         whether replay can go on
//	interlock.mu      its file, over writes to disk
//	host.Memtables, host.LostTables, room.Ledger, the feed's marks and drains, narrator.mu,
//	recent.mu: each guards what one part counts
//	those of wbm, and those of spillfile: see spillfile.Log
//	the queue of events: nothing is called under it
//
// Txn.mu is the transaction's own and is taken before the commit lock. So are those of a
// WriteBatch, a Sequence and a MergeOperator, under which a commit or a read may wait. That of a
// StreamWriter is taken before upkeep.mu. Badger's own locks come last of all; it calls its Logger
// under some of them, see host.Logger.
type DB struct {
	opt Options // what Open has made of them; what Set... changes is not in it, see limits

	inner  *badger.DB // in managed mode, whatever mode the layer is in
	engine engine

	manager *wbm.WriteBufferManager
	account *wbm.Account
	spill   *wbm.SpilloverManager
	log     *spillfile.Log // nil without a spill

	rate      *replay.RateDetector // of bytes
	commits   *replay.RateDetector // of commits sent to it under Auto, nil if SpillRate is Off
	turning   atomic.Bool          // a turn to the spill because of it is being prepared
	replayer  *replay.Replayer     // nil without a spill
	feed      *feed.Feed
	interlock *marker.Interlock
	dirLocks  *host.DirLocks
	shadow    *host.Shadow // nil unless read-only with commits in the spill
	memtables *host.Memtables
	sealing   atomic.Bool // the active memtable is being sealed
	ledger    *room.Ledger
	room      *room.Room
	limits    limits
	tree      TreeInfo // since Open
	opening   opening
	watch     *watcher
	events    *events
	counters  counters
	strain    *strain.Monitor
	banned    bannedNamespaces
	publisher *publisher

	maxBatchCount, maxBatchSize int64

	begin      time.Time // of the clock of now
	ctx        context.Context
	cancel     context.CancelFunc
	background sync.WaitGroup // short work that Close waits for
	closing    atomic.Bool    // no new commits
	isClosed   atomic.Bool
	ready      atomic.Bool // Open is done but for starting goroutines
	closeOnce  sync.Once
	discarded  atomic.Uint64 // what Badger was last told that it may discard
	health     health
	narrator   *narrator

	guard      *guard
	upkeep     upkeep
	badger     *host.State                    // nil: see there
	lost       *host.LostTables               // nil: nothing is compacted to disk
	unsynced   *host.Unsynced                 // nil: nothing is written to disk
	unfinished atomic.Pointer[unfinishedDrop] // nil for none
	drops      atomic.Uint64                  // that are done

	// pipe has the commit lock: all commits pass there. It is made when Badger and the log are
	// open.
	pipe *pipeline.Pipeline

	levelZero *host.LevelZero // the watcher's own, and Open's before
}

// now is a monotonic clock in nanoseconds.
func (db *DB) now() int64 { return int64(time.Since(db.begin)) }

func (db *DB) since(t int64) time.Duration { return time.Duration(db.now() - t) }

func (db *DB) acquireView() *spillfile.View {
	if db.log == nil {
		return nil
	}
	return db.log.Acquire()
}

func (db *DB) wakeReplay() {
	if db.replayer != nil {
		db.replayer.Wake()
	}
}

// SetDiscardTs lets Badger drop all but the newest version at or below ts of each key. It panics if
// the database is not managed.
func (db *DB) SetDiscardTs(ts uint64) {
	if !db.opt.managed {
		panic("Cannot use SetDiscardTs with managedDB=false.")
	}
	db.pipe.SetDiscardTs(ts)
}

// MaxBatchCount returns how many entries a transaction may hold.
func (db *DB) MaxBatchCount() int64 { return db.maxBatchCount }

// MaxBatchSize returns how many bytes a transaction may hold.
func (db *DB) MaxBatchSize() int64 { return db.maxBatchSize }

// IsClosed reports whether Close was called.
func (db *DB) IsClosed() bool { return db.isClosed.Load() }

// MaxVersion returns the highest timestamp of any commit, in the spill or in Badger.
func (db *DB) MaxVersion() uint64 {
	return db.pipe.Visible()
}

// Size returns the bytes on disk of Badger's LSM tree, and those of its value log and of the spill.
// As in Badger its own parts are brought up to date once a minute.
func (db *DB) Size() (lsm, vlog int64) {
	lsm, vlog = db.inner.Size()
	if db.log != nil {
		vlog += db.log.State().DiskBytes
	}
	return lsm, vlog
}

// Sync makes all acknowledged commits durable against a power cut. It may block for the disk, and
// Close waits for it. On a closed database it returns ErrDBClosed.
func (db *DB) Sync() error {
	if db.IsClosed() {
		return ErrDBClosed
	}
	if db.opt.InMemory || db.opt.ReadOnly {
		return nil
	}
	if !db.pipe.Hold() { // Badger's Close keeps locks that a sync waits for
		return ErrDBClosed
	}
	defer db.background.Done()
	if db.log != nil {
		if err := db.log.Sync(); err != nil {
			return err
		}
	}
	return db.engine.Sync()
}

// Drain replays the whole spill now, whatever the write rate, and returns when commits go to Badger
// directly again, or with the error of ctx. Everything stays consistent if it is given up. Errors
// of Badger are retried until ctx ends, but for those that do not pass, as damage: see Health. With
// SpillPolicy Always it returns when Badger has what was acknowledged. Progress is told by
// EventListener.DrainProgress.
func (db *DB) Drain(ctx context.Context) error {
	if db.IsClosed() {
		return ErrDBClosed
	}
	return db.drain(ctx)
}

// Close ends the database: it waits for all commits on their way, replays the spill unless
// KeepSpillOnClose is set, and closes Badger. New commits fail with ErrBlockedWrites, new reads
// with ErrDBClosed. It can be called more than once. If the replay fails, the spill stays for the
// next Open and the error says so. It waits for maintenance that is under way, and ends streams,
// backups and StreamWriters, with ErrDBClosed; so it must not be called from a callback of one of
// those.
func (db *DB) Close() error { return db.CloseContext(context.Background()) }

func (db *DB) close(ctx context.Context) error {
	db.pipe.Close()
	db.closing.Store(true)
	db.isClosed.Store(true)
	db.withdrawMetrics()
	db.upkeep.refuse()
	db.cancel() // parked writers
	db.upkeep.cancelSession()
	db.pipe.Settle()
	// what SetSpillPolicy makes, or gives up, it does while the directory is ours
	db.limits.settle()

	var errs []error
	if err := db.publisher.close(ctx); err != nil {
		errs = append(errs, err)
	}
	if db.replayer != nil {
		if !db.opt.KeepSpillOnClose && !db.log.Empty() {
			if err := db.drainToClose(ctx); err != nil {
				errs = append(errs, err)
			}
		}
		db.replayer.Stop()
	}
	db.watch.close()
	db.room.Stop()
	db.background.Wait()
	db.upkeep.settle()
	db.feed.Close() // only now: a drop ends the chunk, too
	if db.log != nil {
		// Before Badger is closed: a crash in between leaves the interlock in place.
		switch {
		case db.opt.ReadOnly:
			errs = append(errs, db.log.Close())
		case db.policy() == Never && db.log.Empty() && db.spillMade():
			errs = append(errs, db.removeSpill())
		default:
			errs = append(errs, db.interlock.Drop(), db.log.Close())
		}
	}
	errs = append(errs, db.inner.Close(), db.shadow.Remove(), db.dirLocks.Release())
	db.account.Close()
	db.events.Close()
	return errors.Join(errs...)
}

// inBackground runs fn in a goroutine that Close waits for.
func (db *DB) inBackground(fn func()) {
	db.background.Add(1)
	go func() {
		defer db.background.Done()
		fn()
	}()
}
