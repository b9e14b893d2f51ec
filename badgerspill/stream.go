package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
)

// Stream iterates over a snapshot in several goroutines and hands what they find to Send. It stands
// for badger.Stream, and its fields mean the same. What the spill holds of the snapshot is replayed
// first, so a stream costs replay, and reads Badger alone.
type Stream struct {
	// Prefix restricts the stream to keys that begin with it.
	Prefix []byte
	// NumGo is the number of goroutines that iterate, at least 1; Options.NumGoroutines by default.
	NumGo int
	// LogPrefix begins the lines that are logged about the progress.
	LogPrefix string
	// ChooseKey says whether a key is wanted, by its newest version; nil takes all. Calls are
	// concurrent.
	ChooseKey func(item *Item) bool
	// MaxSize is about how many bytes one call of Send gets at most; 100 MB by default.
	MaxSize uint64
	// KeyToList makes a list of the versions of key, at the newest of which itr stands; it must
	// return at the first other key. Nil is ToList. Calls are concurrent.
	KeyToList func(key []byte, itr *Iterator) (*pb.KVList, error)
	// UseKeyToListWithThreadId takes KeyToListWithThreadId instead of KeyToList: calls with one
	// threadId are not concurrent, and FinishThread is called at the end of each.
	UseKeyToListWithThreadId bool
	// KeyToListWithThreadId is as KeyToList; threadId is from 0 to NumGo-1.
	KeyToListWithThreadId func(key []byte, itr *Iterator, threadId int) (*pb.KVList, error)
	// FinishThread returns what KeyToListWithThreadId has kept back, nil for nothing.
	FinishThread func(threadId int) (*pb.KVList, error)
	// Send takes the output, from one goroutine. The buffer holds marshalled pb.KV; see
	// BufferToKVList.
	Send func(buf *z.Buffer) error
	// SinceTs leaves out versions at or below it.
	SinceTs uint64

	db          *DB
	readTs      uint64
	doneMarkers bool
}

func (db *DB) newStream(readTs uint64) *Stream {
	like := db.inner.NewStreamAt(0) // for its defaults
	return &Stream{NumGo: like.NumGo, LogPrefix: like.LogPrefix, MaxSize: like.MaxSize, db: db, readTs: readTs}
}

// NewStream creates a stream over what is committed when Orchestrate is called. It panics in
// managed mode.
func (db *DB) NewStream() *Stream {
	if db.opt.managed {
		panic("This API can not be called in managed mode.")
	}
	return db.newStream(0)
}

// NewStreamAt creates a stream over the snapshot at readTs. It panics if the database is not
// managed.
func (db *DB) NewStreamAt(readTs uint64) *Stream {
	if !db.opt.managed {
		panic("This API can only be called in managed mode.")
	}
	return db.newStream(readTs)
}

// SendDoneMarkers makes the stream send a KV with StreamDone set at the end of each key range.
func (st *Stream) SendDoneMarkers(done bool) { st.doneMarkers = done }

// Orchestrate runs the stream. It blocks until all is sent, and returns an error of Send (which may
// come out as context.Canceled), of ctx, of Badger, or of the replay of the spill. A key whose
// KeyToList fails is logged and left out. A newest value that Badger cannot read is sent as an
// empty one, as by Badger's stream; at the end that is an error. A NumGo below 1 and functions that
// are missing are errors, too. It waits for a drop that is under way, and drops wait for it; beside
// a StreamWriter it fails with ErrBlockedWrites. Close ends it, with ErrDBClosed, and waits for the
// call of Send that is under way.
func (st *Stream) Orchestrate(ctx context.Context) error {
	txn, end, err := st.begin(ctx, st.Send != nil)
	if err != nil {
		return err
	}
	defer end()
	if txn.snap.ReadTs == 0 {
		return nil // nothing has a version so low, and Badger takes 0 for no timestamp
	}
	in, unread := st.inner(txn)
	if err := in.Orchestrate(ctx); err != nil {
		return st.ended(err)
	}
	return unread()
}

