package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/closedloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

const (
	rmwFor     = 10 * time.Second
	rmwWriters = 16
	rmwKeys    = 100
)

// rmwCase is what transactions get done that read what others write.
func rmwCase() *Case {
	return &Case{
		Name:  "rmw",
		Short: "16 writers that read and increment 100 counters for 10 s, again when they conflict",
		figures: []Figure{
			{"committed", "increments committed", PerSecond, ratioAtLeast(1.5)},
			{"conflicts", "conflicts a commit", Ratio, ratioAtMost(1)},
			{"p50", "increment p50, conflicts included", Seconds, nil},
			{"p99", "increment p99, conflicts included", Seconds, nil},
			{"spilled", "commits spilled", Count, nil},
		},
		stages:  func(string) []stage { return []stage{{name: "increment", run: increment}} },
		entries: func(cfg Config) int64 { return cfg.writtenIn(rmwFor) / 8 }, // they are small
	}
}

func increment(ctx context.Context, r *runner) error {
	db, err := r.open(engine.Options{})
	if err != nil {
		return err
	}
	counters := closedloop.Pattern{Seed: r.cfg.Seed, Keys: rmwKeys}
	loop := closedloop.NewRun(closedloop.Config{
		// the values have no meaning
		Workload: openloop.NewWorkload(r.cfg.Seed, openloop.MinValueSize),
		Key:      counters.Slot,
		Value:    counters.Slot,
		For:      r.cfg.scaledTime(rmwFor),
		Writers:  rmwWriters,
	})
	var conflicts atomic.Int64
	var calls callLog
	committed, err := r.drive(ctx, db, "load", loop, calls.around(func() func(key, _ []byte) error {
		return func(key, _ []byte) error {
			n, err := db.Increment(key)
			conflicts.Add(n)
			return err
		}
	}))
	if err != nil {
		return err
	}
	took := calls.sorted()
	r.set("committed", committed)
	r.set("conflicts", float64(conflicts.Load())/float64(max(loop.Done(), 1)))
	r.setDuration("p50", quantile(took, 0.5))
	r.setDuration("p99", quantile(took, 0.99))
	if l := db.Layer(); l != nil {
		r.set("spilled", float64(l.CommitsSpilled))
	}
	if err := r.layerStats(db); err != nil {
		return err
	}
	var want [rmwKeys]uint64
	for i := range loop.Done() {
		want[counters.Slot(i)]++
	}
	return r.reopened(db, func(db engine.Engine) error {
		return r.verify(func() (openloop.Verification, error) { return r.counted(db, want[:]) })
	})
}

// counted checks that every counter has counted each increment once.
func (r *runner) counted(db engine.Engine, want []uint64) (v openloop.Verification, err error) {
	for slot, want := range want {
		key := r.load.AppendKey(nil, int64(slot))
		value, err := db.Get(key, nil)
		v.Checked++
		v.PointReads++
		switch {
		case errors.Is(err, openloop.ErrNotFound) && want > 0:
			v.Missing++
			v.Examples = append(v.Examples, fmt.Sprintf("key %s is missing", key))
		case err != nil && want > 0:
			v.Unreadable++
			v.Examples = append(v.Examples, fmt.Sprintf("key %s cannot be read: %v", key, err))
		case engine.Counter(value) != want:
			v.Wrong++
			v.Examples = append(v.Examples, fmt.Sprintf("key %s counts %d, %d were acknowledged", key, engine.Counter(value), want))
		}
	}
	return v, nil
}
