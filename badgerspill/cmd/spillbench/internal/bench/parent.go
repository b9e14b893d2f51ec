package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/workspace"
)

// ErrFailed is returned by Run when a run went through and its figures must not count: an
// acknowledged key was missing, wrong or unreadable. The output says which.
var ErrFailed = errors.New("the run failed")

// StartFunc runs a job in another process and passes on its messages. It blocks until the process
// has ended; the error is that of the process, or of the context if that ended first.
type StartFunc func(ctx context.Context, job Job, message func(Message)) error

// Run validates cfg, runs the case, and writes progress to progress and the result, a table or one
// JSON value, to out. It blocks for minutes a pair at full scale. The error is a *flagcheck.Error
// for a bad configuration, ErrFailed, the context's when interrupted, or what went wrong.
func Run(ctx context.Context, c *Case, cfg Config, start StartFunc, out, progress io.Writer) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if base, _ := engine.Mended(cfg.Against); c.prepare != nil && base != engine.Badger && !(c.base && cfg.OwnBase) {
		return flagcheck.New("--against", fmt.Sprintf("%q", cfg.Against), "must be %s in case %s, which begins with a database of plain Badger's%s", engine.Badger, c.Name, c.unlessOwnBase())
	}
	work, err := workspace.Open(workspace.Options{
		Dir: cfg.Dir, Keep: cfg.Keep, Prefix: "spillbench-bench-", Need: c.need(cfg), Advice: "lower --scale or --duration",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, work.Close()) }()

	fmt.Fprintf(progress, "databases in %s\n", work.Dir())
	p := &parent{
		c: c, cfg: cfg, work: work, start: start, progress: progress,
		report: Report{OK: true, Case: c.Name, Config: cfg, figures: c.figures},
	}
	if err := p.prepare(ctx); err != nil {
		return err
	}
	for pair := range cfg.Pairs {
		if err := p.pair(ctx, pair); err != nil {
			return err
		}
		if !cfg.JSON && cfg.Pairs > 1 {
			if err := p.report.writePair(out, pair); err != nil {
				return err
			}
		}
	}
	p.report.sum()

	if cfg.JSON {
		err = p.report.writeJSON(out)
	} else {
		err = p.report.writeTable(out)
	}
	if err == nil && !p.report.OK {
		err = ErrFailed
	}
	return err
}

// parent runs the stages of a case.
type parent struct {
	c        *Case
	cfg      Config
	work     *workspace.Workspace
	start    StartFunc
	progress io.Writer
	report   Report

	bases map[string]string // of each engine, the directory of the database to copy, if any
}

func (p *parent) prepare(ctx context.Context) error {
	if p.c.prepare == nil {
		return nil
	}
	p.bases = map[string]string{}
	if p.c.base && p.cfg.OwnBase {
		for _, name := range p.cfg.engines() {
			var err error
			if p.bases[name], _, err = p.preparedBy(ctx, name, p.c.prepare.name+"-"+name); err != nil {
				return err
			}
		}
		return nil
	}
	name := p.c.prepare.name
	dir, res, err := p.preparedBy(ctx, engine.Badger, name)
	if err != nil {
		return err
	}
	p.report.Sustained = res.Figures["sustained"]
	if !p.c.base {
		return p.work.Remove(name)
	}
	for _, name := range p.cfg.engines() {
		p.bases[name] = dir
	}
	return nil
}

// preparedBy runs the preparation by an engine in a new directory.
func (p *parent) preparedBy(ctx context.Context, engine, name string) (dir string, res *StageResult, err error) {
	if dir, err = p.work.Make(name); err != nil {
		return "", nil, err
	}
	res, err = p.stage(ctx, *p.c.prepare, engine, dir)
	return dir, res, err
}

// pair runs each engine once, in turns who is first.
func (p *parent) pair(ctx context.Context, n int) error {
	engines := p.cfg.engines()
	if n%2 == 1 {
		slices.Reverse(engines)
	}
	var pair Pair
	for _, name := range engines {
		if len(p.c.stages(name)) == 0 {
			continue
		}
		fmt.Fprintf(p.progress, "pair %d of %d, %s\n", n+1, p.cfg.Pairs, name)
		res, err := p.run(ctx, n, name)
		if err != nil {
			return err
		}
		pair.Engines = append(pair.Engines, res)
	}
	pair.compare(p.c.figures, p.cfg.Against, p.cfg.Engine)
	p.report.Pairs = append(p.report.Pairs, pair)
	return nil
}

// run runs all stages of one engine.
func (p *parent) run(ctx context.Context, pair int, name string) (*EngineResult, error) {
	sub := fmt.Sprintf("pair-%d-%s", pair+1, name)
	dir, err := p.work.Make(sub)
	if err != nil {
		return nil, err
	}
	if base := p.bases[name]; base != "" {
		if err := workspace.CopyTree(ctx, base, dir); err != nil {
			return nil, err
		}
	}
	res := &EngineResult{Engine: name, Figures: map[string]float64{}}
	for _, s := range p.c.stages(name) {
		found, err := p.stage(ctx, s, name, dir)
		if err != nil {
			return nil, err
		}
		res.add(found)
	}
	if !res.Verified.OK() {
		p.report.OK = false
		p.work.Keep() // what is left of the database is the evidence
		res.Evidence = dir
		return res, nil
	}
	if p.cfg.Keep {
		return res, nil
	}
	return res, p.work.Remove(sub)
}

func (p *parent) stage(ctx context.Context, s stage, name, dir string) (*StageResult, error) {
	job := Job{Case: p.c.Name, Stage: s.name, Engine: name, Dir: dir, Config: p.cfg, Sustained: p.report.Sustained}
	var res *StageResult
	failure := ""
	err := p.start(ctx, job, func(m Message) {
		switch {
		case m.Progress != nil:
			fmt.Fprintln(p.progress, m.Progress.line(name))
		case m.Result != nil:
			res = m.Result
		case m.Error != "":
			failure = m.Error
		}
	})
	if s.killed && res != nil && failure == "" {
		if died := new(exec.ExitError); errors.As(err, &died) {
			return res, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case failure != "":
		return nil, errors.New(failure)
	case err != nil:
		return nil, fmt.Errorf("the process that runs %s: %w", name, err)
	case res == nil:
		return nil, fmt.Errorf("the process that runs %s ended without a result", name)
	case s.killed:
		return nil, fmt.Errorf("the process that runs %s was to be killed, and ended by itself", name)
	}
	return res, nil
}

// worth tells how much a run of the case is in words, for the first line of the table.
func (cfg Config) worth() string {
	pairs := "1 pair"
	if cfg.Pairs > 1 {
		pairs = text.Count(int64(cfg.Pairs)) + " pairs"
	}
	return fmt.Sprintf("%s at scale %v", pairs, cfg.Scale)
}
