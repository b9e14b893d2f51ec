package badgerspill

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
)

const (
	maxKeySize = 65000 // Badger's: a table header holds key and timestamp lengths in 16 bits
	// txnOverhead is what Badger sets aside for the entry that ends a transaction in its log.
	txnOverhead = int64(len("!badger!txn") + 10)
)

var (
	internalPrefix = []byte("!badger!")

	//lint:ignore ST1005 Badger's words
	errCommitDiscarded = errors.New("Trying to commit a discarded txn")
	errZeroCommitTs    = errors.New("CommitTs cannot be zero. Please use commitAt instead")
)

// Txn is a transaction with serializable snapshot isolation, over the spill and Badger both. It
// stands for badger.Txn and behaves as that does. A Txn is not safe for concurrent use, except for
// reads: Get, and several of its iterators, may run at the same time.
//
// Reads are served by the transaction's own writes, then by the spill, then by Badger. The view of
// the spill is taken before Badger is read: what leaves the spill in between is in Badger by then.
type Txn struct {
	db       *DB
	snap     pipeline.Snapshot // mu guards its Reads until the commit
	commitTs uint64
	size     int64
	count    int64

	mu     sync.Mutex // guards snap.Reads, extras.failure, and what the first read sets
	extras *txnExtras // nil for most

	writes       pendingWrites
	firstWrites  [2]*Entry
	numIterators atomic.Int32
	discarded    bool
	load         bool // carries entries of a KVLoader

	// the newest commit at creation, nil if it was acknowledged: the first read waits for it
	wait *pipeline.Commit

	inner atomic.Pointer[badger.Txn] // reads Badger at readTs; made at the first such read
	views []*spillfile.View          // to be released
	fixed atomic.Bool                // first holds for the whole transaction
	first *spillfile.View            // nil if the spill was empty
	drops uint64                     // DB.drops when first was taken
}

// txnExtras is what few transactions have.
type txnExtras struct {
	ctx     context.Context // bounds waits; nil: nothing does but BlockTimeout
	measure *measure        // nil: the commit is not measured
	failure error           // ended an iteration early
}

// makeExtras returns what may be set then. It needs mu, or that nobody else uses the transaction.
func (txn *Txn) makeExtras() *txnExtras {
	if txn.extras == nil {
		txn.extras = &txnExtras{}
	}
	return txn.extras
}

// bound has ctx bound the waits of the transaction, if it can end.
func (txn *Txn) bound(ctx context.Context) {
	if ctx.Done() != nil {
		txn.makeExtras().ctx = ctx
	}
}

// context returns what bounds waits, nil for nothing.
func (txn *Txn) context() context.Context {
	if txn.extras == nil {
		return nil
	}
	return txn.extras.ctx
}

// measured returns what measures the commit, nil for nothing.
func (txn *Txn) measured() *measure {
	if txn.extras == nil {
		return nil
	}
	return txn.extras.measure
}

// NewTransaction creates a transaction. Set update to false for a read-only one, which tracks no
// reads. Discard must be called in the end. It never blocks: the read timestamp is fixed here, and
// the first read waits until all commits up to it are visible. It panics in managed mode, as
// Badger's does.
func (db *DB) NewTransaction(update bool) *Txn {
	if db.opt.managed {
		panic("ReadTs should not be retrieved for managed DB")
	}
	txn := db.newTxn(update)
	txn.wait = db.pipe.Begin(&txn.snap)
	return txn
}

// NewTransactionAt creates a transaction that reads at readTs. It panics if the database is not
// managed.
func (db *DB) NewTransactionAt(readTs uint64, update bool) *Txn {
	if !db.opt.managed {
		panic("Cannot use NewTransactionAt with managedDB=false. Use NewTransaction instead.")
	}
	txn := db.newTxn(update)
	txn.snap.ReadTs = readTs
	return txn
}

func (db *DB) newTxn(update bool) *Txn {
	txn := &Txn{db: db, count: 1, size: txnOverhead}
	txn.snap.Update = update && !db.opt.ReadOnly
	txn.writes.entries = txn.firstWrites[:0]
	return txn
}

