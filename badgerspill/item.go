package badgerspill

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile"
)

// Item is one version of a key: from the transaction's own writes, from the spill, or from Badger.
// It stands for badger.Item. It is not safe for concurrent use.
//
// An item of Get is valid until the transaction ends. One of an iterator is valid until the
// iterator moves, and some are for longer, as in Badger:
//
//   - The last PrefetchSize items of an iteration, at least 2, stay valid; without PrefetchValues
//     the last 2. So nothing is used again in an iteration of no more items than that.
//   - The item at which an iterator was when Seek or Rewind was called stays valid.
//
// Each of these is an *Item of its own and owns its key and value, until the transaction ends,
// Close of the iterator or not. An iterator may use others again.
type Item struct {
	inner *badger.Item // set if Badger answers for everything
	own   *ownItem     // set otherwise
}

// ownItem is an item with memory of its own. It is not Badger's, or outlives the next move of
// Badger's iterator.
type ownItem struct {
	key       []byte
	version   uint64
	expiresAt uint64
	size      int64 // of the value, as ValueSize tells it
	estimate  int64 // as EstimatedSize tells it
	meta      byte
	userMeta  byte

	value []byte          // and its memory; not read yet if one of the next three says from where
	view  *spillfile.View // from ref in it
	inner *badger.Item    // still the current item of its iterator
	later *Txn            // looks the version up in Badger
	ref   spillfile.Ref   // last: a large field that most items of Badger do not touch
}

// newOwnItem returns an item to be filled, in one piece.
func newOwnItem() *Item {
	both := new(struct {
		item Item
		own  ownItem
	})
	both.item.own = &both.own
	return &both.item
}

// begin forgets what own was, and takes a copy of the key. Memory is used again.
func (own *ownItem) begin(key []byte, version uint64) {
	own.key, own.version = append(own.key[:0], key...), version
	own.view, own.inner, own.later = nil, nil, nil
}

// setValue takes a copy of the value.
func (own *ownItem) setValue(value []byte) {
	own.value, own.view = append(own.value[:0], value...), nil
}

// describePending takes over what is known of a pending write, without key and value.
func (own *ownItem) describePending(e *Entry) {
	own.expiresAt, own.meta, own.userMeta = e.ExpiresAt, e.meta, e.UserMeta
	own.size, own.estimate = int64(len(e.Value)), int64(len(own.key)+len(e.Value))
}

// setSpilled says where the spill holds the value.
func (own *ownItem) setSpilled(view *spillfile.View, ref *spillfile.Ref) {
	own.expiresAt, own.meta, own.userMeta = ref.ExpiresAt, ref.Meta, ref.UserMeta
	own.size, own.estimate = ref.ValueLen, int64(len(own.key))+ref.ValueLen
	own.view, own.ref = view, *ref
}

// setInner takes over what the current item of an iterator of Badger says. Its value is read when
// it is asked for. Before the iterator moves by Next, detach must be called: Badger may use the
// item again there. Its Seek and Close leave the current item alone.
func (own *ownItem) setInner(in *badger.Item) {
	own.begin(in.Key(), in.Version())
	own.expiresAt, own.userMeta, own.meta = in.ExpiresAt(), in.UserMeta(), 0
	own.size, own.estimate = in.ValueSize(), in.EstimatedSize()
	if in.DiscardEarlierVersions() {
		own.meta |= metaDiscardEarlier
	}
	if in.IsDeletedOrExpired() && !deletedOrExpired(0, own.expiresAt) {
		own.meta |= metaDelete
	}
	own.inner = in
}

// inValueLog reports whether Badger holds the value apart from the key. EstimatedSize then counts
// more than both.
func (own *ownItem) inValueLog() bool { return own.estimate > int64(len(own.key))+own.size }

// detach keeps own beyond the next move of its iterator. A value that was not read yet is read now,
// or left to a look-up through txn.
func (own *ownItem) detach(txn *Txn, read bool) {
	if own.inner == nil {
		return
	}
	if read {
		if _, err := own.load(); err == nil {
			return
		}
	}
	own.inner, own.later = nil, txn
}

// load returns the value, which it keeps.
func (own *ownItem) load() (val []byte, err error) {
	switch {
	case own.inner != nil:
		val, err = copyValue(own.inner, own.value)
	case own.view != nil:
		val, err = own.view.Value(own.ref, own.value[:0])
	case own.later != nil:
		val, err = own.later.lookUp(own.key, own.version, own.value)
	default:
		return own.value, nil
	}
	if err != nil {
		return nil, err
	}
	own.value, own.view, own.inner, own.later = val, nil, nil, nil
	return val, nil
}

// String returns a description of the item.
func (item *Item) String() string {
	if item.inner != nil {
		return item.inner.String()
	}
	return fmt.Sprintf("key=%q, version=%d, meta=%x", item.Key(), item.Version(), item.own.meta)
}

