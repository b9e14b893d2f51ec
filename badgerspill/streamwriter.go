package badgerspill

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"
	"google.golang.org/protobuf/encoding/protowire"

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

	order struct {
		sync.Mutex
		last map[uint32]streamPlace // of each stream, what was written last
	}
}

// streamPlace is how far a stream is.
type streamPlace struct {
	begun   bool // it has a key, which may be empty
	key     []byte
	version uint64
	done    bool
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
// all calls, and the versions of one key in falling order. If they are not, or come behind a KV
// with StreamDone, it returns an error and writes nothing. A StreamDone before the first key of its
// stream counts for its buffer only. Nor is anything written if there is not room for the buffer
// above MinFreeSpace; that error matches ErrNoSpace.
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
	if err := sw.inOrder(buf); err != nil {
		return err
	}
	return sw.inner.Write(buf)
}

// inOrder returns an error if buf does not go on where its streams are. Badger panics then, in a
// goroutine that nobody can catch.
func (sw *StreamWriter) inOrder(buf *z.Buffer) error {
	if buf.LenNoPadding() == 0 {
		return nil
	}
	sw.order.Lock()
	defer sw.order.Unlock()
	now := map[uint32]streamPlace{}
	err := buf.SliceIterate(func(kv []byte) error {
		stream, at, err := placeOf(kv)
		if err != nil {
			return err
		}
		was, here := now[stream]
		if !here {
			was = sw.order.last[stream]
		}
		switch c := bytes.Compare(at.key, was.key); {
		case was.done && !(here && at.done): // twice within a buffer is once
			return fmt.Errorf("badgerspill: key %q comes behind the end of stream %d", at.key, stream)
		case at.done:
			at.begun, at.key, at.version = was.begun, was.key, was.version
		case was.begun && (c < 0 || c == 0 && at.version >= was.version):
			return fmt.Errorf("badgerspill: stream %d is not in order: key %q, version %d comes behind key %q, version %d",
				stream, at.key, at.version, was.key, was.version)
		}
		now[stream] = at
		return nil
	})
	if err != nil {
		return err
	}
	if sw.order.last == nil {
		sw.order.last = map[uint32]streamPlace{}
	}
	for stream, at := range now {
		at.done = at.done && at.begun                             // the end of nothing ends nothing
		at.key = append(sw.order.last[stream].key[:0], at.key...) // buf is the caller's
		sw.order.last[stream] = at
	}
	return nil
}

// placeOf reads of a marshalled pb.KV what its place depends on.
func placeOf(kv []byte) (stream uint32, at streamPlace, err error) {
	at.begun = true
	for len(kv) > 0 {
		field, wire, n := protowire.ConsumeTag(kv)
		if n < 0 {
			return 0, at, protowire.ParseError(n)
		}
		kv = kv[n:]
		var v uint64
		switch {
		case field == 1 && wire == protowire.BytesType:
			at.key, n = protowire.ConsumeBytes(kv)
		case wire == protowire.VarintType:
			v, n = protowire.ConsumeVarint(kv)
		default:
			n = protowire.ConsumeFieldValue(field, wire, kv)
		}
		if n < 0 {
			return 0, at, protowire.ParseError(n)
		}
		kv = kv[n:]
		switch field {
		case 4:
			at.version = v
		case 10:
			stream = uint32(v)
		case 11:
			at.done = v != 0
		}
	}
	return stream, at, nil
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
