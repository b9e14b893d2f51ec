package badgerspill

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4/pb"
)

// MergeFunc merges newVal into existingVal, which was added before it, and returns the outcome. It
// may keep and change both slices. It must give the same whichever neighbours are merged first, and
// it may be called by several goroutines at a time.
type MergeFunc func(existingVal, newVal []byte) []byte

// MergeOperator collects values under a key as versions of it, which Get merges. It stands for
// badger.MergeOperator and is safe for concurrent use. The embedded lock is held in write mode
// while a compaction reads the versions, in read mode by Get.
type MergeOperator struct {
	sync.RWMutex
	db    *DB
	key   []byte
	merge MergeFunc

	stopOnce sync.Once
	stop     chan struct{} // closed by Stop
	stopped  chan struct{} // closed when the goroutine has ended
}

// GetMergeOperator returns a MergeOperator for key, and starts a goroutine that every dur merges
// what was added into one value and lets Badger drop the rest. It panics if dur is not above 0.
// Stop must be called in the end, before Close. In managed mode Add and Get panic, as Badger's do.
func (db *DB) GetMergeOperator(key []byte, f MergeFunc, dur time.Duration) *MergeOperator {
	op := &MergeOperator{db: db, key: bytes.Clone(key), merge: f, stop: make(chan struct{}), stopped: make(chan struct{})}
	go op.run(time.NewTicker(dur))
	return op
}

// Add records val, which is merged later. Errors are those of Update with one SetEntry; it never
// conflicts. It may block as a commit does, and panics in managed mode.
func (op *MergeOperator) Add(val []byte) error {
	return op.db.Update(func(txn *Txn) error {
		return txn.SetEntry(&Entry{Key: op.key, Value: val, meta: metaMerge})
	})
}

// Get returns all that was added, merged in the order of the additions. Errors: ErrKeyNotFound if
// there is nothing, ErrDBClosed, and what a damaged file causes. It blocks as the first read of a
// transaction does, and while a compaction reads. It panics in managed mode.
func (op *MergeOperator) Get() ([]byte, error) {
	op.RLock()
	defer op.RUnlock()
	if op.db.IsClosed() {
		return nil, ErrDBClosed
	}
	txn := op.db.NewTransaction(false)
	defer txn.Discard()
	m, err := op.read(txn)
	if err == nil && m.versions == 0 {
		err = ErrKeyNotFound
	}
	return m.value, err
}

// Stop ends the goroutine after one more compaction, and waits for it, for which it may block as a
// commit does. Add and Get work after it. It may be called more than once.
func (op *MergeOperator) Stop() {
	op.stopOnce.Do(func() { close(op.stop) })
	<-op.stopped
}

func (op *MergeOperator) run(tick *time.Ticker) {
	defer close(op.stopped)
	defer tick.Stop()
	for stop := false; !stop; {
		select {
		case <-op.stop:
			stop = true
		case <-tick.C:
		}
		if err := op.compact(); err != nil {
			op.db.events.backgroundError("compact the values of a merge operator", &keyedError{op.key, err}, "it is tried again at the next interval")
		}
	}
}

// merged is the outcome of all visible versions of a key.
type merged struct {
	value    []byte
	newest   uint64 // the newest of the versions
	versions int
}

// read merges the versions that txn sees, newest first, down to one that ends the history of the
// key.
func (op *MergeOperator) read(txn *Txn) (m merged, err error) {
	it, err := openKeyIterator(txn, op.key)
	if err != nil {
		return m, err
	}
	defer it.Close()
	for it.Rewind(); it.Valid() && !it.Item().IsDeletedOrExpired(); it.Next() {
		item := it.Item()
		val, err := item.ValueCopy(nil)
		if err != nil {
			return merged{}, err
		}
		if m.versions++; m.versions == 1 {
			m.value, m.newest = val, item.Version()
		} else {
			m.value = op.merge(val, m.value)
		}
		if item.DiscardEarlierVersions() {
			break
		}
	}
	return m, nil
}

// openKeyIterator is NewKeyIterator with an error in place of the panic of a database that has been
// closed meanwhile.
func openKeyIterator(txn *Txn, key []byte) (it *Iterator, err error) {
	defer func() {
		if p := recover(); p == any(ErrDBClosed) {
			err = ErrDBClosed
		} else if p != nil {
			panic(p)
		}
	}()
	return txn.NewKeyIterator(key, DefaultIteratorOptions), nil
}

// compact puts the merged value in the place of the newest version, marked so that reads end there
// and Badger drops what is below. It keeps that version's timestamp: what is added between the read
// and the write stays above it. Without the merge bit it is an ordinary value for Badger.
//
// The transaction that was read stays open until the write is acknowledged, so that Badger keeps a
// tombstone that is set meanwhile: the older write must not come back from under it.
func (op *MergeOperator) compact() error {
	db := op.db
	if db.opt.managed || db.opt.ReadOnly || !db.holdOpen() {
		return nil
	}
	defer db.background.Done()
	txn := db.NewTransaction(false)
	defer txn.Discard()
	op.Lock()
	m, err := op.read(txn)
	op.Unlock() // Get does not wait for room
	if err == nil && m.versions > 1 {
		loader := db.NewKVLoader(1)
		err = errors.Join(
			loader.Set(&pb.KV{Key: op.key, Value: m.value, Version: m.newest, Meta: []byte{metaDiscardEarlier}}),
			loader.Finish())
	}
	if (errors.Is(err, ErrDBClosed) || errors.Is(err, ErrBlockedWrites)) && db.closeBegun() {
		return nil // what was added is complete without
	}
	return err
}

// closeBegun is IsClosed from the moment on at which Close refuses commits, which is a little
// earlier.
func (db *DB) closeBegun() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.closed
}

// holdOpen keeps Close from closing Badger until background.Done is called. It returns false if
// Close has begun.
func (db *DB) holdOpen() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return false
	}
	db.background.Add(1)
	return true
}
