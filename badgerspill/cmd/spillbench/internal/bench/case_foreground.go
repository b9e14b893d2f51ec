package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/workspace"
)

const (
	foregroundWrites = 500   // a second
	foregroundReads  = 2_000 // a second
	lookEvery        = 20 * time.Millisecond
	// shortest is how long the load is measured at least, however soon the database has nothing to
	// do: two thousand reads tell a p99.
	shortest = time.Second
	// catchUp is how long the load may take to have sent what was due when the database has
	// settled.
	catchUp = time.Minute
)

// foregroundCase is what replay in the background does to those who write and read, against what
// compaction of the same entries does to them in plain Badger.
func foregroundCase() *Case {
	return &Case{
		Name: "foreground",
		Short: "latency of 500 writes/s and 2,000 reads/s while 1 GiB of spill replays, against plain Badger while it\n" +
			"compacts the same entries",
		figures: []Figure{
			{"write_p50", "write p50", Seconds, nil},
			{"write_p99", "write p99", Seconds, ratioAtMost(2)},
			{"write_p999", "write p99.9", Seconds, nil},
			{"read_p50", "read p50", Seconds, nil},
			{"read_p99", "read p99", Seconds, ratioAtMost(2)},
			{"read_p999", "read p99.9", Seconds, nil},
			{"time", "time measured", Seconds, nil},
			{"write_p99_settled", "write p99 until settled", Seconds, nil},
			{"read_p99_settled", "read p99 until settled", Seconds, nil},
			{"settled", "time until settled", Seconds, nil},
		},
		prepare: baseStage,
		base:    true,
		stages: func(name string) []stage {
			if !layered(name) {
				return []stage{{name: "load", run: loadAfterWriting}}
			}
			return []stage{
				{name: "spill", run: spillAndClose(foregroundEntries)},
				{name: "load", run: loadWhileReplaying},
			}
		},
		entries: func(cfg Config) int64 { return cfg.preloaded() + foregroundEntries(cfg) },
	}
}

func foregroundEntries(cfg Config) int64 { return cfg.ofBytes(1 << 30) }

// loadAfterWriting begins the load when the entries are accepted, which leaves Badger with their
// compaction.
func loadAfterWriting(ctx context.Context, r *runner) error {
	db, err := r.open(engine.Options{})
	if err != nil {
		return err
	}
	if err := r.ready(ctx, db); err != nil {
		return err
	}
	if err := r.write(ctx, db, r.cfg.preloaded(), foregroundEntries(r.cfg)); err != nil {
		return err
	}
	return r.foreground(ctx, db)
}

// loadWhileReplaying begins the load on a spill that the layer replays when it sees fit.
func loadWhileReplaying(ctx context.Context, r *runner) error {
	if err := workspace.SyncTree(r.job.Dir); err != nil {
		return err
	}
	db, err := r.open(engine.Options{})
	if err != nil {
		return err
	}
	return r.foreground(ctx, db)
}

// foreground runs the load until db has settled, and measures it from when db begins to work off
// what was written.
func (r *runner) foreground(ctx context.Context, db engine.Engine) error {
	write, read := r.foregroundLoad()
	write.Begin()
	read.Begin()
	ended := make(chan error, 2)
	go func() { ended <- write.Do(ctx, db.Writer) }()
	go func() { ended <- read.Do(ctx, r.getters(db)) }()

	err := r.whileLoaded(ctx, db, write, read)
	write.Stop()
	read.Stop()
	err = errors.Join(err, <-ended, <-ended, write.FirstError(), read.FirstError())
	if err != nil {
		return err
	}
	if err := r.layerStats(db); err != nil {
		return err
	}
	return r.reopened(db, func(db engine.Engine) error {
		err := r.verify(func() (openloop.Verification, error) { return write.Verify(ctx, db) })
		return errors.Join(err, r.holds(ctx, db, r.cfg.preloaded()+foregroundEntries(r.cfg)))
	})
}

