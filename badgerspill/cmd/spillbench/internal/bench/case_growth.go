package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/closedloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/workspace"
)

const (
	// the last ones of each size, before scaling, but not more than half of what is new
	growthAppends = 200_000
	leastAppends  = 20_000
	growthWriters = 8
	growthOpens   = 5 // the median counts
	growthRounds  = 10
	// growthCapacity holds the largest size and what the spill stores beside it.
	growthCapacity = 24 << 30
)

// growthSizes of the spill are in GiB.
var growthSizes = []int64{1, 4, 16}

// growthCase is whether what the spill costs depends on how much is in it. There is nothing of
// plain Badger to compare.
func growthCase() *Case {
	c := &Case{
		Name: "growth",
		Short: "append, Get and Open with 1, 4 and 16 GiB spilled, by badgerspill alone: what is wanted is of its largest\n" +
			"value by that at 1 GiB",
		figures: []Figure{
			{"append_grown", "append p99, by that at 1 GiB", Ratio, atMost(1.2)},
			{"get_grown", "Get of a spilled key p50, by that at 1 GiB", Ratio, atMost(1.5)},
			{"open_grown", "Open, by that at 1 GiB", Ratio, atMost(1.2)},
		},
		stages: func(name string) []stage {
			if !layered(name) {
				return nil
			}
			return []stage{{name: "grow", run: grow}}
		},
		entries: func(cfg Config) int64 { return growthEntries(cfg, growthSizes[len(growthSizes)-1]) },
	}
	for _, kind := range []struct{ figure, name string }{
		{"append_p50", "append p50"}, {"append_p99", "append p99"},
		{"get_p50", "Get of a spilled key p50"}, {"get_p99", "Get of a spilled key p99"}, {"open", "Open"},
	} {
		for _, size := range growthSizes {
			c.figures = append(c.figures, Figure{
				fmt.Sprintf("%s_%d", kind.figure, size), fmt.Sprintf("%s at %d GiB", kind.name, size), Seconds, nil,
			})
		}
	}
	return c
}

func growthEntries(cfg Config, gib int64) int64 { return cfg.ofBytes(gib << 30) }

func grow(ctx context.Context, r *runner) error {
	opt := engine.Options{HoldSpill: true, SpillCapacity: max(r.cfg.scaled(growthCapacity), 8*minCapacity)}
	spilled := int64(0)
	for _, size := range growthSizes {
		entries := growthEntries(r.cfg, size)
		if err := r.growTo(ctx, opt, size, spilled, entries); err != nil {
			return err
		}
		if err := r.openAndGet(ctx, opt, size, entries); err != nil {
			return err
		}
		spilled = entries
	}
	for figure, of := range map[string]string{"append_grown": "append_p99", "get_grown": "get_p50", "open_grown": "open"} {
		first, most := r.res.Figures[fmt.Sprintf("%s_%d", of, growthSizes[0])], 0.0
		for _, size := range growthSizes[1:] {
			most = max(most, r.res.Figures[fmt.Sprintf("%s_%d", of, size)])
		}
		r.set(figure, most/first)
	}
	return nil
}

// growTo writes slots first to entries-1 and measures the last of these appends.
func (r *runner) growTo(ctx context.Context, opt engine.Options, size, first, entries int64) error {
	db, err := r.open(opt)
	if err != nil {
		return err
	}
	measured := min(max(r.cfg.scaled(growthAppends), leastAppends), (entries-first+1)/2)
	if err := r.write(ctx, db, first, entries-first-measured); err != nil {
		return err
	}
	// What the kernel still has to write must not be in the way of what is measured.
	if err := workspace.SyncTree(r.job.Dir); err != nil {
		return err
	}
	var all rounds
	for round := range int64(growthRounds) {
		var calls callLog
		begin, end := entries-measured+measured*round/growthRounds, entries-measured+measured*(round+1)/growthRounds
		loop := closedloop.NewRun(closedloop.Unique(r.load, begin, end-begin, growthWriters))
		rate, err := r.drive(ctx, db, "append", loop, calls.around(db.Writer))
		if err != nil {
			return err
		}
		all.add(calls.sorted(), rate)
	}
	r.setRounds("append", size, all)
	return r.close(db)
}

// openAndGet measures Open and reads of any spilled key.
func (r *runner) openAndGet(ctx context.Context, opt engine.Options, size, entries int64) error {
	if err := workspace.SyncTree(r.job.Dir); err != nil {
		return err
	}
	var opens []time.Duration
	var db engine.Engine
	for range growthOpens {
		if db != nil {
			if err := r.close(db); err != nil {
				return err
			}
		}
		begin := time.Now()
		var err error
		if db, err = r.open(opt); err != nil {
			return err
		}
		opens = append(opens, time.Since(begin))
	}
	slices.Sort(opens)
	r.setDuration(fmt.Sprintf("open_%d", size), quantile(opens, 0.5))

	random := rand.New(rand.NewPCG(r.cfg.Seed, uint64(size)))
	n := int(max(r.cfg.scaled(gets), minGets))
	if err := r.step("get", db, nil, func() error {
		if _, err := r.get(ctx, db, random, 0, entries, n/2); err != nil { // warms the caches
			return err
		}
		var all rounds
		for range growthRounds {
			took, err := r.get(ctx, db, random, 0, entries, n/growthRounds)
			if err != nil {
				return err
			}
			slices.Sort(took)
			all.add(took, 0)
		}
		r.setRounds("get", size, all)
		return nil
	}); err != nil {
		return err
	}
	if err := r.layerStats(db); err != nil {
		return err
	}
	if err := r.verify(func() (openloop.Verification, error) { return r.sample(ctx, db, entries) }); err != nil {
		return err
	}
	return r.close(db)
}

func (r *runner) setRounds(figure string, size int64, all rounds) {
	r.set(fmt.Sprintf("%s_p50_%d", figure, size), *median(all.p50))
	r.set(fmt.Sprintf("%s_p99_%d", figure, size), *median(all.p99))
}