// fail remembers an error that has ended an iteration early, for want of another way to tell:
// Badger's iterators have none.
func (txn *Txn) fail(err error) {
	txn.mu.Lock()
	defer txn.mu.Unlock()
	if extras := txn.makeExtras(); extras.failure == nil {
		extras.failure = fmt.Errorf("badgerspill: an iteration ended early: %w", err)
		txn.db.events.backgroundError("iterate the spill", err, "an iteration ended early, and its transaction cannot be committed")
	}
}

func (txn *Txn) failed() error {
	txn.mu.Lock()
	defer txn.mu.Unlock()
	if txn.extras == nil {
		return nil
	}
	return txn.extras.failure
}

// View runs fn in a read-only transaction. In managed mode it reads at the highest timestamp. It
// returns the error of fn, or that of an iteration in it which ended early because the spill could
// not be read.
func (db *DB) View(fn func(txn *Txn) error) error { return db.viewWith(context.Background(), fn) }

func (db *DB) viewWith(ctx context.Context, fn func(txn *Txn) error) error {
	if db.IsClosed() {
		return ErrDBClosed
	}
	var txn *Txn
	if db.opt.managed {
		txn = db.NewTransactionAt(math.MaxUint64, false)
	} else {
		txn = db.NewTransaction(false)
	}
	txn.bound(ctx)
	defer txn.Discard()
	if err := fn(txn); err != nil {
		return err
	}
	return txn.failed()
}

// Update runs fn in a read-write transaction and commits it. It returns the error of fn, or of
// Commit. It panics in managed mode.
func (db *DB) Update(fn func(txn *Txn) error) error { return db.updateWith(context.Background(), fn) }

func (db *DB) updateWith(ctx context.Context, fn func(txn *Txn) error) error {
	if db.IsClosed() {
		return ErrDBClosed
	}
	if db.opt.managed {
		panic("Update can only be used with managedDB=false.")
	}
	txn := db.NewTransaction(true)
	txn.bound(ctx)
	defer txn.Discard()
	if err := fn(txn); err != nil {
		return err
	}
	return txn.Commit()
}

// ReadTs returns the read timestamp of the transaction.
func (txn *Txn) ReadTs() uint64 { return txn.snap.ReadTs }

// Set adds a key-value pair. key and val must not be modified until the transaction ends. Errors:
// ErrReadOnlyTxn, ErrDiscardedTxn, ErrEmptyKey, ErrInvalidKey, ErrBannedKey, ErrTxnTooBig, and
// unnamed ones for a key above 65,000 bytes and a value above ValueLogFileSize.
func (txn *Txn) Set(key, val []byte) error {
	return txn.SetEntry(NewEntry(key, val))
}

// SetEntry adds e, with its metadata. e must not be modified until the transaction ends. Errors are
// those of Set.
func (txn *Txn) SetEntry(e *Entry) error {
	return txn.modify(e)
}

// Delete deletes a key, whether it exists or not. Errors are those of Set.
func (txn *Txn) Delete(key []byte) error {
	return txn.modify(&Entry{Key: key, meta: metaDelete})
}

func (txn *Txn) modify(e *Entry) error {
	opt := &txn.db.opt
	switch {
	case !txn.snap.Update:
		return ErrReadOnlyTxn
	case txn.discarded:
		return ErrDiscardedTxn
	case len(e.Key) == 0:
		return ErrEmptyKey
	case bytes.HasPrefix(e.Key, internalPrefix):
		return ErrInvalidKey
	case len(e.Key) > maxKeySize:
		return tooLong("Key", maxKeySize, e.Key)
	case int64(len(e.Value)) > opt.ValueLogFileSize:
		return tooLong("Value", opt.ValueLogFileSize, e.Value)
	case opt.InMemory && int64(len(e.Value)) >= opt.ValueThreshold:
		// Badger lets a value of exactly the threshold pass and then crashes in its writer.
		return tooLong("Value", opt.ValueThreshold, e.Value)
	}
	if err := txn.db.banned.check(e.Key); err != nil {
		return err
	}
	count, size := txn.count+1, txn.size+e.estimateSize(opt.ValueThreshold)+10
	if count >= txn.db.maxBatchCount || size >= txn.db.maxBatchSize {
		return ErrTxnTooBig
	}
	txn.count, txn.size = count, size
	txn.writes.put(e)
	return nil
}

