package burst

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/workspace"
)

// ErrFailed is returned by Run when a run went through and must not count as a success: an
// acknowledged key was missing, wrong or unreadable, during the load or after it, or a write
// failed. The output says which.
var ErrFailed = errors.New("the run failed")

// StartFunc runs Child for the job in another process and passes on its messages. It blocks until
// the process has ended; the error is that of the child, or of the context if that ended first.
type StartFunc func(ctx context.Context, job Job, message func(Message)) error

// Run validates cfg, runs every engine that it names one after the other, and writes progress to
// progress, the result, a table or one JSON value, to out, and the files that cfg names. It blocks
// for about as long as the phases last, as many times as engines run, and until bases are made. The
// error is a *flagcheck.Error for a bad configuration, ErrFailed, the context's when interrupted,
// or what went wrong.
func Run(ctx context.Context, cfg Config, start StartFunc, out, progress io.Writer) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	shown, err := openStand(cfg, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shown.close()) }()
	work, err := workspace.Open(cfg.workspace())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, work.Close()) }()

	files, err := openOutputs(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.close()) }()

	fmt.Fprintf(progress, "databases in %s, up to %s\n", work.Dir(), worstCaseText(cfg))
	report := Report{Config: cfg, OK: true, Build: ThisBuild()}
	bases, err := makeBases(ctx, cfg, work, start, shown, progress)
	if err != nil {
		return err
	}
	for _, turn := range cfg.turns() {
		res, err := runEngine(ctx, cfg, work, turn, bases[turn.engine], start, shown, progress)
		if err != nil {
			return err
		}
		report.Engines = append(report.Engines, res)
		if !res.Verified.OK() || res.failedReads() > 0 {
			report.OK = false
			work.Keep() // what is left of the database is the evidence
			report.Evidence = work.Dir()
			continue
		}
		if res.failed() > 0 {
			report.OK = false
		}
		if err := work.Done(turn.name()); err != nil {
			return err
		}
	}
	report.compare()

	if cfg.JSON {
		err = report.writeJSON(out)
	} else {
		err = report.writeTable(out)
	}
	// A result that could not be printed is no reason to lose the files.
	if err := errors.Join(err, files.write(&report, progress)); err != nil {
		return err
	}
	if !report.OK {
		return ErrFailed
	}
	return nil
}

// makeBases returns for each engine the directory of the database that its runs begin with; none
// without Config.Base.
func makeBases(ctx context.Context, cfg Config, work *workspace.Workspace, start StartFunc, shown *stand, progress io.Writer,
) (bases map[string]string, err error) {
	bases = map[string]string{}
	for _, engine := range cfg.engines() {
		if cfg.Base == 0 {
			break
		}
		if bases[engine], err = work.Make("base-" + engine); err != nil {
			return nil, err
		}
		if _, err := runJob(ctx, Job{Engine: engine, Dir: bases[engine], Config: cfg, Fill: true}, start, shown, progress); err != nil {
			return nil, err
		}
	}
	return bases, nil
}

func runEngine(ctx context.Context, cfg Config, work *workspace.Workspace, turn turn, base string, start StartFunc,
	shown *stand, progress io.Writer,
) (*EngineResult, error) {
	dir, err := work.Make(turn.name())
	if err != nil {
		return nil, err
	}
	if base != "" {
		if err := workspace.CopyTree(ctx, base, dir); err != nil {
			return nil, err
		}
	}
	defer shown.ended()
	res, err := runJob(ctx, Job{Engine: turn.engine, Dir: dir, Config: cfg, Live: shown != nil}, start, shown, progress)
	if err != nil {
		return nil, err
	}
	res.Run = turn.run
	return res, nil
}

// runJob runs a job in another process, and passes on what it says.
func runJob(ctx context.Context, job Job, start StartFunc, shown *stand, progress io.Writer) (*EngineResult, error) {
	engine := job.Engine
	var res *EngineResult
	failure := ""
	err := start(ctx, job, func(m Message) {
		shown.note(engine, m)
		switch {
		case m.Progress != nil:
			fmt.Fprintln(progress, strings.TrimRight(m.Progress.line(), " "))
		case m.Result != nil:
			res = m.Result
		case m.Error != "":
			failure = m.Error
		}
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case failure != "":
		return nil, errors.New(failure)
	case err != nil:
		return nil, fmt.Errorf("the process that runs %s: %w", engine, err)
	case res == nil:
		return nil, fmt.Errorf("the process that runs %s ended without a result", engine)
	}
	return res, nil
}

// worstCaseText is the time until the load of every engine is cut off; bases, opening, closing and
// checking come on top.
func worstCaseText(cfg Config) string {
	one := cfg.schedule().End() + cfg.Backlog
	times := ""
	if cfg.Pairs > 1 {
		times = fmt.Sprintf(", %d times", cfg.Pairs)
	}
	return fmt.Sprintf("%v of load and backlog for each of %d engines%s, then verification",
		one.Round(time.Millisecond), len(cfg.engines()), times)
}
