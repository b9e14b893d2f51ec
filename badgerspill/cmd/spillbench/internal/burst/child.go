package burst

import (
	"context"
	"fmt"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/settle"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/workspace"
)

const (
	progressEvery = time.Second
	// sampleEvery is the resolution of SpillTimes, and a tenth of that of Second.Layer.
	sampleEvery = 100 * time.Millisecond
	// drainLimit ends a replay that does not come to an end.
	drainLimit = 5 * time.Minute

	// A base is ready when nothing has changed for so long.
	filledFor = time.Second
	fillPoll  = 50 * time.Millisecond
	// settleLimit ends a wait for a base that does not come to rest.
	settleLimit = 15 * time.Minute
)

// Child runs one engine through the load and its verification, and emits what it sees; emit is not
// called concurrently. It blocks until all is done or ctx has ended. After an error the engine may
// be left open, and the process should end.
func Child(ctx context.Context, job Job, open OpenFunc, emit func(Message)) error {
	c := newChild(job, emit, true)
	if job.Fill {
		return c.fill(ctx, open)
	}
	return c.run(ctx, open)
}

type child struct {
	job  Job
	loop *openloop.Run
	emit func(Message)
	res  *EngineResult

	samples []sample
	replays int64 // that the last sample knew of
	outlook outlook
	meter   *meter
}

func newChild(job Job, emit func(Message), precise bool) *child {
	cfg := job.Config
	return &child{
		job: job,
		loop: openloop.NewRun(openloop.Config{
			Schedule: cfg.schedule(),
			Workload: cfg.workload(),
			Writers:  cfg.Writers,
			Reads:    cfg.Reads,
			Backlog:  cfg.Backlog,
			Base:     cfg.Base,
			Precise:  precise,
		}),
		emit:  emit,
		res:   &EngineResult{Engine: job.Engine},
		meter: newMeter(cfg.schedule(), cfg.phases()),
	}
}

func (c *child) run(ctx context.Context, open OpenFunc) error {
	begin := time.Now()
	job, res := c.job, c.res
	db, err := open(job.Engine, job.Dir, engine.Options{SyncWrites: job.Config.Sync, Superflag: job.Config.Options})
	if err != nil {
		return fmt.Errorf("open %s: %w", job.Engine, err)
	}
	done, err := c.serveLive(db)
	if err != nil {
		return err
	}
	defer done()
	if err := c.load(ctx, db); err != nil {
		return fmt.Errorf("load %s: %w", job.Engine, err)
	}
	if err := c.replay(ctx, db); err != nil {
		return fmt.Errorf("replay %s: %w", job.Engine, err)
	}
	res.Layer = db.Layer()
	c.progress(Progress{Stage: stageClose})
	if err := db.Close(); err != nil {
		return fmt.Errorf("close %s: %w", job.Engine, err)
	}
	res.Work = c.meter.finish(res.Layer)

	if err := c.verify(ctx, open); err != nil {
		return err
	}
	res.Phases, res.Reads = c.loop.Results(), c.loop.ReadResults()
	res.LastAnswer = c.loop.LastAnswer()
	res.Seconds = seconds(c.loop.Seconds(busyUntil(c.samples)), c.samples)
	if err := c.loop.FirstError(); err != nil {
		res.WriteError = err.Error()
	}
	if err := c.loop.FirstReadError(); err != nil {
		res.ReadError = err.Error()
	}
	res.Took = time.Since(begin)
	c.emit(Message{Result: res})
	return nil
}

// fill makes a settled database of Config.Base entries, whose slots are behind those of the load.
func (c *child) fill(ctx context.Context, open OpenFunc) error {
	job := c.job
	c.loop.Begin()
	// Close makes a table of the memtable, with which level 0 may be due: so it is opened again.
	for _, entries := range []int64{job.Config.Base, 0} {
		db, err := open(job.Engine, job.Dir, engine.Options{Superflag: job.Config.Options})
		if err != nil {
			return fmt.Errorf("open %s: %w", job.Engine, err)
		}
		err = c.whileWorking(stageFill, nil, func() error {
			if err := engine.Fill(ctx, db, job.Config.workload(), job.Config.schedule().Total(), entries); err != nil {
				return err
			}
			return c.settled(ctx, db)
		})
		if err != nil {
			return fmt.Errorf("fill %s: %w", job.Engine, err)
		}
		if err := db.Close(); err != nil {
			return fmt.Errorf("close %s: %w", job.Engine, err)
		}
	}
	c.emit(Message{Result: c.res})
	return nil
}

