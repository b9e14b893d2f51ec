package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/closedloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

const (
	overloadCapacity = 512 << 20
	// minCapacity holds a few segments however small the scale.
	minCapacity = 4 << 20
	// measured is how long plain Badger is looked at to find what it sustains; it swings within
	// seconds.
	measured = time.Minute
	// longWait is what no writer should wait at a time.
	longWait = 250 * time.Millisecond
	// lastTicks, of a second each, are the end of the run.
	lastTicks = 10
	// assumedRate is above what two cores sustain; how much disk the case asks for depends on it.
	assumedRate = 40_000
)

// overloadCase is what writers see who never let up.
func overloadCase() *Case {
	return &Case{
		Name:  "overload",
		Short: "--duration at twice the rate that plain Badger sustains, with a SpillCapacity of 512 MiB",
		figures: []Figure{
			{"longest", "longest wait of a commit", Seconds, atMost(longWait.Seconds())},
			{"long", "commits that waited over 250 ms", Count, nil},
			{"accepted", "commits accepted", PerSecond, ratioAtLeast(1)},
			{"last", "commits accepted, last 10 s", PerSecond, nil},
			{"offered", "commits offered", PerSecond, nil},
			{"blocked", "commits blocked", Count, nil},
			{"slowed", "commits slowed", Count, nil},
			{"spilled", "commits spilled", Count, nil},
		},
		prepare: &stage{name: "sustained", run: measureSustained},
		stages:  func(string) []stage { return []stage{{name: "overload", run: overload}} },
		entries: func(cfg Config) int64 {
			rate := cfg.Rate
			if rate == 0 {
				rate = assumedRate
			}
			return rate * int64(cfg.Duration/time.Second)
		},
	}
}

// measureSustained finds how many writes a second Badger takes from writers that wait for their
// answers.
func measureSustained(ctx context.Context, r *runner) error {
	if r.cfg.Rate > 0 {
		r.set("sustained", float64(r.cfg.Rate))
		return nil
	}
	db, err := r.open(engine.Options{})
	if err != nil {
		return err
	}
	cfg := closedloop.Unique(r.load, 0, 0, writers)
	cfg.For = min(measured, r.cfg.Duration)
	sustained, err := r.drive(ctx, db, "measure", closedloop.NewRun(cfg), db.Writer)
	if err != nil {
		return err
	}
	r.set("sustained", sustained)
	return r.close(db)
}

func overload(ctx context.Context, r *runner) error {
	load := r.cfg.offered(r.job.Sustained)
	if n := load.Writes(); n == 0 || n > maxOffered {
		return fmt.Errorf("at twice %s for %v there are %d writes, which must be between 1 and %d: change --duration",
			text.Rate(r.job.Sustained), r.cfg.Duration, n, maxOffered)
	}
	db, err := r.open(engine.Options{SpillCapacity: max(r.cfg.scaled(overloadCapacity), minCapacity)})
	if err != nil {
		return err
	}
	run := openloop.NewRun(openloop.Config{
		Schedule: openloop.NewSchedule(load),
		Workload: r.load,
		Writers:  writers,
		Precise:  r.precise,
	})
	var waits waitLog
	run.Begin()
	last, err := r.offer(ctx, db, run, waits.around(db.Writer))
	if err != nil {
		return err
	}
	if err := run.FirstError(); err != nil {
		return err
	}
	res := run.Results()[0]
	longest, long := waits.sum()
	r.setDuration("longest", longest)
	r.set("long", float64(long))
	r.set("accepted", float64(res.Acked)/r.cfg.Duration.Seconds())
	r.set("offered", res.OfferedRate)
	r.set("last", last)
	if l := db.Layer(); l != nil {
		r.set("blocked", float64(l.CommitsBlocked))
		r.set("spilled", float64(l.CommitsSpilled))
	}
	if err := r.layerStats(db); err != nil {
		return err
	}
	if err := r.setCounted("slowed", "CommitsSlowed"); err != nil {
		return err
	}
	return r.reopened(db, func(db engine.Engine) error {
		return r.verify(func() (openloop.Verification, error) { return run.Verify(ctx, db) })
	})
}

// offer runs the load, and returns how many writes a second were accepted at its end.
func (r *runner) offer(ctx context.Context, db engine.Engine, run *openloop.Run, newWriter func() func(key, value []byte) error,
) (last float64, err error) {
	done := make(chan error, 1)
	go func() { done <- run.Do(ctx, newWriter) }()
	second := time.NewTicker(progressEvery)
	defer second.Stop()
	var accepted []float64
	for {
		select {
		case err := <-done:
			return mean(accepted[max(0, len(accepted)-lastTicks):]), err
		case <-second.C:
			tick := run.Tick()
			if run.Elapsed() <= r.cfg.Duration+progressEvery/2 {
				accepted = append(accepted, tick.Achieved)
			}
			r.emit(Message{Progress: &Progress{
				Step: "load", At: time.Since(r.begin), Layer: db.Layer(),
				Text: fmt.Sprintf("offered %s  accepted %s", text.Rate(tick.Offered), text.Rate(tick.Achieved)),
			}})
		}
	}
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(max(len(values), 1))
}