func tooLong(what string, limit int64, b []byte) error {
	return fmt.Errorf("%s with size %d exceeded %d limit. %s:\n%s", what, len(b), limit, what,
		hex.Dump(b[:min(len(b), 1<<10)]))
}

// Get returns the newest version of key at or below the read timestamp. Errors: ErrKeyNotFound,
// ErrEmptyKey, ErrDiscardedTxn, ErrBannedKey, ErrDBClosed, and what a damaged file causes. The
// first read of a transaction blocks until all commits up to its read timestamp are visible.
func (txn *Txn) Get(key []byte) (*Item, error) {
	if len(key) == 0 {
		return nil, ErrEmptyKey
	}
	if txn.discarded {
		return nil, ErrDiscardedTxn
	}
	if err := txn.db.banned.check(key); err != nil {
		return nil, err
	}
	if txn.snap.Update {
		if e := txn.writes.get(key); e != nil {
			if deletedOrExpired(e.meta, e.ExpiresAt) {
				return nil, ErrKeyNotFound
			}
			item := newOwnItem()
			item.own.key, item.own.version, item.own.value = key, txn.snap.ReadTs, e.Value
			item.own.describePending(e)
			return item, nil
		}
		txn.addRead(key)
	}
	if txn.db.IsClosed() {
		return nil, ErrDBClosed
	}
	view, err := txn.view()
	if err != nil {
		return nil, err
	}
	if view == nil {
		return txn.getInner(key)
	}
	if txn.db.strain.Sampled() {
		defer txn.db.strain.ReadSince(txn.db.now())
	}
	ref, ok, err := view.Get(key, txn.snap.ReadTs, txn.db.opt.managed)
	if err != nil {
		return nil, fmt.Errorf("badgerspill: %w", err)
	}
	if !ok {
		return txn.getInner(key)
	}
	if txn.db.opt.managed || view.Unordered() {
		// Badger may hold a newer version, a tombstone included.
		newer, err := txn.innerNewer(key, ref.Version)
		if newer != nil || err != nil {
			return newer, err
		}
	}
	if deletedOrExpired(ref.Meta, ref.ExpiresAt) {
		return nil, ErrKeyNotFound
	}
	item := newOwnItem()
	item.own.key, item.own.version = key, ref.Version
	item.own.setSpilled(view, &ref)
	return item, nil
}

func (txn *Txn) getInner(key []byte) (*Item, error) {
	item, err := txn.getBadger(key)
	if err != nil {
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil, ErrKeyNotFound
		}
		if txn.db.IsClosed() {
			return nil, ErrDBClosed
		}
		return nil, err
	}
	return &Item{inner: item}, nil
}

// getBadger is Badger's Get. It tries again where Badger had no memtable for a moment.
func (txn *Txn) getBadger(key []byte) (item *badger.Item, err error) {
	defer func() {
		if r := recover(); r != nil {
			txn.db.badger.Rescue(r)
			item, err = txn.getBadger(key)
		}
	}()
	return txn.reader().Get(key)
}

// badgerIterator is Badger's NewIterator.
func (txn *Txn) badgerIterator(opt IteratorOptions) *badger.Iterator {
	return txn.beginIterator(func(inner *badger.Txn) *badger.Iterator { return inner.NewIterator(opt) })
}

// badgerKeyIterator is Badger's NewKeyIterator.
func (txn *Txn) badgerKeyIterator(key []byte, opt IteratorOptions) *badger.Iterator {
	return txn.beginIterator(func(inner *badger.Txn) *badger.Iterator { return inner.NewKeyIterator(key, opt) })
}