func (c *child) settled(ctx context.Context, db Engine) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	look := func() (settle.State, error) { return engine.Look(c.job.Dir, db) }
	_, err := settle.Wait(ctx, look, filledFor, fillPoll)
	return err
}

func (c *child) load(ctx context.Context, db Engine) error {
	c.meter.begin()
	c.loop.ReadFrom(db)
	c.loop.Begin()
	done := make(chan error, 1)
	go func() { done <- c.loop.Do(ctx, db.Writer) }()

	report := time.NewTicker(progressEvery)
	defer report.Stop()
	sample := time.NewTicker(sampleEvery)
	defer sample.Stop()
	phase := time.NewTimer(c.meter.next())
	defer phase.Stop()
	for {
		select {
		case err := <-done:
			c.sample(db)
			c.meter.endLoad(db.Layer())
			return err
		case <-phase.C:
			c.meter.endPhase(db.Layer())
			phase.Reset(c.meter.next() - c.loop.Elapsed())
		case <-sample.C:
			c.sample(db)
			c.meter.look()
		case <-report.C:
			tick := c.loop.Tick()
			c.progress(Progress{Stage: stageLoad, Tick: &tick, Layer: db.Layer()})
		}
	}
}

// replay waits for the spill to be emptied by the layer alone, and when that takes too long asks
// for it.
func (c *child) replay(ctx context.Context, db Engine) error {
	limit := c.job.Config.schedule().End() + c.job.Config.Backlog
	report := time.NewTicker(progressEvery)
	defer report.Stop()
	sample := time.NewTicker(sampleEvery)
	defer sample.Stop()
	for c.sample(db) {
		if c.loop.Elapsed() >= limit {
			return c.drain(ctx, db)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-report.C:
			c.progress(Progress{Stage: stageReplay, Layer: db.Layer()})
		case <-sample.C:
		}
	}
	return ctx.Err()
}

func (c *child) drain(ctx context.Context, db Engine) error {
	c.res.Spill.Drained = true
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	err := c.whileWorking(stageReplay, db, func() error { return db.Drain(ctx) })
	c.sample(db)
	return err
}

func (c *child) verify(ctx context.Context, open OpenFunc) error {
	db, err := open(c.job.Engine, c.job.Dir, engine.Options{Checking: true, Superflag: c.job.Config.Options})
	if err != nil {
		return fmt.Errorf("reopen %s: %w", c.job.Engine, err)
	}
	err = c.whileWorking(stageVerify, nil, func() (err error) {
		c.res.Verified, err = c.loop.Verify(ctx, db)
		return err
	})
	if err != nil {
		return fmt.Errorf("verify %s: %w", c.job.Engine, err)
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("close %s after verification: %w", c.job.Engine, err)
	}
	return nil
}

// whileWorking reports the stage once a second until work is done. db may be nil.
func (c *child) whileWorking(stage string, db Engine, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	report := time.NewTicker(progressEvery)
	defer report.Stop()
	sample := time.NewTicker(sampleEvery)
	defer sample.Stop()
	for {
		p := Progress{Stage: stage}
		if db != nil {
			p.Layer = db.Layer()
		}
		c.progress(p)
		for reported := false; !reported; {
			select {
			case err := <-done:
				return err
			case <-sample.C:
				if db != nil {
					c.sample(db)
				}
			case <-report.C:
				reported = true
			}
		}
	}
}

func (c *child) progress(p Progress) {
	p.Engine, p.At = c.job.Engine, c.loop.Elapsed()
	if p.Stage == stageReplay && p.Layer != nil {
		p.Left = c.outlook.at(p.At, p.Layer.BytesPending)
	}
	c.res.PeakDisk = max(c.res.PeakDisk, workspace.Usage(c.job.Dir))
	c.emit(Message{Progress: &p})
}

// sample notes what the layer is doing and reports whether the spill is in use.
func (c *child) sample(db Engine) bool {
	layer := db.Layer()
	if layer == nil {
		return false
	}
	if c.res.Spill == nil {
		c.res.Spill = &SpillTimes{}
	}
	s, now := c.res.Spill, c.loop.Elapsed()
	burst := c.job.Config.schedule().EndOf(PhaseBurst)
	c.samples = append(c.samples, sample{now, layer})
	pending := layer.SpillPending > 0
	if pending {
		if !s.Used {
			s.Used, s.First = true, now
		}
		s.Empty = 0
	}
	if s.Used && s.Empty == 0 && layer.Replays > c.replays {
		s.By, s.Begun, s.BegunAfterBurst = layer.ReplayBy, now, now-burst
	}
	c.replays = layer.Replays
	if !pending && s.Used && s.Empty == 0 {
		s.Empty, s.AfterBurst = now, now-burst
	}
	return pending
}
