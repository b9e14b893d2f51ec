package badgerspill

import (
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"
)

// bannedNamespaces mirrors Badger's set, since keys of the spill and pending writes do not pass
// Badger's check.
type bannedNamespaces struct {
	offset int        // of the namespace in a key; negative = none
	mu     sync.Mutex // orders loads
	set    atomic.Pointer[map[uint64]struct{}]
}

// load takes over Badger's set, of now.
func (b *bannedNamespaces) load(db *badger.DB) {
	b.mu.Lock()
	defer b.mu.Unlock()
	set := map[uint64]struct{}{}
	for _, ns := range db.BannedNamespaces() {
		set[ns] = struct{}{}
	}
	b.set.Store(&set)
}

// hides reports whether iterators pass over the key. They do so for a key that ends with a banned
// namespace, too, which Get and Set let pass: Badger's iterators judge the key with its timestamp
// appended.
func (b *bannedNamespaces) hides(key []byte) bool {
	return b.offset >= 0 && len(key) >= b.offset+8 && b.has(key)
}

// check returns ErrBannedKey if the key lies in a banned namespace.
func (b *bannedNamespaces) check(key []byte) error {
	if b.offset < 0 || len(key) <= b.offset+8 {
		return nil
	}
	if b.has(key) {
		return ErrBannedKey
	}
	return nil
}

func (b *bannedNamespaces) has(key []byte) bool {
	_, ok := (*b.set.Load())[y.BytesToU64(key[b.offset:])]
	return ok
}
