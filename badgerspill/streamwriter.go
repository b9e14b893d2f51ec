package badgerspill

import (
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"
)

// StreamWriter writes the output of a Stream into SSTables, past memtables and the spill. It stands for
// badger.StreamWriter: Prepare or PrepareIncremental, Write, and Flush or Cancel, during which all commits fail with
// ErrBlockedWrites. Write is safe for concurrent use.
type StreamWriter struct {
	db    *DB
	inner *badger.StreamWriter

	mu     sync.Mutex
	resume func() // lets commits through again; nil before Prepare and after Flush or Cancel
}

// NewStreamWriter creates a StreamWriter.
func (db *DB) NewStreamWriter() *StreamWriter {
	return &StreamWriter{db: db, inner: db.inner.NewStreamWriter()}
}

// Prepare drops all data, as DropAll does, and stops commits. It panics on a read-only database.
func (sw *StreamWriter) Prepare() error {
	return sw.prepare(func() error { return sw.db.dropStopped(nil, sw.inner.Prepare) })
}

// PrepareIncremental stops commits and keeps the data: the keys to be written must not be in the database yet. The spill is
// replayed first. As in Badger it fails if a memtable holds data, which is so after any commit since Open.
func (sw *StreamWriter) PrepareIncremental() error {
	return sw.prepare(func() error {
		if err := sw.db.drainNow(sw.db.ctx, nil); err != nil {
			return err
		}
		sw.db.gate.Lock()
		defer sw.db.gate.Unlock()
		return sw.inner.PrepareIncremental()
	})
}

func (sw *StreamWriter) prepare(inner func() error) error {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	resume, err := sw.db.whileStopped(inner)
	sw.resume = resume
	return err
}

// Write writes a buffer of marshalled pb.KV. The keys of one StreamId must be in rising order, over all calls. It returns an error
// that matches ErrNoSpace, and writes nothing, if there is not room for the buffer above MinFreeSpace.
func (sw *StreamWriter) Write(buf *z.Buffer) error {
	cost := int64(buf.LenNoPadding())
	if err := sw.db.space.claim(&sw.db.space.badger, cost); err != nil {
		return err
	}
	defer sw.db.space.settle(cost)
	return sw.inner.Write(buf)
}

// Flush makes all that was written part of the database and lets commits through again, with timestamps above all that was
// written.
func (sw *StreamWriter) Flush() error {
	err := sw.inner.Flush()
	sw.db.raise(sw.db.inner.MaxVersion())
	sw.end()
	return err
}

// Cancel ends an unfinished stream; what was written may remain in part. It may be called after Flush.
func (sw *StreamWriter) Cancel() {
	sw.inner.Cancel()
	sw.end()
}

func (sw *StreamWriter) end() {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if sw.resume != nil {
		sw.resume()
		sw.resume = nil
	}
}
