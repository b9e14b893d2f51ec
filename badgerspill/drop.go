package badgerspill

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/badgerspill/badgerspill/spillfile"
)

// dropName is a file in Dir that says what is being dropped. It is there from before anything is dropped until all of it
// is, so that Open can finish what a crash has interrupted: a half of it, the spill's or Badger's, would bring back the
// past.
const dropName = "BADGERSPILL-DROP"

// DropAll deletes everything. Commits fail with ErrBlockedWrites meanwhile, as in Badger, and nobody should read. It waits
// for commits on their way. After a crash in the middle all is dropped, or nothing. If it fails in the middle (a full disk, say)
// commits stay blocked, and the next Open finishes it. It panics on a read-only database.
func (db *DB) DropAll() error {
	return db.drop(nil)
}

// DropPrefix deletes all keys with any of the prefixes. Commits fail with ErrBlockedWrites meanwhile, as in Badger. It
// replays the spill first, and blocks until all is done. A crash or a failure in the middle is as for DropAll. It panics on a
// read-only database.
func (db *DB) DropPrefix(prefixes ...[]byte) error {
	if len(prefixes) == 0 {
		return nil
	}
	return db.drop(prefixes)
}

// drop drops prefixes, or everything if there are none.
func (db *DB) drop(prefixes [][]byte) error {
	resume, err := db.whileStopped(func() error {
		err := db.dropStopped(prefixes, func() error { return db.dropInner(prefixes) })
		if err == nil {
			db.mu.Lock()
			db.line.visible = db.inner.MaxVersion()
			db.mu.Unlock()
		}
		return err
	})
	resume()
	return err
}

// whileStopped runs fn while commits are stopped; Close waits for it. resume, never nil, lets commits through again, unless
// they must not go on before the next Open.
func (db *DB) whileStopped(fn func() error) (resume func(), err error) {
	resume, err = db.stopCommits()
	if err != nil {
		return func() {}, err
	}
	if !db.holdOpen() {
		return resume, ErrBlockedWrites
	}
	defer db.background.Done()
	if err = fn(); errors.Is(err, errDropStays) {
		resume = func() {}
	}
	return resume, err
}

// dropInner is Badger's part of a drop.
func (db *DB) dropInner(prefixes [][]byte) error {
	if len(prefixes) == 0 {
		return db.inner.DropAll()
	}
	return db.inner.DropPrefix(prefixes...)
}

// errDropStays is an error after which the file stays: what is committed from here on would be dropped by the next Open.
var errDropStays = errors.New("badgerspill: commits stay blocked until the next Open finishes the drop")

// stopCommits makes new commits fail with ErrBlockedWrites and waits for those on their way. resume ends that.
func (db *DB) stopCommits() (resume func(), err error) {
	if db.opt.ReadOnly {
		panic("Attempting to drop data in read-only mode.")
	}
	db.mu.Lock()
	if db.closed || db.dropping {
		db.mu.Unlock()
		return nil, ErrBlockedWrites
	}
	db.dropping = true
	db.mu.Unlock()
	db.settleAll()
	for db.log != nil && db.log.State().Queued > 0 { // hedges that Badger has answered, but are not appended yet
		time.Sleep(50 * time.Microsecond)
	}
	return func() {
		db.mu.Lock()
		db.dropping = false
		db.mu.Unlock()
	}, nil
}

// dropStopped drops while commits are stopped; dropInner is Badger's part.
func (db *DB) dropStopped(prefixes [][]byte, dropInner func() error) error {
	if db.opt.InMemory {
		return dropInner()
	}
	if db.log != nil && len(prefixes) > 0 {
		if err := db.drainNow(db.ctx, nil); err != nil {
			return err
		}
	}
	// Neither replay nor the flush of an idle memtable may write to Badger now.
	db.gate.Lock()
	defer db.gate.Unlock()
	if db.replayLog != nil {
		db.replayLog.awaitLate()
	}
	if len(prefixes) > 0 {
		// What was replayed last may not be durable, and the spill is about to be dropped.
		if err := db.engine.sync(); err != nil {
			return err
		}
	}
	if err := db.keepOthersOut(); err != nil {
		return err
	}
	if err := db.announceDrop(prefixes); err != nil {
		if werr := db.withdrawDrop(); werr != nil {
			return errors.Join(errDropStays, err, werr)
		}
		return err
	}
	if err := db.carryOutDrop(dropInner); err != nil {
		return errors.Join(errDropStays, err)
	}
	return nil
}

// keepOthersOut sets the interlock: no plain Badger may write before an announced drop is finished.
// Without a spill there is none, as there is nothing that it could say where to find.
func (db *DB) keepOthersOut() error {
	if db.log == nil || !db.spillMade() {
		return nil
	}
	return db.interlock.keep()
}

