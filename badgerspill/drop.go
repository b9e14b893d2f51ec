package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/feed"
	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
)

// DropAll deletes everything. Commits fail with ErrBlockedWrites meanwhile, as in Badger, and
// nobody should read. It waits for commits on their way, and before that for streams, backups, a
// Flatten and a RunValueLogGC that are under way; so none of those may call it from a callback.
// Beside another drop, or a StreamWriter, it fails with ErrBlockedWrites. After a crash in the
// middle all is dropped, or nothing. If it fails in the middle (a full disk, say) commits stay
// refused until it is finished: it is tried again by itself, by the next drop, and by the next
// Open. It panics on a read-only database.
//
// A transaction that began before finds nothing any more once DropAll has returned, whatever it
// reads first then. An iterator that was open goes on over the keys that it had, with their values,
// except those that lay in the value log: they cannot be relied on. The writes of such a
// transaction are committed after the drop.
func (db *DB) DropAll() error {
	return db.drop(nil)
}

// DropPrefix deletes all keys with any of the prefixes. Commits fail with ErrBlockedWrites
// meanwhile, as in Badger. It replays the spill first, and blocks until all is done. What it waits
// for, what a crash or a failure in the middle leaves, and what transactions see that began before,
// is as for DropAll; keys without the prefixes they find as before. It panics on a read-only
// database.
func (db *DB) DropPrefix(prefixes ...[]byte) error {
	if len(prefixes) == 0 {
		return nil
	}
	return db.drop(prefixes)
}

// drop drops prefixes, or everything if there are none.
func (db *DB) drop(prefixes [][]byte) error {
	end, err := db.beginDrop()
	if err != nil {
		return err
	}
	defer end()
	resume, err := db.whileStopped(prefixes, func() error {
		return db.dropStopped(prefixes, func() error { return db.dropInner(prefixes) })
	})
	if resume != nil {
		resume()
	}
	return err
}

// beginDrop takes the turn of a drop, and finishes an earlier one that has failed.
func (db *DB) beginDrop() (end func(), err error) {
	if db.opt.ReadOnly {
		panic("Attempting to drop data in read-only mode.")
	}
	end, err = db.upkeep.begin(db.ctx, upkeepDrop)
	if err != nil {
		return nil, ErrBlockedWrites
	}
	if err := db.retryDrop(); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// whileStopped runs fn, which drops prefixes, while commits are stopped; Close waits for it. resume
// lets commits through again, unless they must not go on before the drop is finished; it is nil if
// fn was not called.
func (db *DB) whileStopped(prefixes [][]byte, fn func() error) (resume func(), err error) {
	resume, err = db.pipe.Stop()
	if err != nil {
		return nil, err
	}
	if !db.pipe.Hold() {
		resume()
		return nil, ErrBlockedWrites
	}
	defer db.background.Done()
	if err = fn(); errors.Is(err, errDropStays) {
		refused := fmt.Errorf("badgerspill: %w: %w", ErrBlockedWrites, err)
		db.unfinished.Store(&unfinishedDrop{prefixes, refused, resume})
		db.pipe.Because(refused)
		db.setHealth(nil)
		db.inBackground(db.retryDrops)
		resume = func() {}
	}
	return resume, err
}

// dropInner is Badger's part of a drop.
func (db *DB) dropInner(prefixes [][]byte) error {
	if len(prefixes) == 0 {
		return db.dropTree(db.inner.DropAll)
	}
	err := db.inner.DropPrefix(prefixes...)
	db.badger.Mend()
	db.lost.Settle(host.DropCompactor)
	return err
}

// dropTree runs Badger's DropAll, or what does the same. Badger then counts its tables from 1
// again. The files of those that a reader still holds are there, and a compaction that meets one
// loses its keys (see host.LostTables); and their blocks are in the cache by number. So the numbers
// go on.
func (db *DB) dropTree(dropAll func() error) error {
	next := db.badger.NextTable()
	err := dropAll()
	db.badger.RaiseTable(next)
	db.badger.Mend()
	return err
}

// errDropStays is an error after which the file stays: what is committed from here on would be
// dropped by the next Open.
var errDropStays = errors.New("badgerspill: commits are refused until the drop is finished: it is tried again by itself, by the next drop, and by the next Open")

// unfinishedDrop is a drop that was announced and has failed since.
type unfinishedDrop struct {
	prefixes [][]byte
	err      error  // of commits meanwhile
	resume   func() // lets commits through again
}

const (
	dropRetryMin = 100 * time.Millisecond
	dropRetryMax = 30 * time.Second
)

// retryDrops tries to finish the drop that has failed until that succeeds or the database is
// closed. What is left then the next Open does.
func (db *DB) retryDrops() {
	for delay := dropRetryMin; ; delay = min(2*delay, dropRetryMax) {
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-db.ctx.Done():
			timer.Stop()
			return
		}
		end, err := db.upkeep.begin(db.ctx, upkeepDrop)
		if err == nil {
			err = db.retryDrop()
			end()
		}
		if db.unfinished.Load() == nil {
			return
		}
		db.events.backgroundError("finish a drop", err, fmt.Sprintf("commits are refused until it is finished; next try in %v", min(2*delay, dropRetryMax)))
	}
}

