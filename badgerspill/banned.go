package badgerspill

import (
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"
)

// bannedNamespaces mirrors Badger's set, since keys of the spill and pending writes do not pass Badger's check.
type bannedNamespaces struct {
	offset int // of the namespace in a key; negative = none
	set    atomic.Pointer[map[uint64]struct{}]
}

func (b *bannedNamespaces) load(offset int, db *badger.DB) {
	b.offset = offset
	set := map[uint64]struct{}{}
	for _, ns := range db.BannedNamespaces() {
		set[ns] = struct{}{}
	}
	b.set.Store(&set)
}

// check returns ErrBannedKey if the key lies in a banned namespace.
func (b *bannedNamespaces) check(key []byte) error {
	if b.offset < 0 || len(key) <= b.offset+8 {
		return nil
	}
	if _, ok := (*b.set.Load())[y.BytesToU64(key[b.offset:])]; ok {
		return ErrBannedKey
	}
	return nil
}