// check refuses what ends the process in goroutines of Badger's, which nobody can catch.
func (st *Stream) check(sends bool) error {
	switch {
	case !sends:
		return errors.New("badgerspill: Stream.Send is not set")
	case st.NumGo < 1:
		return fmt.Errorf("badgerspill: Stream.NumGo is %d: at least 1; Options.NumGoroutines is where it comes from", st.NumGo)
	case st.UseKeyToListWithThreadId && (st.KeyToListWithThreadId == nil || st.FinishThread == nil):
		return errors.New("badgerspill: Stream.UseKeyToListWithThreadId needs KeyToListWithThreadId and FinishThread")
	}
	return nil
}

// ended names the cause of a stream that Close has ended.
func (st *Stream) ended(err error) error {
	if err != nil && st.db.ctx.Err() != nil {
		return ErrDBClosed
	}
	return err
}

// begin returns a transaction over the snapshot, all of which is in Badger, and keeps drops and
// Close away until end is called. sends says that there is somebody to send to.
func (st *Stream) begin(ctx context.Context, sends bool) (txn *Txn, end func(), err error) {
	db := st.db
	done, err := db.upkeep.begin(ctx, upkeepShared)
	if err != nil {
		return nil, nil, err
	}
	if err := st.check(sends); err != nil {
		done()
		return nil, nil, err
	}
	txn, err = st.snapshot(ctx)
	if err != nil {
		done()
		return nil, nil, st.ended(err)
	}
	return txn, func() {
		txn.Discard()
		done()
	}, nil
}

func (st *Stream) snapshot(ctx context.Context) (*Txn, error) {
	db := st.db
	var txn *Txn
	if db.opt.managed {
		txn = db.NewTransactionAt(st.readTs, false)
	} else {
		txn = db.NewTransaction(false)
		if txn.wait != nil {
			txn.wait.Wait()
		}
	}
	if err := db.drainThrough(ctx); err != nil {
		txn.Discard()
		return nil, err
	}
	return txn, nil
}

// inner returns Badger's stream with the functions of st. unread tells after it of the first value
// that Badger could not read.
func (st *Stream) inner(txn *Txn) (in *badger.Stream, unread func() error) {
	in = st.db.inner.NewStreamAt(txn.snap.ReadTs)
	in.Prefix, in.NumGo, in.LogPrefix, in.MaxSize, in.SinceTs = st.Prefix, st.NumGo, st.LogPrefix, st.MaxSize, st.SinceTs
	if finish := st.FinishThread; finish != nil {
		in.FinishThread = func(threadId int) (*pb.KVList, error) {
			list, err := finish(threadId)
			if list == nil {
				list = &pb.KVList{} // Badger looks into it
			}
			return list, err
		}
	}
	if send := st.Send; send != nil {
		in.Send = func(buf *z.Buffer) error {
			if st.db.ctx.Err() != nil {
				return ErrDBClosed
			}
			return send(buf)
		}
	}
	in.UseKeyToListWithThreadId = st.UseKeyToListWithThreadId
	in.SendDoneMarkers(st.doneMarkers)
	var failed atomic.Pointer[error]
	in.ChooseKey = func(item *badger.Item) bool {
		if st.ChooseKey != nil && !st.ChooseKey(&Item{inner: item}) {
			return false
		}
		if inValueLog(item) && !item.IsDeletedOrExpired() {
			if err := (&Item{inner: item}).Value(nil); err != nil { // it is prefetched
				failed.CompareAndSwap(nil, &err)
			}
		}
		return true
	}
	// Badger's goroutines each have one iterator; ours wraps it.
	var wrapped sync.Map // *badger.Iterator -> *Iterator
	wrap := func(itr *badger.Iterator) *Iterator {
		if own, ok := wrapped.Load(itr); ok {
			own := own.(*Iterator)
			own.Alloc = itr.Alloc
			return own
		}
		own := &Iterator{txn: txn, direct: itr, ThreadId: itr.ThreadId, Alloc: itr.Alloc}
		own.wrappers.most = badger.DefaultIteratorOptions.PrefetchSize
		wrapped.Store(itr, own)
		return own
	}
	if toList := st.KeyToList; toList != nil { // nil is Badger's own
		in.KeyToList = func(key []byte, itr *badger.Iterator) (*pb.KVList, error) { return toList(key, wrap(itr)) }
	}
	if withID := st.KeyToListWithThreadId; withID != nil {
		in.KeyToListWithThreadId = func(key []byte, itr *badger.Iterator, threadId int) (*pb.KVList, error) {
			return withID(key, wrap(itr), threadId)
		}
	}
	return in, func() error {
		if err := failed.Load(); err != nil {
			return *err
		}
		return nil
	}
}

