package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/closedloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

const (
	commitRounds = 10 // before scaling, each with a database of its own
	// commits of a round fill a third of a memtable of the default size.
	commits       = 20_000
	syncedCommits = 1_000
)

// commitCases are what a commit takes when nothing is in its way: no memtable fills.
func commitCases() []*Case {
	return []*Case{
		commitCase(1, false, ratioAtMost(0.7), nil),
		commitCase(8, false, ratioAtMost(0.2), nil),
		commitCase(1, true, ratioAtMost(1.1), nil),
		commitCase(8, true, ratioAtMost(0.5), ratioAtLeast(2)),
	}
}

func commitCase(writers int, synced bool, p50, rate *Bound) *Case {
	name, n, short := fmt.Sprintf("commit%d", writers), commits, "Update of one key without pressure, median of 10 fresh databases, "
	if synced {
		name, n = name+"sync", syncedCommits
	}
	if writers == 1 {
		short += "1 writer"
	} else {
		short += fmt.Sprintf("%d writers", writers)
	}
	if synced {
		short += ", SyncWrites"
	}
	run := func(ctx context.Context, r *runner) error {
		return r.commits(ctx, r.cfg.scaled(commitRounds), int64(n), writers, engine.Options{SyncWrites: synced})
	}
	return &Case{
		Name:  name,
		Short: short,
		figures: []Figure{
			{"p50", "commit p50", Seconds, p50},
			{"p99", "commit p99", Seconds, nil},
			{"rate", "commits", PerSecond, rate},
			{"spilled", "commits spilled", Count, nil},
		},
		stages:  func(string) []stage { return []stage{{name: "commit", run: run}} },
		entries: func(cfg Config) int64 { return cfg.scaled(commitRounds) * int64(n) },
	}
}

// commits fills a fresh database in each round.
func (r *runner) commits(ctx context.Context, times, n int64, writers int, opt engine.Options) error {
	dir := r.job.Dir
	var all rounds
	spilled := int64(0)
	for round := range times {
		r.job.Dir = filepath.Join(dir, fmt.Sprintf("round-%d", round+1))
		if err := os.Mkdir(r.job.Dir, 0o700); err != nil {
			return err
		}
		db, err := r.open(opt)
		if err != nil {
			return err
		}
		var calls callLog
		loop := closedloop.NewRun(closedloop.Unique(r.load, 0, n, writers))
		rate, err := r.drive(ctx, db, "commit", loop, calls.around(db.Writer))
		if err != nil {
			return err
		}
		all.add(calls.sorted(), rate)
		if l := db.Layer(); l != nil {
			spilled += l.CommitsSpilled
			r.set("spilled", float64(spilled))
		}
		if err := r.layerStats(db); err != nil {
			return err
		}
		if err := r.reopened(db, func(db engine.Engine) error { return r.holds(ctx, db, n) }); err != nil {
			return err
		}
	}
	r.set("p50", *median(all.p50))
	r.set("p99", *median(all.p99))
	r.set("rate", *median(all.rates))
	return nil
}
