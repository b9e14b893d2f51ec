package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/closedloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

const (
	readersFor     = 20 * time.Second
	readers        = 10_000
	readersWriters = 8
	// A read transaction stays open for so long.
	leastHeld, mostHeld = time.Millisecond, 10 * time.Millisecond
)

// readersCase is what writers get done beside very many short transactions that read.
func readersCase() *Case {
	return &Case{
		Name: "readers",
		Short: "8 writers for 20 s beside 10,000 read transactions, each held open for 1 to 10 ms, over a settled\n" +
			"database of 1,000,000 entries",
		figures: []Figure{
			{"commits", "commits", PerSecond, ratioAtLeast(2)},
			{"p50", "commit p50", Seconds, nil},
			{"p99", "commit p99", Seconds, nil},
			{"reads", "reads", PerSecond, nil},
			{"spilled", "commits spilled", Count, nil},
		},
		prepare: baseStage,
		base:    true,
		stages:  func(string) []stage { return []stage{{name: "load", run: besideReaders}} },
		entries: func(cfg Config) int64 { return cfg.preloaded() + cfg.writtenIn(readersFor) },
	}
}

func besideReaders(ctx context.Context, r *runner) error {
	db, err := r.open(engine.Options{})
	if err != nil {
		return err
	}
	if err := r.ready(ctx, db); err != nil {
		return err
	}
	cfg := closedloop.Unique(r.load, r.cfg.preloaded(), 0, readersWriters)
	cfg.For = r.cfg.scaledTime(readersFor)
	writes := closedloop.NewRun(cfg)
	old := closedloop.Pattern{Seed: r.cfg.Seed, Keys: r.cfg.preloaded()}
	reads := closedloop.NewRun(closedloop.Config{
		// the values have no meaning
		Workload: openloop.NewWorkload(r.cfg.Seed, openloop.MinValueSize),
		Key:      old.Slot,
		Value:    old.Slot,
		Writers:  int(min(r.cfg.scaled(readers), readers)),
	})
	readCtx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- reads.Do(readCtx, r.holders(readCtx, db)) }()

	var calls callLog
	begin, before := time.Now(), reads.Done()
	commits, err := r.drive(ctx, db, "load", writes, calls.around(db.Writer))
	r.set("reads", float64(reads.Done()-before)/time.Since(begin).Seconds())
	stop()
	if readErr := <-ended; !errors.Is(readErr, context.Canceled) {
		err = errors.Join(err, readErr)
	}
	if err != nil {
		return err
	}
	took := calls.sorted()
	r.set("commits", commits)
	r.setDuration("p50", quantile(took, 0.5))
	r.setDuration("p99", quantile(took, 0.99))
	if l := db.Layer(); l != nil {
		r.set("spilled", float64(l.CommitsSpilled))
	}
	if err := r.layerStats(db); err != nil {
		return err
	}
	return r.reopened(db, func(db engine.Engine) error {
		return r.holds(ctx, db, r.cfg.preloaded()+writes.Done())
	})
}

// holders makes functions that each read the key they are given, in a transaction that they hold
// open.
func (r *runner) holders(ctx context.Context, db engine.Engine) func() func(key, _ []byte) error {
	seed := uint64(0)
	return func() func(key, _ []byte) error {
		seed++
		random := rand.New(rand.NewPCG(r.cfg.Seed, seed))
		timer := time.NewTimer(mostHeld)
		hold := func() {
			timer.Reset(leastHeld + time.Duration(random.Int64N(int64(mostHeld-leastHeld))))
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		return func(key, _ []byte) error { return db.GetHeld(key, hold) }
	}
}
