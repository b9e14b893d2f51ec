package main

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/openloop"
)

// The memtables are as many and as large as Badger's by default. All else is as Pebble has it by default.
const (
	memTableSize = 64 << 20
	memTables    = 5
)

// batchSize is when a batch is committed: that of a Badger transaction is near it.
const batchSize = 8 << 20

type store struct {
	db    *pebble.DB
	write *pebble.WriteOptions
}

// quiet says only what went wrong.
type quiet struct{ pebble.Logger }

func (quiet) Infof(string, ...any) {}

func open(dir string, opt engine.Options) (engine.Engine, error) {
	db, err := pebble.Open(dir, &pebble.Options{
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: memTables,
		DisableAutomaticCompactions: opt.Checking,
		Logger:                      quiet{pebble.DefaultLogger},
	})
	if err != nil {
		return nil, err
	}
	s := &store{db, pebble.NoSync}
	if opt.SyncWrites {
		s.write = pebble.Sync
	}
	return s, nil
}

func (s *store) Writer() func(key, value []byte) error {
	return func(key, value []byte) error { return s.db.Set(key, value, s.write) }
}

func (s *store) Get(key, dst []byte) ([]byte, error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, openloop.ErrNotFound
	}
	if err != nil {
		return dst, err
	}
	return append(dst, value...), closer.Close()
}

func (s *store) GetHeld(key []byte, hold func()) error {
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

func (s *store) Increment([]byte) (int64, error) { return 0, engine.ErrNoTransactions }

func (s *store) Scan(visit func(key, value []byte) bool) error {
	return s.iterate(func(it *pebble.Iterator) (bool, error) {
		value, err := it.ValueAndErr()
		return err == nil && visit(it.Key(), value), err
	})
}

func (s *store) ScanKeys(visit func(key []byte) bool) error {
	return s.iterate(func(it *pebble.Iterator) (bool, error) { return visit(it.Key()), nil })
}

func (s *store) iterate(visit func(*pebble.Iterator) (more bool, err error)) error {
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

func (s *store) Batch() engine.Batch { return &batch{store: s, open: s.db.NewBatch()} }

type batch struct {
	store *store
	open  *pebble.Batch // nil after Flush and Cancel
}

func (b *batch) Set(key, value []byte) error {
	if err := b.open.Set(key, value, nil); err != nil || b.open.Len() < batchSize {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	b.open = b.store.db.NewBatch()
	return nil
}

func (b *batch) Flush() error {
	open := b.open
	b.open = nil
	return errors.Join(open.Commit(b.store.write), open.Close())
}

func (b *batch) Cancel() {
	if b.open != nil {
		_ = b.open.Close()
		b.open = nil
	}
}

// Levels returns Pebble's levels as Badger describes its own. Level 0 is due as long as there is anything to flush or to compact.
func (s *store) Levels() []badger.LevelInfo {
	m := s.db.Metrics()
	levels := make([]badger.LevelInfo, len(m.Levels))
	for i, l := range m.Levels {
		levels[i] = badger.LevelInfo{Level: i, NumTables: int(l.TablesCount), Size: l.TablesSize, Score: l.Score}
	}
	if m.MemTable.Count > 1 || m.Compact.NumInProgress > 0 {
		levels[0].Score = max(levels[0].Score, 1)
	}
	return levels
}

// BlockCacheBytes returns what Pebble's own cache of blocks holds.
func (s *store) BlockCacheBytes() int64 { return s.db.Metrics().BlockCache.Size }

func (s *store) Layer() *engine.Layer        { return nil }
func (s *store) LayerStats() any             { return nil }
func (s *store) Drain(context.Context) error { return nil }
func (s *store) Close() error                { return s.db.Close() }
