package engine

import (
	"encoding/binary"
	"errors"

	"github.com/dgraph-io/badger/v4"
)

// Counter returns what a counter's value counts. Values of another length count nothing.
func Counter(value []byte) uint64 {
	if len(value) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// addOne sets a counter to one more than the item has, which was read with err.
func addOne(item interface {
	Value(func([]byte) error) error
}, err error, set func(value []byte) error) error {
	n := uint64(0)
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
	case err != nil:
		return err
	default:
		if err := item.Value(func(value []byte) error { n = Counter(value); return nil }); err != nil {
			return err
		}
	}
	return set(binary.BigEndian.AppendUint64(nil, n+1))
}

// retried repeats a transaction until it does not conflict, and returns how often it did.
func retried(transact func() error) (conflicts int64, err error) {
	for {
		if err = transact(); !errors.Is(err, badger.ErrConflict) {
			return conflicts, err
		}
		conflicts++
	}
}
