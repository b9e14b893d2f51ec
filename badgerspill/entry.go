package badgerspill

import (
	"time"

	"github.com/badgerspill/badgerspill/spillfile"
)

// Meta bits of an entry, Badger's own values; they are the same in its files and in the spill's.
const (
	metaDelete         = spillfile.MetaDelete
	metaDiscardEarlier = spillfile.MetaDiscardEarlier
	metaMerge          = spillfile.MetaMerge
)

// Entry is a key with its value, user metadata and expiry, for SetEntry. It stands for
// badger.Entry.
type Entry struct {
	Key       []byte // 1 to 65,000 bytes
	Value     []byte // at most Options.ValueLogFileSize bytes
	ExpiresAt uint64 // Unix time in seconds; 0 = never
	UserMeta  byte   // the caller's, returned by Item.UserMeta

	version uint64 // 0 = the commit timestamp
	meta    byte
	// the value threshold when the entry was first set: Badger keeps it in the entry, too
	threshold int64
}

// NewEntry creates an entry that refers to key and value; they must not be modified until the
// transaction ends.
func NewEntry(key, value []byte) *Entry {
	return &Entry{Key: key, Value: value}
}

// WithMeta sets the user's metadata byte and returns e.
func (e *Entry) WithMeta(meta byte) *Entry {
	e.UserMeta = meta
	return e
}

// WithDiscard marks all earlier versions of the key as garbage and returns e.
func (e *Entry) WithDiscard() *Entry {
	e.meta = metaDiscardEarlier
	return e
}

// WithTTL lets the entry expire after dur, in whole seconds, and returns e.
func (e *Entry) WithTTL(dur time.Duration) *Entry {
	e.ExpiresAt = uint64(time.Now().Add(dur).Unix())
	return e
}

// estimateSize is what Badger counts toward the limits of a transaction: a value at or above the
// threshold lies in the value log and counts as its pointer.
func (e *Entry) estimateSize(threshold int64) int64 {
	if e.threshold == 0 {
		e.threshold = threshold
	}
	if int64(len(e.Value)) < e.threshold {
		return int64(len(e.Key)+len(e.Value)) + 2
	}
	return int64(len(e.Key)) + 12 + 2
}

// memoryCost is what an entry takes of the memory budget on its way to Badger and in a memtable:
// key with timestamp, value or value pointer, and a skiplist node of usual height.
func memoryCost(keyLen, valueLen int, threshold int64) int64 {
	const node = 40
	if int64(valueLen) >= threshold {
		valueLen = 12
	}
	return int64(keyLen) + 8 + int64(valueLen) + node
}

func deletedOrExpired(meta byte, expiresAt uint64) bool {
	if meta&metaDelete > 0 {
		return true
	}
	return expiresAt != 0 && expiresAt <= uint64(time.Now().Unix())
}
