package sides

import (
	"time"

	"github.com/dgraph-io/badger/v4"
)

// The types of Badger and of the layer have the same methods, which take and return types of their
// own package. These are their methods, with those types as parameters.

type nativeDB[T, B, S, M any, F ~func(existing, added []byte) []byte] interface {
	NewTransaction(update bool) T
	NewTransactionAt(ts uint64, update bool) T
	View(fn func(T) error) error
	Update(fn func(T) error) error
	NewWriteBatch() B
	NewWriteBatchAt(ts uint64) B
	NewManagedWriteBatch() B
	GetSequence(key []byte, bandwidth uint64) (S, error)
	GetMergeOperator(key []byte, f F, dur time.Duration) M
	sameDB
}

type nativeTxn[I, It, E any] interface {
	SetEntry(e E) error
	Get(k []byte) (I, error)
	NewIterator(opt badger.IteratorOptions) It
	NewKeyIterator(k []byte, opt badger.IteratorOptions) It
	sameTxn
}

type nativeIterator[I any] interface {
	Item() I
	sameIterator
}

type nativeBatch[E any] interface {
	SetEntry(e E) error
	SetEntryAt(e E, ts uint64) error
	sameBatch
}

// Of returns the side of a database. entry makes an entry of its package; nobody asks it for a
// deletion. All types are inferred from the two.
func Of[
	T nativeTxn[I, It, E], B nativeBatch[E], S Sequence, M MergeOperator, F ~func(existing, added []byte) []byte,
	I Item, It nativeIterator[I], E any,
](db nativeDB[T, B, S, M, F], entry func(Write) E) Side {
	return side[T, B, S, M, F, I, It, E]{db, entry}
}

type side[
	T nativeTxn[I, It, E], B nativeBatch[E], S Sequence, M MergeOperator, F ~func(existing, added []byte) []byte,
	I Item, It nativeIterator[I], E any,
] struct {
	nativeDB[T, B, S, M, F]
	entry func(Write) E
}

func (s side[T, B, S, M, F, I, It, E]) txn(t T) Txn { return txn[I, It, E]{t, s.entry} }

func (s side[T, B, S, M, F, I, It, E]) batch(b B) Batch { return batch[E]{b, s.entry} }

func (s side[T, B, S, M, F, I, It, E]) Begin(update bool) Txn { return s.txn(s.NewTransaction(update)) }

func (s side[T, B, S, M, F, I, It, E]) BeginAt(ts uint64, update bool) Txn {
	return s.txn(s.NewTransactionAt(ts, update))
}

func (s side[T, B, S, M, F, I, It, E]) View(fn func(Txn) error) error {
	return s.nativeDB.View(func(t T) error { return fn(s.txn(t)) })
}

func (s side[T, B, S, M, F, I, It, E]) Update(fn func(Txn) error) error {
	return s.nativeDB.Update(func(t T) error { return fn(s.txn(t)) })
}

func (s side[T, B, S, M, F, I, It, E]) NewBatch() Batch { return s.batch(s.NewWriteBatch()) }

func (s side[T, B, S, M, F, I, It, E]) NewBatchAt(ts uint64) Batch {
	return s.batch(s.NewWriteBatchAt(ts))
}

func (s side[T, B, S, M, F, I, It, E]) NewManagedBatch() Batch {
	return s.batch(s.NewManagedWriteBatch())
}

func (s side[T, B, S, M, F, I, It, E]) Sequence(key []byte, bandwidth uint64) (Sequence, error) {
	seq, err := s.GetSequence(key, bandwidth)
	if err != nil {
		return nil, err
	}
	return seq, nil
}

func (s side[T, B, S, M, F, I, It, E]) Merge(key []byte, f func(existing, added []byte) []byte,
	every time.Duration,
) MergeOperator {
	return s.GetMergeOperator(key, f, every)
}

type txn[I Item, It nativeIterator[I], E any] struct {
	nativeTxn[I, It, E]
	entry func(Write) E
}

func (t txn[I, It, E]) Put(w Write) error {
	if w.Delete {
		return t.Delete(w.Key)
	}
	return t.SetEntry(t.entry(w))
}

func (t txn[I, It, E]) Read(k []byte) (Item, error) {
	item, err := t.Get(k)
	if err != nil {
		return nil, err
	}
	return item, nil
}

func (t txn[I, It, E]) Iter(opt badger.IteratorOptions) Iterator {
	return iterator[I]{t.NewIterator(opt)}
}

func (t txn[I, It, E]) KeyIter(k []byte, opt badger.IteratorOptions) Iterator {
	return iterator[I]{t.NewKeyIterator(k, opt)}
}

type iterator[I Item] struct{ nativeIterator[I] }

func (it iterator[I]) Head() Item { return it.Item() }

type batch[E any] struct {
	nativeBatch[E]
	entry func(Write) E
}

func (b batch[E]) Put(w Write) error {
	if w.Delete {
		return b.Delete(w.Key)
	}
	return b.SetEntry(b.entry(w))
}

func (b batch[E]) PutAt(w Write, ts uint64) error {
	if w.Delete {
		return b.DeleteAt(w.Key, ts)
	}
	return b.SetEntryAt(b.entry(w), ts)
}
