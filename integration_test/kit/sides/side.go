package sides

import (
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Side is one of the two databases. A method without a comment is the database's own of that name;
// so is what a method promises, and whether it is safe for concurrent use.
type Side interface {
	// Begin is NewTransaction, BeginAt is NewTransactionAt.
	Begin(update bool) Txn
	BeginAt(ts uint64, update bool) Txn
	View(fn func(Txn) error) error
	Update(fn func(Txn) error) error
	// NewBatch is NewWriteBatch, and so on.
	NewBatch() Batch
	NewBatchAt(ts uint64) Batch
	NewManagedBatch() Batch
	// Sequence is GetSequence, Merge is GetMergeOperator.
	Sequence(key []byte, bandwidth uint64) (Sequence, error)
	Merge(key []byte, f func(existing, added []byte) []byte, every time.Duration) MergeOperator

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
	Key, Value []byte
	UserMeta   byte
	ExpiresAt  uint64 // in seconds since 1970; 0 = never
	Discard    bool   // earlier versions
	Delete     bool   // the key; nothing but Key counts then
}

// Txn is a transaction.
type Txn interface {
	// Put writes by SetEntry, or Delete.
	Put(w Write) error
	// Read is Get, Iter is NewIterator, KeyIter is NewKeyIterator.
	Read(k []byte) (Item, error)
	Iter(opt badger.IteratorOptions) Iterator
	KeyIter(k []byte, opt badger.IteratorOptions) Iterator

	ReadTs() uint64
	Set(k, v []byte) error
	Delete(k []byte) error
	Commit() error
	CommitWith(cb func(error))
	CommitAt(ts uint64, cb func(error)) error
	Discard()
}

// Item is an item of a transaction or an iterator.
type Item interface {
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
	Rewind()
	Seek(key []byte)
	Next()
	Valid() bool
	ValidForPrefix(prefix []byte) bool
	Close()
}

// Batch is a write batch.
type Batch interface {
	// Put writes by SetEntry, or Delete, and PutAt by SetEntryAt, or DeleteAt.
	Put(w Write) error
	PutAt(w Write, ts uint64) error

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
	Next() (uint64, error)
	Release() error
}

// MergeOperator merges the values of one key.
type MergeOperator interface {
	Add(val []byte) error
	Get() ([]byte, error)
	Stop()
}
