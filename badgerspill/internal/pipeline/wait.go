package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/wbm"
)

// Wait is how long a commit may wait before it has its place in the commit order. Nothing of it is
// written until then. From there on its outcome must become known, so it is waited for: for an
// append to the spill, or for Badger's answer and, if that does not come within StallThreshold, the
// hedge.
type Wait struct {
	p        *Pipeline
	ctx      context.Context // the caller's; nil is none
	timeout  time.Duration   // BlockTimeout: 0 is no bound, below 0 is not at all
	deadline int64           // if timeout is above 0, in nanoseconds of Pipeline.now
}

func (p *Pipeline) newWait(ctx context.Context, timeout time.Duration) Wait {
	w := Wait{p: p, ctx: ctx, timeout: timeout}
	if w.timeout > 0 {
		w.deadline = p.now() + int64(w.timeout)
	}
	return w
}

// Left returns what is left of BlockTimeout, in its terms: 0 is no bound, below 0 is nothing.
func (w *Wait) Left() time.Duration {
	if w.timeout <= 0 {
		return w.timeout
	}
	if left := w.deadline - w.p.now(); left > 0 {
		return time.Duration(left)
	}
	return -1
}

// GivenUp returns the error of a commit whose context has ended, nil if it has not.
func (w *Wait) GivenUp() error {
	if w.ctx == nil || w.ctx.Err() == nil {
		return nil
	}
	return GivenUp(w.ctx)
}

// Ended returns why the commit must not wait any longer for what, nil if it may.
func (w *Wait) Ended(what string) error {
	if err := w.GivenUp(); err != nil {
		return err
	}
	if w.Left() < 0 {
		return w.blocked(what)
	}
	return nil
}

func (w *Wait) blocked(what string) error {
	w.p.Counters.BlockTimeouts.Add(1)
	return &blockedError{what}
}

// until waits until done is closed. With an error the commit is given up: its context has ended,
// BlockTimeout has passed, or the database is being closed. A negative BlockTimeout is the caller's
// to look at before.
func (w *Wait) until(done <-chan struct{}, what string) error {
	var expired <-chan time.Time
	if w.timeout > 0 {
		timer := time.NewTimer(time.Duration(w.deadline - w.p.now()))
		defer timer.Stop()
		expired = timer.C
	}
	var ended <-chan struct{}
	if w.ctx != nil {
		ended = w.ctx.Done()
	}
	select {
	case <-done:
		return nil
	case <-expired:
		return w.blocked(what)
	case <-ended:
		return GivenUp(w.ctx)
	case <-w.p.env.Closing.Done():
		return badger.ErrBlockedWrites
	}
}

// OnEnd has f called, in a goroutine of its own, when the commit must not wait any longer. stop
// must be called.
func (w *Wait) OnEnd(f func()) (stop func()) {
	stop = func() {}
	if w.timeout > 0 {
		timer := time.AfterFunc(time.Duration(w.deadline-w.p.now()), f)
		stop = func() { timer.Stop() }
	}
	if w.ctx == nil {
		return stop
	}
	stopTimer, stopContext := stop, context.AfterFunc(w.ctx, f)
	return func() { stopTimer(); stopContext() }
}

// With returns a context that ends with the commit's, or with other. release must be called; what
// it takes to be told of the end is made when somebody asks, which a commit that finds room does
// not.
func (w *Wait) With(other context.Context) (ctx context.Context, release func()) {
	if w.ctx == nil {
		return other, func() {}
	}
	c := &eitherContext{Context: w.ctx, other: other}
	return c, c.release
}

// eitherContext ends with the first of two contexts.
type eitherContext struct {
	context.Context
	other context.Context
	once  sync.Once
	done  context.Context
	end   context.CancelFunc
	stop  func() bool
}

func (c *eitherContext) Done() <-chan struct{} {
	c.once.Do(func() {
		c.done, c.end = context.WithCancel(c.Context)
		c.stop = context.AfterFunc(c.other, c.end)
	})
	return c.done.Done()
}

func (c *eitherContext) Err() error {
	if err := c.Context.Err(); err != nil {
		return err
	}
	return c.other.Err()
}

func (c *eitherContext) release() {
	if c.done != nil {
		c.stop()
		c.end()
	}
}

// GivenUp is the error of a commit, or of a read, whose context ended while it waited. It wraps the
// context's error, and its cause.
func GivenUp(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("badgerspill: given up, nothing was written: %w: %w", err, cause)
	}
	return fmt.Errorf("badgerspill: given up, nothing was written: %w", err)
}

// blockedError is wbm.ErrWriteBlocked for another reason than room.
type blockedError struct{ what string }

func (e *blockedError) Error() string {
	return "badgerspill: write blocked for BlockTimeout, nothing was written: " + e.what
}

func (e *blockedError) Is(target error) bool { return target == wbm.ErrWriteBlocked }
