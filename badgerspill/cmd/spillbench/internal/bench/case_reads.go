package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/workspace"
)

const (
	gets    = 200_000 // of each kind, before scaling
	minGets = 1_000
	// getRounds take turns between the kinds, so that what else the machine does hits both.
	getRounds = 10
	// scans of each kind; the median counts.
	scans = 3
)

// readsCase is how reads fare over a large spill, against plain Badger settled with the same data.
func readsCase() *Case {
	return &Case{
		Name:  "reads",
		Short: "Get and scan with 2 GiB spilled over a settled database of 1,000,000 other entries",
		figures: []Figure{
			{"get_spilled_p50", "Get of a spilled key p50", Seconds, ratioAtMost(2)},
			{"get_spilled_p99", "Get of a spilled key p99", Seconds, nil},
			{"get_other_p50", "Get of another key p50", Seconds, ratioAtMost(1.3)},
			{"get_other_p99", "Get of another key p99", Seconds, nil},
			{"scan", "entries scanned with values", PerSecond, ratioAtLeast(0.5)},
			{"scan_keys", "entries scanned, keys only", PerSecond, nil},
			{"open", "Open", Seconds, nil},
			{"spill", "spill on disk", Bytes, nil},
			{"pending", "commits in the spill", Count, nil},
		},
		prepare: baseStage,
		base:    true,
		stages: func(name string) []stage {
			write := stage{name: "write", run: writeAndSettle}
			if layered(name) {
				write.run = spillAndClose(readsEntries)
			}
			return []stage{write, {name: "read", run: read}}
		},
		entries: func(cfg Config) int64 { return cfg.preloaded() + readsEntries(cfg) },
	}
}

func readsEntries(cfg Config) int64 { return cfg.ofBytes(2 << 30) }

func writeAndSettle(ctx context.Context, r *runner) error {
	db, err := r.open(engine.Options{})
	if err != nil {
		return err
	}
	if err := r.write(ctx, db, r.cfg.preloaded(), readsEntries(r.cfg)); err != nil {
		return err
	}
	if _, err := r.settled(ctx, db); err != nil {
		return err
	}
	return r.close(db)
}

func read(ctx context.Context, r *runner) error {
	if err := workspace.SyncTree(r.job.Dir); err != nil {
		return err
	}
	begin := time.Now()
	db, err := r.open(engine.Options{HoldSpill: true})
	if err != nil {
		return err
	}
	r.setDuration("open", time.Since(begin))
	if err := r.compacted(ctx, db); err != nil {
		return err
	}
	if l := db.Layer(); l != nil {
		r.set("spill", float64(l.SpillBytes))
		r.set("pending", float64(l.SpillPending))
	}

	before, all := r.cfg.preloaded(), r.cfg.preloaded()+readsEntries(r.cfg)
	if err := r.step("get", db, nil, func() error { return r.gets(ctx, db, before, all) }); err != nil {
		return err
	}
	if err := r.scan(ctx, db, "scan", all, func(visit func() bool) error {
		return db.Scan(func(_, _ []byte) bool { return visit() })
	}); err != nil {
		return err
	}
	if err := r.scan(ctx, db, "scan_keys", all, func(visit func() bool) error {
		return db.ScanKeys(func([]byte) bool { return visit() })
	}); err != nil {
		return err
	}
	if err := r.layerStats(db); err != nil {
		return err
	}
	if err := r.holds(ctx, db, all); err != nil {
		return err
	}
	return r.close(db)
}

// gets measures random reads of slots 0 to before-1, which Badger has had since long, and of before
// to all-1.
func (r *runner) gets(ctx context.Context, db engine.Engine, before, all int64) error {
	random := rand.New(rand.NewPCG(r.cfg.Seed, 2))
	n := int(max(r.cfg.scaled(gets), minGets))
	if _, err := r.get(ctx, db, random, 0, all, n/2); err != nil { // warms the caches
		return err
	}
	var spilled, other []time.Duration
	for range getRounds {
		took, err := r.get(ctx, db, random, before, all, n/getRounds)
		if err != nil {
			return err
		}
		spilled = append(spilled, took...)
		if took, err = r.get(ctx, db, random, 0, before, n/getRounds); err != nil {
			return err
		}
		other = append(other, took...)
	}
	for figure, took := range map[string][]time.Duration{"get_spilled": spilled, "get_other": other} {
		slices.Sort(took)
		r.setDuration(figure+"_p50", quantile(took, 0.5))
		r.setDuration(figure+"_p99", quantile(took, 0.99))
	}
	return nil
}

// get reads n random slots from first to last-1 and returns how long each took.
func (r *runner) get(ctx context.Context, db engine.Engine, random *rand.Rand, first, last int64, n int) ([]time.Duration, error) {
	took := make([]time.Duration, 0, n)
	var key, value []byte
	for range n {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		key = r.load.AppendKey(key[:0], first+random.Int64N(last-first))
		begin := time.Now()
		var err error
		if value, err = db.Get(key, value[:0]); err != nil {
			return nil, fmt.Errorf("key %s: %w", key, err)
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}

// quantile returns the value at that share of sorted values, 0 if there are none.
func quantile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

var errMissed = errors.New("the scan missed entries")

// scan measures how many entries a second a scan visits, and that it visits them all.
func (r *runner) scan(ctx context.Context, db engine.Engine, figure string, entries int64, scan func(visit func() bool) error) error {
	return r.step("scan", db, nil, func() error {
		var rates []*float64
		for range scans {
			rate, err := scanOnce(ctx, entries, scan)
			if err != nil {
				return err
			}
			rates = append(rates, &rate)
		}
		r.set(figure, *median(rates))
		return nil
	})
}

// scanOnce returns how many entries a second one scan visits.
func scanOnce(ctx context.Context, entries int64, scan func(visit func() bool) error) (rate float64, err error) {
	visited, begin := int64(0), time.Now()
	err = scan(func() bool {
		visited++
		return visited%1000 != 0 || ctx.Err() == nil
	})
	rate = float64(visited) / time.Since(begin).Seconds()
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, err
	case visited != entries:
		return 0, fmt.Errorf("%w: %d of %d visited", errMissed, visited, entries)
	}
	return rate, nil
}

// compacted waits until Badger has nothing to compact, whatever the spill holds.
func (r *runner) compacted(ctx context.Context, db engine.Engine) error {
	_, err := r.settle(ctx, "ready", spillIgnored{db}, min(readyFor, r.cfg.SettledFor))
	return err
}

// spillIgnored is an engine whose spill is to stay as it is.
type spillIgnored struct{ engine.Engine }

func (spillIgnored) Layer() *engine.Layer { return nil }
