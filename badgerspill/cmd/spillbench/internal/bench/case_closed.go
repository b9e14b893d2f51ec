package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/closedloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

const closedFor = time.Minute

// closedCase is what an engine takes of writers that each wait for their answers, and what it
// costs.
func closedCase(writers int) *Case {
	return &Case{
		Name: fmt.Sprintf("closed%d", writers),
		Short: fmt.Sprintf("%d writers for a minute, each waiting for its answer, then until settled; what is wanted of the\n"+
			"worst second is a share of badgerspill's own median one", writers),
		figures: []Figure{
			{"accepted", "commits", PerSecond, ratioAtLeast(1.5)},
			{"worst_by_median", "worst second by the median one", Ratio, atLeast(0.1)},
			{"cpu_entry", "CPU an entry", Seconds, ratioAtMost(0.8)},
			{"written_entry", "bytes written an entry", Bytes, ratioAtMost(0.8)},
			{"worst", "commits in the worst second", Count, nil},
			{"median", "commits in the median second", Count, nil},
			{"longest", "longest commit", Seconds, nil},
			{"settled", "time until settled", Seconds, nil},
			{"disk", "on disk when settled", Bytes, nil},
			{"spilled", "commits spilled", Count, nil},
			{"replayed", "entries replayed", Count, nil},
		},
		stages: func(string) []stage {
			return []stage{{name: "load", run: func(ctx context.Context, r *runner) error { return r.closed(ctx, writers) }}}
		},
		entries: func(cfg Config) int64 { return cfg.writtenIn(closedFor) },
	}
}

func (r *runner) closed(ctx context.Context, writers int) error {
	db, err := r.open(engine.Options{})
	if err != nil {
		return err
	}
	cfg := closedloop.Unique(r.load, 0, 0, writers)
	cfg.For = r.cfg.scaledTime(closedFor)
	loop := closedloop.NewRun(cfg)
	var waits waitLog
	seconds := newSecondLog(cfg.For)
	if err := r.costUntilSettled(ctx, db, func() error {
		accepted, err := r.drive(ctx, db, "load", loop, seconds.around(waits.around(db.Writer)))
		r.set("accepted", accepted)
		return err
	}); err != nil {
		return err
	}
	entries := float64(loop.Done())
	r.set("cpu_entry", r.res.Figures["cpu"]/entries)
	r.set("written_entry", r.res.Figures["written"]/entries)
	worst, middle := seconds.worst()
	r.set("worst", worst)
	r.set("median", middle)
	r.set("worst_by_median", worst/max(middle, 1))
	longest, _ := waits.sum()
	r.setDuration("longest", longest)
	return r.reopened(db, func(db engine.Engine) error { return r.holds(ctx, db, loop.Done()) })
}
