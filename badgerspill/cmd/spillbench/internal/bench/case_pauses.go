package bench

import (
	"context"
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/closedloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/workspace"
)

const (
	pausesEvery = 30 * time.Second // one burst and its pause, as a rule
	pausesIdle  = 10 * time.Minute
	pausesBurst = 200_000
)

// pausesCase is what bursts and pauses over the same keys leave on disk: what is out of date in a
// base level is a debt.
func pausesCase() *Case {
	return &Case{
		Name: "pauses",
		Short: "bursts of 200,000 writes over a million keys, with pauses of 20 s, for --duration, then ten minutes of nothing:\n" +
			"disk space, the spill included, and what it costs",
		figures: []Figure{
			{"peak", "on disk at most", Bytes, ratioAtMost(2)},
			{"idle", "after ten idle minutes", Bytes, ratioAtMost(1.3)},
			{"disk", "on disk when settled", Bytes, nil},
			{"cpu", "CPU", Seconds, nil},
			{"written", "bytes written", Bytes, nil},
			{"longest", "longest commit", Seconds, nil},
			{"bursts", "bursts", Count, nil},
		},
		stages: func(string) []stage { return []stage{{name: "pauses", run: pauses}} },
		entries: func(cfg Config) int64 {
			return cfg.preloaded() + 4*cfg.scaled(pausesBurst) // what was overwritten goes in time
		},
	}
}

func pauses(ctx context.Context, r *runner) error {
	db, err := r.filled(ctx)
	if err != nil {
		return err
	}
	keys := r.cfg.preloaded()
	peak := watchPeak(func() int64 { return workspace.Usage(r.job.Dir) })
	defer peak()
	var waits waitLog
	var last *closedloop.Run
	bursts, p := int64(0), closedloop.Pattern{Seed: r.cfg.Seed, Keys: keys}
	size := r.cfg.scaled(pausesBurst)
	err = r.costUntilSettled(ctx, db, func() error {
		for begin := time.Now(); time.Since(begin) < r.cfg.Duration; bursts++ {
			first := bursts * size
			last = closedloop.NewRun(closedloop.Config{
				Workload: r.load, Writes: size, Writers: writers, Record: true,
				Key:   func(i int64) int64 { return p.Slot(first + i) },
				Value: func(i int64) int64 { return keys + first + i },
			})
			if _, err := r.drive(ctx, db, "burst", last, waits.around(db.Writer)); err != nil {
				return err
			}
			if err := r.pause(ctx, "pause", db, r.cfg.scaledTime(pausesEvery*2/3)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.pause(ctx, "idle", db, r.cfg.scaledTime(pausesIdle)); err != nil {
		return err
	}
	r.set("idle", float64(workspace.Usage(r.job.Dir)))
	r.set("peak", float64(peak()))
	r.set("bursts", float64(bursts))
	longest, _ := waits.sum()
	r.setDuration("longest", longest)
	return r.reopened(db, func(db engine.Engine) error {
		return r.verify(func() (openloop.Verification, error) { return last.Verify(ctx, db, 0, keys) })
	})
}

func (r *runner) pause(ctx context.Context, step string, db engine.Engine, d time.Duration) error {
	return r.step(step, db, nil, func() error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// watchPeak looks at something once a second until stop is called, which returns the most.
func watchPeak(look func() int64) (stop func() int64) {
	quit, most := make(chan struct{}), make(chan int64, 1)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		peak := look()
		for going := true; going; peak = max(peak, look()) {
			select {
			case <-tick.C:
			case <-quit:
				going = false
			}
		}
		most <- peak
	}()
	return sync.OnceValue(func() int64 { close(quit); return <-most })
}
