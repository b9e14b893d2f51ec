package badgerspill

import (
	"bytes"
	"encoding/binary"
	"sync"
)

// Sequence hands out rising integers from leases that it stores under its key: eight bytes,
// big-endian, the first integer that is not leased. What of a lease is not used when the program
// ends is skipped. It stands for badger.Sequence, with the same bytes in the database, and is safe
// for concurrent use.
type Sequence struct {
	db        *DB
	key       []byte
	bandwidth uint64

	mu     sync.Mutex
	next   uint64 // the integer to hand out next
	leased uint64 // the end of the lease
}

// GetSequence returns the sequence stored under key, from 0 if there is none, with a lease of
// bandwidth integers. Several may use one key: each gets integers of its own. Errors: ErrEmptyKey,
// ErrZeroBandwidth, and with a Sequence that can be used once the cause is gone, those of Next. It
// may block as a commit does. It panics in managed mode, on a read-only database, and if less than
// eight bytes are stored under key.
func (db *DB) GetSequence(key []byte, bandwidth uint64) (*Sequence, error) {
	switch {
	case db.opt.managed:
		panic("Cannot use GetSequence with managedDB=true.")
	case db.opt.ReadOnly:
		panic("Cannot use GetSequence in read-only mode.")
	case len(key) == 0:
		return nil, ErrEmptyKey
	case bandwidth == 0:
		return nil, ErrZeroBandwidth
	}
	seq := &Sequence{db: db, key: bytes.Clone(key), bandwidth: bandwidth}
	return seq, seq.lease()
}

// Next returns the next integer. When the lease is used up it takes another one in a transaction,
// and may block as a commit does. Errors are those of Get, SetEntry and Commit: among them
// ErrConflict, if somebody else took a lease of the same key meanwhile. After an error it can be
// called again.
func (seq *Sequence) Next() (uint64, error) {
	seq.mu.Lock()
	defer seq.mu.Unlock()
	if seq.next >= seq.leased {
		if err := seq.lease(); err != nil {
			return 0, err
		}
	}
	n := seq.next
	seq.next++
	return n, nil
}

// Release gives back what is left of the lease, unless somebody else took one of the same key
// since. It is meant for the end, before Close; a Next after it takes a new lease. It may block as
// a commit does. Errors are those of Next, and ErrKeyNotFound if the stored lease is gone.
func (seq *Sequence) Release() error {
	seq.mu.Lock()
	defer seq.mu.Unlock()
	err := seq.db.Update(func(txn *Txn) error {
		stored, err := seq.stored(txn)
		if err != nil || stored != seq.leased {
			return err
		}
		return seq.store(txn, seq.next)
	})
	if err == nil {
		seq.leased = seq.next
	}
	return err
}

// lease takes the next bandwidth integers. Needs mu. They are handed out only once the commit is
// acknowledged: Badger's Sequence uses them after a failed one, too, and so gives integers twice.
func (seq *Sequence) lease() error {
	var first, end uint64
	err := seq.db.Update(func(txn *Txn) error {
		stored, err := seq.stored(txn)
		if err != nil && err != ErrKeyNotFound {
			return err
		}
		first, end = stored, stored+seq.bandwidth
		return seq.store(txn, end)
	})
	if err == nil {
		seq.next, seq.leased = first, end
	}
	return err
}

func (seq *Sequence) stored(txn *Txn) (n uint64, err error) {
	item, err := txn.Get(seq.key)
	if err != nil {
		return 0, err
	}
	err = item.Value(func(val []byte) error {
		n = binary.BigEndian.Uint64(val)
		return nil
	})
	return n, err
}

func (seq *Sequence) store(txn *Txn, n uint64) error {
	return txn.SetEntry(NewEntry(seq.key, binary.BigEndian.AppendUint64(nil, n)))
}