// beginIterator tries again where Badger had no memtable for a moment. That leaves Badger's
// transaction with an iterator that nobody can close, so there is another transaction then.
func (txn *Txn) beginIterator(begin func(*badger.Txn) *badger.Iterator) (it *badger.Iterator) {
	defer func() {
		if r := recover(); r != nil {
			txn.db.badger.Rescue(r)
			txn.inner.Store(txn.db.inner.NewTransactionAt(txn.snap.ReadTs, false))
			it = txn.beginIterator(begin)
		}
	}()
	return begin(txn.reader())
}

// innerNewer returns Badger's newest visible version of key if it is above version; ErrKeyNotFound
// if that is a tombstone or expired; neither if Badger has none above.
func (txn *Txn) innerNewer(key []byte, version uint64) (*Item, error) {
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues = false
	it := txn.badgerKeyIterator(key, opt)
	defer it.Close()
	it.Rewind()
	if !it.Valid() || it.Item().Version() <= version {
		return nil, nil
	}
	if it.Item().IsDeletedOrExpired() {
		return nil, ErrKeyNotFound
	}
	item := newOwnItem()
	item.own.setInner(it.Item())
	_, err := item.own.load()
	return item, err
}

// lookUp returns the value of a version of key that an iterator of the transaction has seen in
// Badger, in dst if that is large enough.
func (txn *Txn) lookUp(key []byte, version uint64, dst []byte) ([]byte, error) {
	if txn.discarded {
		return nil, ErrDiscardedTxn
	}
	if txn.db.IsClosed() {
		return nil, ErrDBClosed
	}
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues, opt.InternalAccess = false, true
	it := txn.badgerKeyIterator(key, opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if it.Item().Version() == version {
			return copyValue(it.Item(), dst)
		}
	}
	return nil, fmt.Errorf("badgerspill: version %d of key %q, which an iterator has passed: %w", version, key, ErrKeyNotFound)
}

// reader returns the transaction that reads Badger at readTs.
func (txn *Txn) reader() *badger.Txn {
	if inner := txn.inner.Load(); inner != nil {
		return inner
	}
	txn.mu.Lock()
	defer txn.mu.Unlock()
	inner := txn.inner.Load()
	if inner == nil {
		inner = txn.db.inner.NewTransactionAt(txn.snap.ReadTs, false)
		txn.inner.Store(inner)
	}
	return inner
}

// view returns the view of the spill to read before Badger, nil if the spill is empty. It waits
// until all commits up to the read timestamp are visible. Where the layer owns the timestamps one
// view serves the whole transaction: all that it may see is in the view or in Badger already. Where
// the caller owns them a later commit may have an older timestamp, so each read takes the view of
// its moment. The error is that of the transaction's context, which may end this wait.
func (txn *Txn) view() (*spillfile.View, error) {
	if txn.fixed.Load() {
		return txn.fixedView(), nil
	}
	txn.mu.Lock()
	defer txn.mu.Unlock()
	if txn.fixed.Load() {
		return txn.fixedView(), nil
	}
	if txn.wait != nil {
		if err := txn.wait.AwaitVisible(txn.context()); err != nil {
			if extras := txn.makeExtras(); extras.failure == nil {
				extras.failure = err
			}
			return nil, err
		}
		txn.wait = nil
	}
	txn.drops = txn.db.drops.Load()
	view := txn.db.acquireView()
	if n := len(txn.views); n > 0 && txn.views[n-1] == view {
		view.Release()
	} else if view != nil {
		txn.views = append(txn.views, view) // items refer to it until Discard
	}
	if !txn.db.opt.managed {
		txn.first = view
		txn.fixed.Store(true)
	}
	return view, nil
}

// fixedView returns the view of the whole transaction. Of what it has seen before a drop the rest
// is in Badger.
func (txn *Txn) fixedView() *spillfile.View {
	if txn.first != nil && txn.drops != txn.db.drops.Load() {
		return nil
	}
	return txn.first
}

