package badgerspill

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/spillfile"
)

// Flatten replays the spill and then compacts until all data is in one level of Badger's tree, with
// so many workers. It blocks for all of that, and before it for a drop or another Flatten that is
// under way. Errors: one that matches ErrNoSpace if free space is below MinFreeSpace;
// ErrBlockedWrites beside a StreamWriter; ErrDBClosed; an unnamed one for fewer workers than 1,
// with which Badger's never ends. It panics on a read-only database.
func (db *DB) Flatten(workers int) error {
	if db.IsClosed() {
		return ErrDBClosed
	}
	if db.opt.ReadOnly {
		panic("Cannot flatten in read-only mode.")
	}
	if workers < 1 {
		return fmt.Errorf("badgerspill: Flatten with %d workers: at least 1", workers)
	}
	if err := db.drainThrough(db.ctx); err != nil {
		if db.IsClosed() {
			return ErrDBClosed
		}
		return err
	}
	end, err := db.upkeep.begin(db.ctx, upkeepFlatten)
	if err != nil {
		return err
	}
	defer end()
	if err := errors.Join(db.room.Check(), db.guard.check()); err != nil {
		return err
	}
	defer db.lost.Settle(host.FlattenCompactor)
	return db.inner.Flatten(workers)
}

// VerifyChecksum reads all of Badger's SSTables and all of the spill, and checks them. Damage in
// the spill is an error that matches ErrCorrupt. On a closed database it returns ErrDBClosed;
// Badger's ends the process. It waits for a drop that is under way, and beside a StreamWriter it
// returns ErrBlockedWrites.
func (db *DB) VerifyChecksum() error {
	end, err := db.upkeep.begin(db.ctx, upkeepShared)
	if err != nil {
		return err
	}
	defer end()
	if err := db.inner.VerifyChecksum(); err != nil {
		return err
	}
	if db.log == nil {
		return nil
	}
	var chunk spillfile.Chunk
	for !chunk.AtEnd {
		if err := db.log.ReadChunkInto(&chunk, chunk.Next, 4<<20); err != nil {
			return fmt.Errorf("badgerspill: %w", err)
		}
	}
	return nil
}

// EstimateSize returns about how many bytes the keys with a prefix take, on disk and uncompressed:
// Badger's SSTables that hold nothing else, and what the spill has of them. It looks at each such
// entry in the spill's index; what cannot be read there is left out.
func (db *DB) EstimateSize(prefix []byte) (onDisk, uncompressed uint64) {
	if db.unmapped() {
		return 0, 0
	}
	onDisk, uncompressed = db.inner.EstimateSize(prefix)
	view := db.acquireView()
	if view == nil {
		return onDisk, uncompressed
	}
	defer view.Release()
	it := view.NewIterator(false)
	defer it.Close()
	for it.Seek(y.KeyWithTs(prefix, ^uint64(0))); it.Valid() && bytes.HasPrefix(it.UserKey(), prefix); it.Next() {
		n := uint64(len(it.Key())) + uint64(it.Ref().ValueLen)
		onDisk, uncompressed = onDisk+n, uncompressed+n
	}
	return onDisk, uncompressed
}