// foregroundLoad has new keys to write, and slots to read that have no meaning.
func (r *runner) foregroundLoad() (write, read *openloop.Run) {
	loop := func(name string, rate int64, w *openloop.Workload) *openloop.Run {
		return openloop.NewRun(openloop.Config{
			Schedule: openloop.NewSchedule(openloop.Phase{Name: name, Rate: rate, Duration: settleLimit + catchUp}),
			Workload: w,
			Writers:  writers,
			Precise:  r.precise,
		})
	}
	return loop("write", foregroundWrites, openloop.NewWorkload(r.cfg.Seed+1, r.cfg.ValueSize)),
		loop("read", foregroundReads, openloop.NewWorkload(r.cfg.Seed, openloop.MinValueSize))
}

// getters makes functions that each read a random key of those that were there before the load,
// whatever they are given.
func (r *runner) getters(db engine.Engine) func() func(_, _ []byte) error {
	seed, n := uint64(0), r.cfg.preloaded()+foregroundEntries(r.cfg)
	return func() func(_, _ []byte) error {
		seed++
		random := rand.New(rand.NewPCG(r.cfg.Seed, seed))
		var key, value []byte
		return func(_, _ []byte) (err error) {
			key = r.load.AppendKey(key[:0], random.Int64N(n))
			if value, err = db.Get(key, value[:0]); err != nil {
				return fmt.Errorf("key %s: %w", key, err)
			}
			return nil
		}
	}
}

func (r *runner) whileLoaded(ctx context.Context, db engine.Engine, write, read *openloop.Run) error {
	begin := time.Now()
	if err := r.until(ctx, "wait", db, replayHasBegun); err != nil {
		return err
	}
	from := time.Since(begin)
	if err := r.until(ctx, "replay", db, spillIsEmpty); err != nil {
		return err
	}
	empty := time.Since(begin)
	since, err := r.settled(ctx, db)
	if err != nil {
		return err
	}
	settled := max(since.Sub(begin), from)
	if !r.layered() {
		empty = settled
	}
	r.setDuration("settled", settled-from)
	empty, settled = max(empty, from+shortest), max(settled, from+shortest)
	r.setDuration("time", empty-from)
	if err := r.caughtUp(ctx, db, begin.Add(settled), write, read); err != nil {
		return err
	}

	for _, load := range []struct {
		name string
		run  *openloop.Run
	}{{"write", write}, {"read", read}} {
		if part := load.run.ResultBetween(from, empty); part.Acked > 0 {
			r.setDuration(load.name+"_p50", part.P50)
			r.setDuration(load.name+"_p99", part.P99)
			r.setDuration(load.name+"_p999", part.P999)
		}
		if part := load.run.ResultBetween(from, settled); part.Acked > 0 {
			r.setDuration(load.name+"_p99_settled", part.P99)
		}
	}
	return nil
}

// replayHasBegun is true at once in plain Badger: compaction never pauses.
func replayHasBegun(l *engine.Layer) bool {
	return l == nil || l.EntriesReplayed > 0 || l.SpillPending == 0
}

func spillIsEmpty(l *engine.Layer) bool { return l == nil || l.SpillPending == 0 }

// until waits until the layer is in a state.
func (r *runner) until(ctx context.Context, step string, db engine.Engine, state func(*engine.Layer) bool) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	return r.step(step, db, nil, func() error {
		look := time.NewTicker(lookEvery)
		defer look.Stop()
		for !state(db.Layer()) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-look.C:
			}
		}
		return nil
	})
}

// caughtUp waits until the load has sent and had answered what is due before a time: what is
// measured must not lack the writes and reads that waited longest.
func (r *runner) caughtUp(ctx context.Context, db engine.Engine, before time.Time, runs ...*openloop.Run) error {
	ctx, cancel := context.WithTimeout(ctx, shortest+catchUp)
	defer cancel()
	return r.step("catch up", db, nil, func() error {
		look := time.NewTicker(lookEvery)
		defer look.Stop()
		for time.Now().Before(before) || !allAnswered(runs, before) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("the load is still behind: %w", ctx.Err())
			case <-look.C:
			}
		}
		return nil
	})
}

func allAnswered(runs []*openloop.Run, before time.Time) bool {
	for _, run := range runs {
		if !run.Answered(run.Elapsed() - time.Since(before)) {
			return false
		}
	}
	return true
}
