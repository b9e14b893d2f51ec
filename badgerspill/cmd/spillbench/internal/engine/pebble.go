package engine

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// The memtables are as many and as large as Badger's by default. All else is as Pebble has it by
// default.
const (
	pebbleMemTableSize = 64 << 20
	pebbleMemTables    = 5
)

// pebbleBatchSize is when a batch is committed: that of a Badger transaction is near it.
const pebbleBatchSize = 8 << 20

type pebbleStore struct {
	db    *pebble.DB
	write *pebble.WriteOptions
}

// quietPebble says only what went wrong.
type quietPebble struct{ pebble.Logger }

func (quietPebble) Infof(string, ...any) {}

func openPebble(dir string, opt Options) (Engine, error) {
	db, err := pebble.Open(dir, &pebble.Options{
		MemTableSize:                pebbleMemTableSize,
		MemTableStopWritesThreshold: pebbleMemTables,
		DisableAutomaticCompactions: opt.Checking,
		Logger:                      quietPebble{pebble.DefaultLogger},
	})
	if err != nil {
		return nil, err
	}
	s := &pebbleStore{db, pebble.NoSync}
	if opt.SyncWrites {
		s.write = pebble.Sync
	}
	return s, nil
}

func (s *pebbleStore) Writer() func(key, value []byte) error {
	return func(key, value []byte) error { return s.db.Set(key, value, s.write) }
}

func (s *pebbleStore) Get(key, dst []byte) ([]byte, error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, openloop.ErrNotFound
	}
	if err != nil {
		return dst, err
	}
	return append(dst, value...), closer.Close()
}

func (s *pebbleStore) GetHeld(key []byte, hold func()) error {
	snapshot := s.db.NewSnapshot()
	_, closer, err := snapshot.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		err = openloop.ErrNotFound
	}
	if closer != nil {
		err = errors.Join(err, closer.Close())
	}
	hold()
	return errors.Join(err, snapshot.Close())
}

func (s *pebbleStore) Increment([]byte) (int64, error) { return 0, ErrNoTransactions }

func (s *pebbleStore) Scan(visit func(key, value []byte) bool) error {
	return s.iterate(func(it *pebble.Iterator) (bool, error) {
		value, err := it.ValueAndErr()
		return err == nil && visit(it.Key(), value), err
	})
}

func (s *pebbleStore) ScanKeys(visit func(key []byte) bool) error {
	return s.iterate(func(it *pebble.Iterator) (bool, error) { return visit(it.Key()), nil })
}

func (s *pebbleStore) iterate(visit func(*pebble.Iterator) (more bool, err error)) error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	more := true
	for valid := it.First(); valid && more && err == nil; valid = it.Next() {
		more, err = visit(it)
	}
	// Close returns the error of the iteration, too.
	return errors.Join(err, it.Close())
}

func (s *pebbleStore) Batch() Batch { return &pebbleBatch{store: s, open: s.db.NewBatch()} }

type pebbleBatch struct {
	store *pebbleStore
	open  *pebble.Batch // nil after Flush and Cancel
}

func (b *pebbleBatch) Set(key, value []byte) error {
	if err := b.open.Set(key, value, nil); err != nil || b.open.Len() < pebbleBatchSize {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	b.open = b.store.db.NewBatch()
	return nil
}

func (b *pebbleBatch) Flush() error {
	open := b.open
	b.open = nil
	return errors.Join(open.Commit(b.store.write), open.Close())
}

func (b *pebbleBatch) Cancel() {
	if b.open != nil {
		_ = b.open.Close()
		b.open = nil
	}
}

// Levels returns Pebble's levels as Badger describes its own. Level 0 is due as long as there is
// anything to flush or to compact. The last level never is: Pebble gives it a score, and moves
// nothing out of it.
func (s *pebbleStore) Levels() []badger.LevelInfo {
	m := s.db.Metrics()
	levels := make([]badger.LevelInfo, len(m.Levels))
	for i, l := range m.Levels {
		levels[i] = badger.LevelInfo{Level: i, NumTables: int(l.TablesCount), Size: l.TablesSize, Score: l.Score}
	}
	levels[len(levels)-1].Score = 0
	if m.MemTable.Count > 1 || m.Compact.NumInProgress > 0 {
		levels[0].Score = max(levels[0].Score, 1)
	}
	return levels
}

// BlockCacheBytes returns what Pebble's own cache of blocks holds.
func (s *pebbleStore) BlockCacheBytes() int64 { return s.db.Metrics().BlockCache.Size }

func (s *pebbleStore) Layer() *Layer               { return nil }
func (s *pebbleStore) LayerStats() any             { return nil }
func (s *pebbleStore) Drain(context.Context) error { return nil }
func (s *pebbleStore) Close() error                { return s.db.Close() }