// carryOutDrop does what is announced, and withdraws that.
func (db *DB) carryOutDrop(dropInner func() error) error {
	err := dropInner()
	if err == nil { // iterators may hold older ones
		noteMemtable(db.opt.Options, droppedNote)
	}
	if err == nil && db.log != nil {
		err = db.discardSpill()
	}
	if err == nil {
		err = db.withdrawDrop()
	}
	return err
}

// discardSpill drops what the spill holds, all of which is in Badger or to be forgotten.
func (db *DB) discardSpill() error {
	if err := db.log.DiscardAll(); err != nil {
		return err
	}
	if db.replayLog != nil { // not yet while Open finishes a drop
		db.spillUse.refresh()
		db.replayLog.startOver()
		db.mu.Lock()
		if db.router.state == Spilling && db.opt.SpillPolicy != Always {
			db.events.handOver(HandOverInfo{Spilled: db.turn(Direct), Dropped: true})
		}
		db.mu.Unlock()
	}
	return nil
}

func (db *DB) dropPath() string { return filepath.Join(db.opt.Dir, dropName) }

// announceDrop makes the file, durably: a line for each prefix in hexadecimal, none for everything, and a line "end".
func (db *DB) announceDrop(prefixes [][]byte) error {
	var text bytes.Buffer
	for _, p := range prefixes {
		fmt.Fprintf(&text, "%x\n", p)
	}
	text.WriteString("end\n")
	return writeFile(db.opt.fs(), db.dropPath(), text.Bytes())
}

func (db *DB) withdrawDrop() error {
	fsys := db.opt.fs()
	err := fsys.Remove(db.dropPath())
	if err == nil {
		err = fsys.SyncDir(db.opt.Dir)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil && db.log != nil {
		db.interlock.release()
		err = db.interlock.drop()
	}
	return err
}

// announcedDrop returns what was being dropped when the database was used last. prefixes is empty for everything.
func announcedDrop(fsys spillfile.FS, dir string) (prefixes [][]byte, found bool, err error) {
	path := filepath.Join(dir, dropName)
	text, found, err := readFile(fsys, path, 1<<30)
	if err != nil || !found {
		return nil, false, err
	}
	body, ok := strings.CutSuffix(string(text), "end\n")
	if !ok {
		return nil, false, &spillfile.CorruptError{File: path, Reason: "does not end with \"end\": a DropAll or DropPrefix was interrupted, " +
			"and what it was to drop is not known; remove the file to forget it"}
	}
	for line := range strings.Lines(body) {
		p, err := hex.DecodeString(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, false, &spillfile.CorruptError{File: path, Reason: fmt.Sprintf("%q is not a prefix in hexadecimal; "+
				"remove the file to forget the interrupted DropPrefix", line)}
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, true, nil
}

// finishDrop finishes at Open what a crash has interrupted.
func (db *DB) finishDrop() error {
	prefixes, found, err := announcedDrop(db.opt.fs(), db.opt.Dir)
	if err != nil || !found {
		return err
	}
	if db.opt.ReadOnly {
		return fmt.Errorf("badgerspill: a drop was interrupted (%s): open the database for writing first", db.dropPath())
	}
	what := "everything"
	if len(prefixes) > 0 {
		what = fmt.Sprintf("%d prefixes", len(prefixes))
	}
	db.opt.Infof("badgerspill: finishing a drop of %s in %s that a crash has interrupted\n", what, db.opt.Dir)
	if err = db.keepOthersOut(); err == nil {
		err = db.carryOutDrop(func() error { return db.dropInner(prefixes) })
	}
	if err != nil {
		return fmt.Errorf("badgerspill: finishing an interrupted drop: %w", err)
	}
	return nil
}

// BanNamespace makes all keys of a namespace (see WithNamespaceOffset) unreadable and unwritable, in the spill too, for
// ever. Errors: ErrNamespaceMode, ErrBlockedWrites, and those of a write to Badger. It panics on a read-only database.
func (db *DB) BanNamespace(ns uint64) error {
	if err := db.inner.BanNamespace(ns); err != nil {
		return err
	}
	db.banned.load(db.inner)
	return nil
}

// drainNow replays now until reached is closed (nil: until the spill is empty), ctx ends, or replay cannot go on because
// Badger fails again and again or a disk is full, which nobody waiting could end.
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
			if err := db.space.check(); err != nil {
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
	if err := db.drainNow(ctx, db.replayLog.reached(db.log.State().LastSeq)); err != nil {
		return fmt.Errorf("badgerspill: replaying the spill: %w", err)
	}
	return nil
}
