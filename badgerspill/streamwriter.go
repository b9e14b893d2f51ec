package badgerspill

import (
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"

	"github.com/badgerspill/badgerspill/badgerspill/internal/feed"
	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
)

// StreamWriter writes the output of a Stream into SSTables, past memtables and the spill. It stands
// for badger.StreamWriter: Prepare or PrepareIncremental, Write, and Flush or Cancel, during which
// all commits fail with ErrBlockedWrites. Write is safe for concurrent use.
type StreamWriter struct {
	db    *DB
	inner *badger.StreamWriter

	// mu is held for reading by Write, so that Close may cancel what others write.
	mu     sync.RWMutex
	resume func() // ends the session; nil before Prepare and after Flush or Cancel
	ended  bool   // by Close
}

// NewStreamWriter creates a StreamWriter.
func (db *DB) NewStreamWriter() *StreamWriter {
	return &StreamWriter{db: db, inner: db.inner.NewStreamWriter()}
}

// Prepare drops all data, as DropAll does, and stops commits. Until Flush or Cancel other drops,
// Flatten, streams and backups fail with ErrBlockedWrites, RunValueLogGC with ErrRejected. It waits
// for those that are under way. Close cancels it. It panics on a read-only database.
func (sw *StreamWriter) Prepare() error {
	return sw.prepare(func() error {
		return sw.db.dropStopped(nil, func() error { return sw.db.dropTree(sw.inner.Prepare) })
	})
}

// PrepareIncremental stops commits and keeps the data: the keys to be written must not be in the
// database yet. The spill is replayed first. As in Badger it fails if a memtable holds data, which
// is so after any commit since Open.
func (sw *StreamWriter) PrepareIncremental() error {
	return sw.prepare(func() error {
		if err := sw.db.drainNow(sw.db.ctx, nil); err != nil {
			return err
		}
		return sw.db.feed.Exclusively(func(*feed.Exclusive) error {
			defer sw.db.lost.Settle(host.FlattenCompactor)
			return sw.inner.PrepareIncremental()
		})
	})
}

func (sw *StreamWriter) prepare(inner func() error) error {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	end, err := sw.db.beginDrop()
	if err != nil {
		return err
	}
	sw.db.upkeep.setSession(sw) // Close waits for mu
	resume, err := sw.db.whileStopped(nil, inner)
	if resume == nil {
		sw.db.upkeep.setSession(nil)
		end()
		return err
	}
	sw.resume = func() {
		resume()
		sw.db.upkeep.setSession(nil)
		end()
	}
	return err
}

// Write writes a buffer of marshalled pb.KV. The keys of one StreamId must be in rising order, over
// all calls. It returns an error that matches ErrNoSpace, and writes nothing, if there is not room
// for the buffer above MinFreeSpace.
//
// After Close it returns ErrDBClosed, as Flush does.
func (sw *StreamWriter) Write(buf *z.Buffer) error {
	sw.mu.RLock()
	defer sw.mu.RUnlock()
	if sw.ended || sw.db.IsClosed() {
		return ErrDBClosed
	}
	if err := sw.db.guard.Refresh(); err != nil {
		return err
	}
	cost := int64(buf.LenNoPadding())
	if err := sw.db.room.ClaimBadger(cost); err != nil {
		return err
	}
	defer sw.db.room.Settle(cost)
	return sw.inner.Write(buf)
}

// Flush makes all that was written part of the database and lets commits through again, with
// timestamps above all that was written.
func (sw *StreamWriter) Flush() error {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if sw.ended || sw.db.IsClosed() {
		return ErrDBClosed
	}
	err := sw.inner.Flush()
	sw.db.pipe.Raise(sw.db.inner.MaxVersion())
	sw.endLocked()
	return err
}

// Cancel ends an unfinished stream; what was written may remain in part. It may be called after
// Flush.
func (sw *StreamWriter) Cancel() {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if sw.ended {
		return
	}
	sw.ended = sw.db.closing.Load()
	sw.inner.Cancel()
	sw.endLocked()
}

func (sw *StreamWriter) endLocked() {
	if sw.resume != nil {
		sw.resume()
		sw.resume = nil
	}
}