// retryDrop finishes the drop that has failed, if there is one. It needs the turn of a drop.
func (db *DB) retryDrop() error {
	u := db.unfinished.Load()
	if u == nil {
		return nil
	}
	if !db.pipe.Hold() {
		return ErrBlockedWrites
	}
	defer db.background.Done()
	return db.feed.Exclusively(func(x *feed.Exclusive) error {
		err := db.guard.Look()
		if err == nil {
			// that may be what has failed
			err = marker.AnnounceDrop(db.opt.fs(), db.opt.Dir, u.prefixes)
		}
		if err == nil {
			err = db.carryOutDrop(x, func() error { return db.dropInner(u.prefixes) })
		}
		if err != nil {
			return errors.Join(errDropStays, err)
		}
		db.dropped()
		db.unfinished.Store(nil)
		u.resume()
		db.setHealth(nil)
		return nil
	})
}

// dropped is called when all of a drop is done, while commits are stopped.
func (db *DB) dropped() {
	db.drops.Add(1)
	db.pipe.Dropped(db.inner.MaxVersion())
}

// dropStopped drops while commits are stopped; dropInner is Badger's part.
func (db *DB) dropStopped(prefixes [][]byte, dropInner func() error) error {
	if db.opt.InMemory {
		err := dropInner()
		if err == nil {
			db.dropped()
		}
		return err
	}
	if db.log != nil && len(prefixes) > 0 {
		if err := db.drainNow(db.ctx, nil); err != nil {
			return err
		}
	}
	// Neither replay nor the flush of an idle memtable may write to Badger now.
	return db.feed.Exclusively(func(x *feed.Exclusive) error { return db.dropExclusively(x, prefixes, dropInner) })
}

// dropExclusively drops while nobody else writes to Badger.
func (db *DB) dropExclusively(x *feed.Exclusive, prefixes [][]byte, dropInner func() error) error {
	x.AwaitLate()
	if len(prefixes) > 0 {
		// What was replayed last may not be durable, and the spill is about to be dropped.
		if err := db.engine.Sync(); err != nil {
			return err
		}
	}
	if err := db.guard.Look(); err != nil { // a drop that fails in the middle keeps commits waiting
		return err
	}
	if err := db.keepOthersOut(); err != nil {
		return err
	}
	if err := marker.AnnounceDrop(db.opt.fs(), db.opt.Dir, prefixes); err != nil {
		if werr := db.withdrawDrop(); werr != nil {
			return errors.Join(errDropStays, err, werr)
		}
		return err
	}
	if err := db.carryOutDrop(x, dropInner); err != nil {
		return errors.Join(errDropStays, err)
	}
	db.dropped()
	return nil
}

// keepOthersOut sets the interlock: no plain Badger may write before an announced drop is finished.
// Without a spill there is none, as there is nothing that it could say where to find.
func (db *DB) keepOthersOut() error {
	if !db.spillMade() {
		return nil
	}
	return db.interlock.Keep()
}

