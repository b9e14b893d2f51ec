package engine

import (
	"context"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/settle"
)

// Fill writes slots first to first+n-1 of a workload to db in a Batch, in their order. It blocks
// until all is acknowledged, or ctx has ended, and returns the error of that or of the batch.
func Fill(ctx context.Context, db interface{ Batch() Batch }, load *openloop.Workload, first, n int64) error {
	batch := db.Batch()
	defer batch.Cancel()
	for slot := first; slot < first+n; slot++ {
		if slot%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := batch.Set(load.AppendKey(nil, slot), load.AppendValue(nil, slot)); err != nil {
			return err
		}
	}
	return batch.Flush()
}

// Look takes a picture of db, whose directory is dir, for settle.Wait. It blocks for a read of the
// directory.
func Look(dir string, db interface {
	Layer() *Layer
	Levels() []badger.LevelInfo
}) (settle.State, error) {
	pending := int64(0)
	if l := db.Layer(); l != nil {
		pending = l.SpillPending
	}
	return settle.Look(dir, db.Levels(), pending)
}