// Key returns the key, which must not be changed. It is valid as long as the item; use KeyCopy
// beyond that.
func (item *Item) Key() []byte {
	if item.inner != nil {
		return item.inner.Key()
	}
	return item.own.key
}

// KeyCopy returns a copy of the key, in dst if that is large enough.
func (item *Item) KeyCopy(dst []byte) []byte { return y.SafeCopy(dst, item.Key()) }

// Version returns the commit timestamp of the item. For a pending write of the same transaction it
// is the read timestamp.
func (item *Item) Version() uint64 {
	if item.inner != nil {
		return item.inner.Version()
	}
	return item.own.version
}

// Value calls fn with the value, which is valid as long as the item. It returns the error of fn, or
// what reading the value failed with; for a damaged spill that is a *spillfile.CorruptError. A
// value of the value log that Badger cannot read is an error, too, where Badger's is empty. It may
// block for a read of a file.
//
// Without PrefetchValues, a value of the value log that is asked for only after the iterator has
// moved is ErrKeyNotFound if Badger has dropped the version meanwhile. That can be one that has
// expired, one of an iteration over all versions, or one of a managed database.
func (item *Item) Value(fn func(val []byte) error) error {
	if in := item.inner; in != nil {
		if !inValueLog(in) {
			return in.Value(fn)
		}
		return in.Value(func(val []byte) error {
			if err := unread(in, val); err != nil || fn == nil {
				return err
			}
			return fn(val)
		})
	}
	val, err := item.own.load()
	if err != nil || fn == nil {
		return err
	}
	return fn(val)
}

// ValueCopy returns a copy of the value, in dst if that is large enough.
func (item *Item) ValueCopy(dst []byte) ([]byte, error) {
	if item.inner != nil {
		return copyValue(item.inner, dst)
	}
	val, err := item.own.load()
	return y.SafeCopy(dst, val), err
}

// copyValue is Badger's ValueCopy, with the error that this keeps to itself.
func copyValue(in *badger.Item, dst []byte) ([]byte, error) {
	val, err := in.ValueCopy(dst)
	if err == nil && inValueLog(in) {
		err = unread(in, val)
	}
	return val, err
}

// inValueLog reports whether the value lies in the value log. EstimatedSize then counts more than
// key and value.
func inValueLog(in *badger.Item) bool {
	return in.EstimatedSize() > int64(len(in.Key()))+in.ValueSize()
}

// logHeader is by how much ValueSize may be too high for an empty value: it takes the header of an
// entry, which has up to 22 bytes, for 6.
const logHeader = 16

// unread returns an error for val, which Badger has read in the value log, if it could not: it
// gives an empty value then, and no error (iterator.go, yieldItemValue). Of a version that is
// deleted or expired GC may have taken the value.
func unread(in *badger.Item, val []byte) error {
	if len(val) > 0 || in.ValueSize() <= logHeader || in.IsDeletedOrExpired() {
		return nil
	}
	return fmt.Errorf("badgerspill: Badger could not read the value of key %q, version %d, in the value log: its lines in the log say why", in.Key(), in.Version())
}

// IsDeletedOrExpired reports whether the item is a tombstone or has expired: such items show only
// in iterations over all versions.
func (item *Item) IsDeletedOrExpired() bool {
	if item.inner != nil {
		return item.inner.IsDeletedOrExpired()
	}
	return deletedOrExpired(item.own.meta, item.own.expiresAt)
}

// DiscardEarlierVersions reports whether the item was set with Entry.WithDiscard.
func (item *Item) DiscardEarlierVersions() bool {
	if item.inner != nil {
		return item.inner.DiscardEarlierVersions()
	}
	return item.own.meta&metaDiscardEarlier > 0
}

// EstimatedSize returns the approximate size of key and value in bytes, without reading the value.
func (item *Item) EstimatedSize() int64 {
	if item.inner != nil {
		return item.inner.EstimatedSize()
	}
	return item.own.estimate
}

// KeySize returns the size of the key in bytes.
func (item *Item) KeySize() int64 { return int64(len(item.Key())) }

// ValueSize returns the approximate size of the value in bytes, without reading it.
func (item *Item) ValueSize() int64 {
	if item.inner != nil {
		return item.inner.ValueSize()
	}
	return item.own.size
}

// UserMeta returns the user's metadata byte.
func (item *Item) UserMeta() byte {
	if item.inner != nil {
		return item.inner.UserMeta()
	}
	return item.own.userMeta
}

// ExpiresAt returns the Unix time in seconds at which the item expires, 0 for never.
func (item *Item) ExpiresAt() uint64 {
	if item.inner != nil {
		return item.inner.ExpiresAt()
	}
	return item.own.expiresAt
}
