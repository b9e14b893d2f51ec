package sides

import (
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Side is one of the two databases. What its methods promise, whether they block, and whether they
// are safe for concurrent use is as with the database's own.
type Side interface {
	// Begin is NewTransaction.
	Begin(update bool) Txn
	// BeginAt is NewTransactionAt.
	BeginAt(ts uint64, update bool) Txn
	// View is View.
	View(fn func(Txn) error) error
	// Update is Update.
	Update(fn func(Txn) error) error
	// NewBatch is NewWriteBatch.
	NewBatch() Batch
	// NewBatchAt is NewWriteBatchAt.
	NewBatchAt(ts uint64) Batch
	// NewManagedBatch is NewManagedWriteBatch.
	NewManagedBatch() Batch
	// Sequence is GetSequence; with an error it returns nil.
	Sequence(key []byte, bandwidth uint64) (Sequence, error)
	// Merge is GetMergeOperator.
	Merge(key []byte, f func(existing, added []byte) []byte, every time.Duration) MergeOperator

	sameDB
}

// sameDB is what the databases have with the same types.
type sameDB interface {
	SetDiscardTs(ts uint64)
	MaxVersion() uint64
	MaxBatchCount() int64
	MaxBatchSize() int64
	IsClosed() bool
	Sync() error
	Close() error
}

// Write is what a transaction or a batch is asked to write.
type Write struct {
	// Key is the key.
	Key []byte
	// Value is its value.
	Value []byte
	// UserMeta is the user's byte.
	UserMeta byte
	// ExpiresAt is in seconds since 1970; 0 = never.
	ExpiresAt uint64
	// Discard marks earlier versions for garbage.
	Discard bool
	// Delete deletes the key; nothing else counts then.
	Delete bool
}

// Txn is a transaction.
type Txn interface {
	// Put writes by SetEntry, or Delete.
	Put(w Write) error
	// Read is Get; with an error it returns nil.
	Read(k []byte) (Item, error)
	// Iter is NewIterator.
	Iter(opt badger.IteratorOptions) Iterator
	// KeyIter is NewKeyIterator.
	KeyIter(k []byte, opt badger.IteratorOptions) Iterator

	sameTxn
}

type sameTxn interface {
	ReadTs() uint64
	Set(k, v []byte) error
	Delete(k []byte) error
	Commit() error
	CommitWith(cb func(error))
	CommitAt(ts uint64, cb func(error)) error
	Discard()
}

// Item is an item of a transaction or an iterator.
type Item interface{ sameItem }

type sameItem interface {
	Key() []byte
	KeyCopy(dst []byte) []byte
	Value(fn func(val []byte) error) error
	ValueCopy(dst []byte) ([]byte, error)
	Version() uint64
	UserMeta() byte
	ExpiresAt() uint64
	IsDeletedOrExpired() bool
	DiscardEarlierVersions() bool
	EstimatedSize() int64
	KeySize() int64
	ValueSize() int64
}

// Iterator is an iterator of a transaction.
type Iterator interface {
	// Head is Item.
	Head() Item

	sameIterator
}

type sameIterator interface {
	Rewind()
	Seek(key []byte)
	Next()
	Valid() bool
	ValidForPrefix(prefix []byte) bool
	Close()
}

// Batch is a write batch.
type Batch interface {
	// Put writes by SetEntry, or Delete.
	Put(w Write) error
	// PutAt writes by SetEntryAt, or DeleteAt.
	PutAt(w Write, ts uint64) error

	sameBatch
}

type sameBatch interface {
	Set(k, v []byte) error
	Delete(k []byte) error
	DeleteAt(k []byte, ts uint64) error
	WriteList(list *badger.KVList) error
	SetMaxPendingTxns(n int)
	Flush() error
	Cancel()
	Error() error
}

// Sequence hands out numbers.
type Sequence interface {
	// Next returns the next number.
	Next() (uint64, error)
	// Release gives back what is left of the lease.
	Release() error
}

// MergeOperator merges the values of one key.
type MergeOperator interface {
	// Add adds a value.
	Add(val []byte) error
	// Get returns what is merged of all values.
	Get() ([]byte, error)
	// Stop ends the operator.
	Stop()
}
