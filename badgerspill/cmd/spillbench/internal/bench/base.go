package bench

import (
	"context"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

// baseStage makes a settled database of slots 0 to preloaded-1. It is made once and copied for
// every run, so that both engines start from the same bytes, unless each makes its own, and nothing
// of its making is in their figures.
var baseStage = &stage{name: "base", run: func(ctx context.Context, r *runner) error {
	db, err := r.filled(ctx)
	if err != nil {
		return err
	}
	if err := r.close(db); err != nil {
		return err
	}
	// Close has made a table of the memtable, with which level 0 may be due.
	if db, err = r.open(engine.Options{}); err != nil {
		return err
	}
	if _, err := r.settled(ctx, db); err != nil {
		return err
	}
	return r.close(db)
}}

// filled opens a database, writes slots 0 to preloaded-1, and returns it settled.
func (r *runner) filled(ctx context.Context) (engine.Engine, error) {
	db, err := r.open(engine.Options{})
	if err != nil {
		return nil, err
	}
	if err := r.step("preload", nil, nil, func() error { return r.writeBatch(ctx, db, 0, r.cfg.preloaded()) }); err != nil {
		return nil, err
	}
	_, err = r.settled(ctx, db)
	return db, err
}

// onBase is the stage of an experiment that changes nothing: on a copy of the base that is ready,
// all entries of which are looked for afterwards.
func onBase(name string, measure func(r *runner, ctx context.Context, db engine.Engine) error) stage {
	return stage{name: name, run: func(ctx context.Context, r *runner) error {
		db, err := r.open(engine.Options{})
		if err != nil {
			return err
		}
		if err := r.ready(ctx, db); err != nil {
			return err
		}
		if err := r.step(name, db, nil, func() error { return measure(r, ctx, db) }); err != nil {
			return err
		}
		if err := r.layerStats(db); err != nil {
			return err
		}
		if err := r.holds(ctx, db, r.cfg.preloaded()); err != nil {
			return err
		}
		return r.close(db)
	}}
}

// writeBatch writes slots first to first+n-1 in a WriteBatch, in their order.
func (r *runner) writeBatch(ctx context.Context, db engine.Engine, first, n int64) error {
	return engine.Fill(ctx, db, r.load, first, n)
}
