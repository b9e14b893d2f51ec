package badgerspill

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile"
)

// Item is one version of a key: from the transaction's own writes, from the spill, or from Badger. It stands for
// badger.Item. An item of an iterator is valid until the iterator moves, one of Get until the transaction ends. It is
// not safe for concurrent use.
type Item struct {
	inner *badger.Item // set if Badger holds the version
	own   *ownItem     // set otherwise
}

// ownItem is an item that is not Badger's.
type ownItem struct {
	key       []byte
	version   uint64
	expiresAt uint64
	meta      byte
	userMeta  byte

	view  *spillfile.View // set if the spill holds the version and its value is not read yet
	ref   spillfile.Ref
	value []byte // the value, unless view is set
	buf   []byte // reused for values read from the spill
}

// setValue takes a copy of the value that was read ahead.
func (own *ownItem) setValue(value []byte) {
	own.buf = append(own.buf[:0], value...)
	own.value, own.view = own.buf, nil
}

// set makes item one that is not Badger's. What it was before is overwritten.
func (item *Item) set(own ownItem) {
	item.inner = nil
	if item.own == nil {
		item.own = &own
		return
	}
	own.buf = item.own.buf
	*item.own = own
}

func (item *Item) setPending(readTs uint64, e *Entry, key []byte) {
	item.set(ownItem{key: key, version: readTs, expiresAt: e.ExpiresAt, meta: e.meta, userMeta: e.UserMeta, value: e.Value})
}

func (item *Item) setSpilled(view *spillfile.View, key []byte, ref spillfile.Ref) {
	item.set(ownItem{key: key, version: ref.Version, expiresAt: ref.ExpiresAt, meta: ref.Meta, userMeta: ref.UserMeta,
		view: view, ref: ref})
}

func (item *Item) setInner(in *badger.Item) { item.inner = in }

// setCopy keeps an item of Badger beyond the next move of its iterator.
func (item *Item) setCopy(in *badger.Item) error {
	value, err := in.ValueCopy(nil)
	own := ownItem{key: in.KeyCopy(nil), version: in.Version(), expiresAt: in.ExpiresAt(), userMeta: in.UserMeta(), value: value}
	if in.DiscardEarlierVersions() {
		own.meta |= metaDiscardEarlier
	}
	if in.IsDeletedOrExpired() && !deletedOrExpired(0, in.ExpiresAt()) {
		own.meta |= metaDelete
	}
	item.set(own)
	return err
}

// String returns a description of the item.
func (item *Item) String() string {
	if item.inner != nil {
		return item.inner.String()
	}
	return fmt.Sprintf("key=%q, version=%d, meta=%x", item.Key(), item.Version(), item.own.meta)
}

// Key returns the key. It is valid as long as the item; use KeyCopy beyond that.
func (item *Item) Key() []byte {
	if item.inner != nil {
		return item.inner.Key()
	}
	return item.own.key
}

// KeyCopy returns a copy of the key, in dst if that is large enough.
func (item *Item) KeyCopy(dst []byte) []byte { return y.SafeCopy(dst, item.Key()) }

// Version returns the commit timestamp of the item. For a pending write of the same transaction it is the read
// timestamp.
func (item *Item) Version() uint64 {
	if item.inner != nil {
		return item.inner.Version()
	}
	return item.own.version
}

// Value calls fn with the value, which is valid only inside of fn. It returns the error of fn, or what reading the
// value failed with; for a damaged spill that is a *spillfile.CorruptError.
func (item *Item) Value(fn func(val []byte) error) error {
	if item.inner != nil {
		return item.inner.Value(fn)
	}
	val, err := item.load()
	if err != nil || fn == nil {
		return err
	}
	return fn(val)
}

// ValueCopy returns a copy of the value, in dst if that is large enough.
func (item *Item) ValueCopy(dst []byte) ([]byte, error) {
	if item.inner != nil {
		return item.inner.ValueCopy(dst)
	}
	val, err := item.load()
	return y.SafeCopy(dst, val), err
}

func (item *Item) load() ([]byte, error) {
	own := item.own
	if own.view == nil {
		return own.value, nil
	}
	val, err := own.view.Value(own.ref, own.buf[:0])
	if err != nil {
		return nil, err
	}
	own.buf, own.value, own.view = val, val, nil
	return val, nil
}

// IsDeletedOrExpired reports whether the item is a tombstone or has expired: such items show only in iterations over
// all versions.
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
	return int64(len(item.own.key)) + item.valueSize()
}

// KeySize returns the size of the key in bytes.
func (item *Item) KeySize() int64 { return int64(len(item.Key())) }

// ValueSize returns the approximate size of the value in bytes, without reading it.
func (item *Item) ValueSize() int64 {
	if item.inner != nil {
		return item.inner.ValueSize()
	}
	return item.valueSize()
}

func (item *Item) valueSize() int64 {
	if item.own.view != nil {
		return item.own.ref.ValueLen
	}
	return int64(len(item.own.value))
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