// ToList is the default of KeyToList: all versions of the key down to the first that is deleted or
// expired, or that discards the earlier ones.
func (st *Stream) ToList(key []byte, itr *Iterator) (*pb.KVList, error) {
	return st.db.inner.NewStreamAt(0).ToList(key, itr.direct)
}

// Backup writes the stream to w in the format of badger.DB.Backup, with versions above SinceTs,
// which since must not exceed. It returns the highest version written, 0 if there is none. Errors
// are those of Orchestrate.
func (st *Stream) Backup(w io.Writer, since uint64) (uint64, error) {
	txn, end, err := st.begin(context.Background(), true)
	if err != nil {
		return 0, err
	}
	defer end()
	if txn.snap.ReadTs == 0 {
		return 0, nil
	}
	in, unread := st.inner(txn)
	most, err := in.Backup(&openWriter{w, st.db}, since)
	if err == nil {
		return most, unread()
	}
	return most, st.ended(err)
}

// openWriter fails once Close has begun.
type openWriter struct {
	io.Writer
	db *DB
}

func (w *openWriter) Write(b []byte) (int, error) {
	if w.db.ctx.Err() != nil {
		return 0, ErrDBClosed
	}
	return w.Writer.Write(b)
}

// Backup writes all entries with a version above since, which is 0 for a full backup, to w, for
// Load. What only the spill holds is replayed first, so nothing is missing. It returns the highest
// version written, 0 if there is none: pass that as since to the next, incremental, one. It waits
// for a drop that is under way, and Close ends it, as Stream.Orchestrate. It panics in managed
// mode.
func (db *DB) Backup(w io.Writer, since uint64) (uint64, error) {
	stream := db.NewStream()
	stream.LogPrefix = "DB.Backup"
	stream.SinceTs = since
	return stream.Backup(w, since)
}

// StreamDB copies the newest state, all versions, into a new database with the given options, by
// Badger's stream writer. It panics if the database is not managed.
func (db *DB) StreamDB(outOptions Options) error {
	stream := db.NewStreamAt(math.MaxUint64)
	out, err := OpenManaged(outOptions)
	if err != nil {
		return fmt.Errorf("cannot open out DB at %s err: %w", outOptions.Dir, err)
	}
	writer := out.NewStreamWriter()
	if err := writer.Prepare(); err != nil {
		return fmt.Errorf("cannot create stream writer in out DB at %s err: %w", outOptions.Dir, closing(out, err))
	}
	stream.LogPrefix = "Streaming to the database in " + outOptions.Dir
	stream.Send = writer.Write
	err = stream.Orchestrate(context.Background())
	if err == nil {
		err = writer.Flush()
	} else {
		writer.Cancel()
	}
	if err := closing(out, err); err != nil {
		return fmt.Errorf("cannot stream DB to out DB at %s err: %w", outOptions.Dir, err)
	}
	return nil
}

func closing(db *DB, err error) error {
	if cerr := db.Close(); err == nil {
		return cerr
	}
	return err
}
