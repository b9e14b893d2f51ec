package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/closedloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/usage"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/workspace"
)

// settleCase is what a burst costs until Badger has settled. Half of its keys are in the database
// before, and half are new.
func settleCase() *Case {
	return burstCase("settle", "CPU and bytes written for a burst of 1,200,000 random entries into a database of 1,000,000, until settled",
		0.75, func(cfg Config) closedloop.Pattern {
			return closedloop.Pattern{Seed: cfg.Seed, Keys: 2 * cfg.preloaded()}
		})
}

// hotCase is the same where most of what is written is soon overwritten.
func hotCase() *Case {
	return burstCase("hot", "the same with 90 % of the writes on 1 % of the keys",
		0.3, func(cfg Config) closedloop.Pattern {
			keys := 2 * cfg.preloaded()
			return closedloop.Pattern{Seed: cfg.Seed, Keys: keys, Hot: keys / 100, HotPercent: 90}
		})
}

// orderedCase is the same for keys that come in their order, each behind all that are there.
func orderedCase() *Case {
	c := burstCase("ordered", "the same with keys that come in order, all of them new",
		1, func(cfg Config) closedloop.Pattern {
			return closedloop.Pattern{Keys: cfg.preloaded() + cfg.written(), First: cfg.preloaded(), InOrder: true}
		})
	c.inOrder = true
	return c
}

func burstCase(name, short string, wanted float64, pattern func(Config) closedloop.Pattern) *Case {
	burst := stage{name: "burst", run: func(ctx context.Context, r *runner) error {
		return r.burst(ctx, pattern(r.cfg))
	}}
	return &Case{
		Name:  name,
		Short: short,
		figures: []Figure{
			{"cpu", "CPU", Seconds, ratioAtMost(wanted)},
			{"written", "bytes written", Bytes, ratioAtMost(wanted)},
			{"cancelled", "of them cancelled", Bytes, nil},
			{"settled", "time until settled", Seconds, nil},
			{"accepted", "burst accepted at", PerSecond, nil},
			{"level0", "tables left in level 0", Count, nil},
			{"disk", "on disk when settled", Bytes, nil},
			{"spilled", "commits spilled", Count, nil},
			{"replayed", "entries replayed", Count, nil},
		},
		prepare: baseStage,
		base:    true,
		stages:  func(string) []stage { return []stage{burst} },
		entries: func(cfg Config) int64 { return cfg.preloaded() + cfg.written() },
	}
}

func (r *runner) burst(ctx context.Context, p closedloop.Pattern) error {
	db, err := r.open(engine.Options{})
	if err != nil {
		return err
	}
	if err := r.ready(ctx, db); err != nil {
		return err
	}
	writes := r.cfg.written()
	loop := closedloop.NewRun(closedloop.Config{
		Workload: r.load,
		Key:      p.Slot,
		// No two writes have the same value, and none that of a key before.
		Value:   func(i int64) int64 { return p.Keys + i },
		Writes:  writes,
		Writers: writers,
		Record:  true,
	})

	if err := r.costUntilSettled(ctx, db, func() error {
		accepted, err := r.drive(ctx, db, "burst", loop, db.Writer)
		r.set("accepted", accepted)
		return err
	}); err != nil {
		return err
	}
	return r.reopened(db, func(db engine.Engine) error {
		return r.verify(func() (openloop.Verification, error) {
			return loop.Verify(ctx, db, r.cfg.preloaded(), p.Keys)
		})
	})
}

// costUntilSettled measures what the process does for a load, until the database has settled.
func (r *runner) costUntilSettled(ctx context.Context, db engine.Engine, load func() error) error {
	before, err := usage.Now()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := load(); err != nil {
		return err
	}
	since, err := r.settled(ctx, db)
	if err != nil {
		return err
	}
	after, err := usage.Now()
	if err != nil {
		return err
	}
	work := after.Sub(before)
	r.setDuration("cpu", work.CPU)
	r.set("written", float64(work.Written))
	r.set("cancelled", float64(work.Cancelled))
	r.setDuration("settled", since.Sub(begin))
	if levels := db.Levels(); len(levels) > 0 { // a bare log has none
		r.set("level0", float64(levels[0].NumTables))
	}
	r.set("disk", float64(workspace.Usage(r.job.Dir)))
	if l := db.Layer(); l != nil {
		r.set("spilled", float64(l.CommitsSpilled))
		r.set("replayed", float64(l.EntriesReplayed))
	}
	return r.layerStats(db)
}

// drive runs a closed loop and returns how many of its writes were acknowledged a second.
func (r *runner) drive(ctx context.Context, db engine.Engine, step string, loop *closedloop.Run,
	newWriter func() func(key, value []byte) error,
) (rate float64, err error) {
	begin := time.Now()
	status := func() string { return text.Count(loop.Done()) + " accepted" }
	err = r.step(step, db, status, func() error { return loop.Do(ctx, newWriter) })
	return float64(loop.Done()) / time.Since(begin).Seconds(), err
}

// accepted is the status of a run of n writes.
func (r *runner) accepted(loop *closedloop.Run, n int64) func() string {
	return func() string { return fmt.Sprintf("%s of %s accepted", text.Count(loop.Done()), text.Count(n)) }
}

// write writes slots first to first+n-1 as fast as they are accepted.
func (r *runner) write(ctx context.Context, db engine.Engine, first, n int64) error {
	loop := closedloop.NewRun(closedloop.Unique(r.load, first, n, writers))
	return r.step("write", db, r.accepted(loop, n), func() error { return loop.Do(ctx, db.Writer) })
}