// carryOutDrop does what is announced, and withdraws that. x is nil while Open finishes a drop.
func (db *DB) carryOutDrop(x *feed.Exclusive, dropInner func() error) error {
	err := dropInner()
	if err == nil { // iterators may hold older ones
		db.noteMemtable(marker.Dropped)
	}
	if err == nil && db.log != nil {
		err = db.discardSpill(x)
	}
	if err == nil {
		err = db.withdrawDrop()
	}
	return err
}

// discardSpill drops what the spill holds, all of which is in Badger or to be forgotten. x is nil
// while Open finishes a drop: there is no feed yet.
func (db *DB) discardSpill(x *feed.Exclusive) error {
	if err := db.log.DiscardAll(); err != nil {
		return err
	}
	if x != nil {
		db.ledger.Refresh()
		x.StartOver()
		db.spillChanged()
		db.pipe.Emptied()
	}
	return nil
}

func (db *DB) withdrawDrop() error {
	err := marker.WithdrawDrop(db.opt.fs(), db.opt.Dir)
	if err == nil && db.log != nil {
		db.interlock.Release()
		err = db.interlock.Drop()
	}
	return err
}

// finishDrop finishes at Open what a crash has interrupted.
func (db *DB) finishDrop() error {
	prefixes, found, err := marker.AnnouncedDrop(db.opt.fs(), db.opt.Dir)
	if err != nil || !found {
		return err
	}
	if db.opt.ReadOnly {
		return fmt.Errorf("badgerspill: a drop was interrupted (%s): open the database for writing first", marker.DropPath(db.opt.Dir))
	}
	what := "everything"
	if len(prefixes) > 0 {
		what = fmt.Sprintf("%d prefixes", len(prefixes))
	}
	db.opt.Infof("badgerspill: finishing a drop of %s in %s that a crash has interrupted\n", what, db.opt.Dir)
	if err = db.keepOthersOut(); err == nil {
		err = db.carryOutDrop(nil, func() error { return db.dropInner(prefixes) })
	}
	if err != nil {
		return fmt.Errorf("badgerspill: finishing an interrupted drop: %w", err)
	}
	return nil
}

// BanNamespace makes all keys of a namespace (see WithNamespaceOffset) unreadable and unwritable,
// in the spill too, for ever. It waits for a drop that is under way, and for Badger's answer.
// Errors: ErrNamespaceMode, ErrBlockedWrites, and those of a write to Badger. It panics on a
// read-only database.
func (db *DB) BanNamespace(ns uint64) error {
	end, err := db.upkeep.begin(db.ctx, upkeepShared)
	if err != nil {
		return ErrBlockedWrites
	}
	defer end()
	if err := db.guard.check(); err != nil {
		return err
	}
	if err := db.inner.BanNamespace(ns); err != nil {
		return err
	}
	db.banned.load(db.inner)
	return nil
}

// drainNow replays now until reached is closed (nil: until the spill is empty), ctx ends, or replay
// cannot go on because Badger fails again and again or a disk is full, which nobody waiting could
// end.
func (db *DB) drainNow(ctx context.Context, reached <-chan struct{}) error {
	if db.replayer == nil {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- db.drain(ctx) }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	before := db.replayer.Stats().Errors
	for {
		select {
		case <-reached:
			return nil
		case err := <-done:
			if err != nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return err
		case <-tick.C:
			if st := db.replayer.Stats(); st.Errors > before+2 {
				cancel(st.LastError)
			}
			if err := errors.Join(db.room.Check(), db.guard.pauses()); err != nil {
				cancel(err)
			}
		}
	}
}

// drainThrough replays now until everything that was acknowledged before the call is in Badger.
func (db *DB) drainThrough(ctx context.Context) error {
	if db.log == nil || db.log.Empty() {
		return nil
	}
	if db.opt.ReadOnly {
		return fmt.Errorf("badgerspill: the spill in %s holds commits that are not replayed, which a stream has to see in Badger: "+
			"open the database for writing first", db.opt.SpillDir)
	}
	if err := db.drainNow(ctx, db.feed.Reached(db.log.State().LastSeq)); err != nil {
		return fmt.Errorf("badgerspill: replaying the spill: %w", err)
	}
	return nil
}
