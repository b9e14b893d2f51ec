package engine

import (
	"context"
	"errors"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

type plain struct{ db *badger.DB }

func openBadger(dir string, opt Options) (Engine, error) {
	options := badgerspill.DefaultOptions(dir).WithLogger(nil).WithSyncWrites(opt.SyncWrites).FromSuperFlag(opt.Superflag).Badger()
	if opt.Checking {
		options = options.WithNumCompactors(0)
	}
	db, err := badger.Open(options)
	if err != nil {
		return nil, err
	}
	return plain{db}, nil
}

func (p plain) Writer() func(key, value []byte) error {
	var key, value []byte
	put := func(txn *badger.Txn) error { return txn.Set(key, value) }
	return func(k, v []byte) error {
		key, value = k, v
		return p.db.Update(put)
	}
}

func (p plain) Scan(visit func(key, value []byte) bool) error {
	return p.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		more := true
		for it.Rewind(); more && it.Valid(); it.Next() {
			item := it.Item()
			err := item.Value(func(value []byte) error {
				more = visit(item.Key(), value)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (p plain) Get(key, dst []byte) ([]byte, error) {
	err := p.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			dst = append(dst, v...)
			return nil
		})
	})
	return dst, notFound(err)
}

func (p plain) ScanKeys(visit func(key []byte) bool) error {
	return p.db.View(func(txn *badger.Txn) error {
		opt := badger.DefaultIteratorOptions
		opt.PrefetchValues = false
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Rewind(); it.Valid() && visit(it.Item().Key()); it.Next() {
		}
		return nil
	})
}

func (p plain) Increment(key []byte) (conflicts int64, err error) {
	return retried(func() error {
		return p.db.Update(func(txn *badger.Txn) error {
			item, err := txn.Get(key)
			return addOne(item, err, func(value []byte) error { return txn.Set(key, value) })
		})
	})
}

func (p plain) GetHeld(key []byte, hold func()) error {
	return p.db.View(func(txn *badger.Txn) error {
		_, err := txn.Get(key)
		hold()
		return notFound(err)
	})
}

func (p plain) Batch() Batch { return p.db.NewWriteBatch() }

func (p plain) Layer() *Layer { return nil }

func (p plain) LayerStats() any { return nil }

func (p plain) Levels() []badger.LevelInfo { return p.db.Levels() }

func (p plain) BlockCacheBytes() int64 { return inCache(p.db.BlockCacheMetrics()) }

func (p plain) Drain(context.Context) error { return nil }

func (p plain) Close() error { return p.db.Close() }

func notFound(err error) error {
	if errors.Is(err, badger.ErrKeyNotFound) {
		return openloop.ErrNotFound
	}
	return err
}

// inCache returns the bytes that a cache of blocks holds: a block costs its size.
func inCache(m *ristretto.Metrics) int64 {
	if m == nil {
		return 0
	}
	return int64(m.CostAdded() - m.CostEvicted())
}
