package bench

import (
	"context"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/workspace"
)

// replayCase is how fast entries get into Badger when nothing else is to be done: from the spill,
// and from a WriteBatch.
func replayCase() *Case {
	return &Case{
		Name:  "replay",
		Short: "rate at which 1,200,000 spilled entries get into Badger until settled, against a WriteBatch of them",
		figures: []Figure{
			{"rate", "entries until settled", PerSecond, ratioAtLeast(1.3)},
			{"taken", "entries until taken", PerSecond, nil},
			{"settled", "time until settled", Seconds, nil},
			{"replayed", "entries replayed", Count, nil},
		},
		prepare: baseStage,
		base:    true,
		stages: func(name string) []stage {
			if !layered(name) {
				return []stage{{name: "batch", run: takeBatch}}
			}
			return []stage{{name: "spill", run: spillAndClose(replayEntries)}, {name: "replay", run: replaySpill}}
		},
		entries: func(cfg Config) int64 { return cfg.preloaded() + replayEntries(cfg) },
	}
}

func replayEntries(cfg Config) int64 { return cfg.written() }

// spillAndClose is a stage that leaves so many new entries in the spill.
func spillAndClose(entries func(Config) int64) func(ctx context.Context, r *runner) error {
	return func(ctx context.Context, r *runner) error {
		db, err := r.open(engine.Options{HoldSpill: true})
		if err != nil {
			return err
		}
		if err := r.write(ctx, db, r.cfg.preloaded(), entries(r.cfg)); err != nil {
			return err
		}
		return r.close(db)
	}
}

func takeBatch(ctx context.Context, r *runner) error {
	return r.taken(ctx, func(db engine.Engine) error {
		return r.writeBatch(ctx, db, r.cfg.preloaded(), replayEntries(r.cfg))
	})
}

func replaySpill(ctx context.Context, r *runner) error {
	return r.taken(ctx, func(db engine.Engine) error { return db.Drain(ctx) })
}

// taken measures how long take needs to bring the entries into Badger, and Badger to settle.
func (r *runner) taken(ctx context.Context, take func(db engine.Engine) error) error {
	db, err := r.open(engine.Options{})
	if err != nil {
		return err
	}
	if err := workspace.SyncTree(r.job.Dir); err != nil {
		return err
	}
	n := float64(replayEntries(r.cfg))
	begin := time.Now()
	if err := r.step("take", db, nil, func() error { return take(db) }); err != nil {
		return err
	}
	r.set("taken", n/time.Since(begin).Seconds())
	since, err := r.settled(ctx, db)
	if err != nil {
		return err
	}
	r.set("rate", n/since.Sub(begin).Seconds())
	r.setDuration("settled", since.Sub(begin))
	if l := db.Layer(); l != nil {
		r.set("replayed", float64(l.EntriesReplayed))
	}
	if err := r.layerStats(db); err != nil {
		return err
	}
	return r.reopened(db, func(db engine.Engine) error {
		return r.holds(ctx, db, r.cfg.preloaded()+replayEntries(r.cfg))
	})
}