func (txn *Txn) addRead(key []byte) {
	if !txn.snap.Update || !txn.db.opt.DetectConflicts {
		return
	}
	fp := pipeline.Fingerprint(key)
	txn.mu.Lock()
	txn.snap.Reads = append(txn.snap.Reads, fp)
	txn.mu.Unlock()
}

// Discard ends the transaction; its pending writes are gone. It may be called more than once, also
// after Commit. It panics if an iterator is still open.
func (txn *Txn) Discard() {
	if txn.discarded {
		return
	}
	if txn.numIterators.Load() > 0 {
		panic("Unclosed iterator at time of Txn.Discard.")
	}
	txn.discarded = true
	if inner := txn.inner.Load(); inner != nil {
		inner.Discard()
	}
	txn.releaseViews()
	if !txn.db.opt.managed {
		if discardable, ended := txn.db.pipe.End(&txn.snap); ended && discardable > txn.db.discarded.Load() {
			txn.db.watch.wake()
		}
	}
}

// releaseViews gives up what the transaction holds of the spill. A commit does so before it waits
// for room there: files that are replayed take room as long as somebody reads them, and it must not
// wait for itself.
func (txn *Txn) releaseViews() {
	for _, v := range txn.views {
		v.Release()
	}
	txn.views = nil
}

// precheck finds what makes a commit fail before it has a timestamp.
func (txn *Txn) precheck() error {
	if txn.discarded {
		return errCommitDiscarded
	}
	if err := txn.failed(); err != nil {
		return err
	}
	if !txn.db.opt.managed {
		return nil
	}
	if txn.commitTs != 0 {
		if discard := txn.db.pipe.DiscardTs(); txn.commitTs < discard && txn.db.opt.DetectConflicts {
			return fmt.Errorf("commit timestamp %d is below the discard timestamp %d", txn.commitTs, discard)
		}
		return nil
	}
	for _, e := range txn.writes.entries {
		if e.version != 0 {
			return nil
		}
	}
	return errZeroCommitTs
}

// Commit commits the transaction and waits until the commit is acknowledged: Badger or the spill
// has it (and has synced it, under SyncWrites), and so have all commits before it. Without writes
// it is a Discard. Errors: ErrConflict (a key that was read has been written since; try again),
// ErrBlockedWrites on a closed database, ErrWriteBlocked, ErrNoSpace, and what the file system
// returns, also to an iteration that it ended early. With any of them nothing was written.
func (txn *Txn) Commit() error {
	if txn.writes.empty() {
		txn.measured().start()
		txn.Discard()
		return nil
	}
	if err := txn.precheck(); err != nil {
		return err
	}
	defer txn.Discard()
	c, err := txn.db.submit(txn)
	if err != nil {
		return err
	}
	return txn.db.await(c, txn.measured())
}

// CommitWith is Commit with a callback: it returns once the transaction has its place in the commit
// order, and cb runs in a goroutine with the outcome. It may block for room in memory or in the
// spill. It panics if cb is nil.
func (txn *Txn) CommitWith(cb func(error)) {
	if cb == nil {
		panic("Nil callback provided to CommitWith")
	}
	if txn.writes.empty() {
		txn.measured().start()
		go cb(nil) // the callback may need locks that the caller holds
		txn.Discard()
		return
	}
	if err := txn.precheck(); err != nil {
		cb(err)
		return
	}
	defer txn.Discard()
	c, err := txn.db.submit(txn)
	if err != nil {
		go cb(err)
		return
	}
	m := txn.measured()
	go func() { cb(txn.db.await(c, m)) }()
}

// CommitAt is Commit, or CommitWith if callback is not nil, at commitTs. It panics if the database
// is not managed.
func (txn *Txn) CommitAt(commitTs uint64, callback func(error)) error {
	if !txn.db.opt.managed {
		panic("Cannot use CommitAt with managedDB=false. Use Commit instead.")
	}
	txn.commitTs = commitTs
	if callback == nil {
		return txn.Commit()
	}
	txn.CommitWith(callback)
	return nil
}
