package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/process"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/settle"
)

const (
	progressEvery = time.Second

	settlePoll  = 50 * time.Millisecond
	settleLimit = 15 * time.Minute
	// readyFor is at most how long a database is looked at that was settled before it was closed.
	readyFor = 200 * time.Millisecond
)

// ChildCommand is the hidden verb that Process starts the executable with.
const ChildCommand = "bench-child"

// Process is a StartFunc that starts this executable again, or that of Config.Mended.
func Process(ctx context.Context, job Job, message func(Message)) error {
	executable := ""
	if _, mended := engine.Mended(job.Engine); mended {
		executable = job.Config.Mended
	}
	return process.Start(ctx, executable, ChildCommand, job, message)
}

// ChildMain is what the process started by Process does: a job from in, messages to out. It ends
// with in or ctx, or kills its process if that is how the stage ends.
func ChildMain(ctx context.Context, in io.Reader, out io.Writer) error {
	work := func(ctx context.Context, job Job, emit func(Message)) error {
		c, err := Find(job.Case)
		if err != nil {
			return err
		}
		s, err := c.stage(job.Engine, job.Stage)
		if err != nil {
			return err
		}
		if err := newRunner(job, c, emit).do(ctx, s); err != nil || !s.killed {
			return err
		}
		return kill()
	}
	return process.Serve(ctx, in, out, work, func(err error) Message { return Message{Error: err.Error()} })
}

// kill ends this process as nothing can prevent.
func kill() error {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	if err := self.Kill(); err != nil {
		return err
	}
	select {} // for the moment until it is dead
}

// runner is what a stage works with.
type runner struct {
	job  Job
	cfg  Config
	load *openloop.Workload
	emit func(Message)

	openEngine func(name, dir string, opt engine.Options) (engine.Engine, error)
	precise    bool // the clock is real

	begin time.Time
	res   StageResult
}

func newRunner(job Job, c *Case, emit func(Message)) *runner {
	load := job.Config.workload()
	if c.inOrder {
		load = load.InOrder()
	}
	return &runner{
		job: job, cfg: job.Config, load: load, emit: emit,
		openEngine: engine.Open, precise: true,
		begin: time.Now(), res: StageResult{Figures: map[string]float64{}},
	}
}

func (r *runner) do(ctx context.Context, s *stage) error {
	if err := s.run(ctx, r); err != nil {
		return fmt.Errorf("%s, %s of %s: %w", r.job.Case, s.name, r.job.Engine, err)
	}
	r.emit(Message{Result: &r.res})
	return nil
}

// layered tells whether the engine has a spill.
func (r *runner) layered() bool { return layered(r.job.Engine) }

func layered(name string) bool {
	base, _ := engine.Mended(name)
	return base == engine.Badgerspill
}

func (r *runner) set(figure string, value float64) { r.res.Figures[figure] = value }

func (r *runner) setDuration(figure string, d time.Duration) { r.set(figure, d.Seconds()) }

func (r *runner) open(opt engine.Options) (engine.Engine, error) {
	opt.Superflag = r.cfg.Options
	db, err := r.openEngine(r.job.Engine, r.job.Dir, opt)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return db, nil
}

// step does work and reports about it once a second. It is named in errors. db and status may be
// nil.
func (r *runner) step(name string, db engine.Engine, status func() string, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	report := time.NewTicker(progressEvery)
	defer report.Stop()
	for {
		p := Progress{Step: name, At: time.Since(r.begin)}
		if status != nil {
			p.Text = status()
		}
		if db != nil {
			p.Layer = db.Layer()
		}
		r.emit(Message{Progress: &p})
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		case <-report.C:
		}
	}
}

// ready waits until an opened database has nothing to do.
func (r *runner) ready(ctx context.Context, db engine.Engine) error {
	_, err := r.settle(ctx, "ready", db, min(readyFor, r.cfg.SettledFor))
	return err
}

// settled waits until everything is in Badger and nothing is left to compact, and returns since
// when.
func (r *runner) settled(ctx context.Context, db engine.Engine) (time.Time, error) {
	return r.settle(ctx, "settle", db, r.cfg.SettledFor)
}

func (r *runner) settle(ctx context.Context, step string, db engine.Engine, window time.Duration) (since time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	look := func() (settle.State, error) { return engine.Look(r.job.Dir, db) }
	status := func() string {
		state, err := look()
		if err != nil {
			return err.Error()
		}
		return state.Busy()
	}
	err = r.step(step, db, status, func() error {
		since, err = settle.Wait(ctx, look, window, settlePoll)
		return err
	})
	return since, err
}

func (r *runner) close(db engine.Engine) error { return r.step("close", nil, nil, db.Close) }

// layerStats keeps what the layer counts.
func (r *runner) layerStats(db engine.Engine) (err error) {
	if stats := db.LayerStats(); stats != nil {
		r.res.LayerStats, err = json.Marshal(stats)
	}
	return err
}

// setCounted sets a figure to what the layer's statistics, kept before, have under a name. A layer
// that does not count it has no such figure.
func (r *runner) setCounted(figure, name string) error {
	var stats map[string]json.RawMessage
	if len(r.res.LayerStats) > 0 {
		if err := json.Unmarshal(r.res.LayerStats, &stats); err != nil {
			return err
		}
	}
	text, found := stats[name]
	if !found {
		return nil
	}
	var value float64
	if err := json.Unmarshal(text, &value); err != nil {
		return fmt.Errorf("%s of the layer: %w", name, err)
	}
	r.set(figure, value)
	return nil
}

// verify adds a check of what the database holds to the result.
func (r *runner) verify(check func() (openloop.Verification, error)) error {
	return r.step("verify", nil, nil, func() error {
		found, err := check()
		addTo(&r.res.Verified, found)
		return err
	})
}

// reopened closes db and lets check look at what a fresh Open of it finds.
func (r *runner) reopened(db engine.Engine, check func(db engine.Engine) error) error {
	if err := r.close(db); err != nil {
		return err
	}
	db, err := r.open(engine.Options{Checking: true})
	if err != nil {
		return err
	}
	return errors.Join(check(db), db.Close())
}

// holds checks that the database holds slots 0 to slots-1 with their own values.
func (r *runner) holds(ctx context.Context, db engine.Engine, slots int64) error {
	return r.verify(func() (openloop.Verification, error) {
		return r.load.Verify(ctx, db, upTo(slots), nil)
	})
}

// upTo yields 0 to n-1.
func upTo(n int64) func(yield func(int64) bool) {
	return func(yield func(int64) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}
