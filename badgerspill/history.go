package badgerspill

import (
	"bytes"
	"fmt"
	"math"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/spillfile"
)

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
		if db.interlock.Trusted() { // nobody could write past the layer
			return 0, 0, db.lostEnd(inBadger, st)
		}
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

// lostEnd is the error for a spill that ends before what Badger has got from it. What Open makes of
// such a spill counts from then on, so that a segment alone is not enough to put back.
func (db *DB) lostEnd(inBadger uint64, st spillfile.State) error {
	return fmt.Errorf("badgerspill: %w", &spillfile.CorruptError{
		File: st.NewestPath, Offset: st.NewestEnd,
		Reason: fmt.Sprintf("the spill ends here, at version %d, and Badger in %s has version %d from it: the end of the spill is lost, or its files are older than Badger's",
			st.NewestTs, db.opt.Dir, inBadger),
		Remedy: "put all files of the spill back from a copy; or get out what is left with \"badgerspill salvage\", and set it aside with \"badgerspill discard\"",
	})
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
	if err := db.openingEnded(); err != nil {
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
		if err := db.openingEnded(); err != nil {
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
