package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// patience is how long a commit may wait before it has its place in the commit order. Nothing of it
// is written until then. From there on its outcome must become known, so it is waited for: for an
// append to the spill, or for Badger's answer and, if that does not come within StallThreshold, the
// hedge.
type patience struct {
	db       *DB
	ctx      context.Context // nil: none
	timeout  time.Duration   // BlockTimeout
	deadline int64           // if timeout is above 0, in nanoseconds of DB.now
}

func (db *DB) patienceOf(ctx context.Context) patience {
	p := patience{db: db, ctx: ctx, timeout: db.opt.BlockTimeout}
	if p.timeout > 0 {
		p.deadline = db.now() + int64(p.timeout)
	}
	return p
}

// left returns what is left of BlockTimeout, in its terms.
func (p *patience) left() time.Duration {
	if p.timeout <= 0 {
		return p.timeout
	}
	if left := p.deadline - p.db.now(); left > 0 {
		return time.Duration(left)
	}
	return -1
}

// ended returns why the commit must not wait any longer for what, nil if it may.
func (p *patience) ended(what string) error {
	if p.ctx != nil && p.ctx.Err() != nil {
		return givenUp(p.ctx)
	}
	if p.left() < 0 {
		return p.blocked(what)
	}
	return nil
}

func (p *patience) blocked(what string) error {
	p.db.counters.blockTimeouts.Add(1)
	return &blockedError{what}
}

// until waits until done is closed. With an error the commit is given up: its context has ended,
// BlockTimeout has passed, or the database is being closed. A negative BlockTimeout is the caller's
// to look at.
func (p *patience) until(done <-chan struct{}, what string) error {
	var expired <-chan time.Time
	if p.timeout > 0 {
		timer := time.NewTimer(time.Duration(p.deadline - p.db.now()))
		defer timer.Stop()
		expired = timer.C
	}
	var ended <-chan struct{}
	if p.ctx != nil {
		ended = p.ctx.Done()
	}
	select {
	case <-done:
		return nil
	case <-expired:
		return p.blocked(what)
	case <-ended:
		return givenUp(p.ctx)
	case <-p.db.ctx.Done():
		return ErrBlockedWrites
	}
}

// onEnd has f called, in a goroutine of its own, when the commit must not wait any longer. stop
// must be called.
func (p *patience) onEnd(f func()) (stop func()) {
	stop = func() {}
	if p.timeout > 0 {
		timer := time.AfterFunc(time.Duration(p.deadline-p.db.now()), f)
		stop = func() { timer.Stop() }
	}
	if p.ctx == nil {
		return stop
	}
	stopTimer, stopContext := stop, context.AfterFunc(p.ctx, f)
	return func() { stopTimer(); stopContext() }
}

// with returns a context that ends with the commit's, or with other.
func (p *patience) with(other context.Context) context.Context {
	if p.ctx == nil {
		return other
	}
	return &eitherContext{Context: p.ctx, other: other}
}

// eitherContext ends with the first of two contexts. What it takes to be told of that is made when
// somebody asks: a commit that finds room does not.
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

// release lets go of both.
func release(ctx context.Context) {
	if c, ok := ctx.(*eitherContext); ok && c.done != nil {
		c.stop()
		c.end()
	}
}

// givenUp is the error of a commit, or of a read, whose context ended while it waited. It wraps the
// context's error, and its cause.
func givenUp(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("badgerspill: given up, nothing was written: %w: %w", err, cause)
	}
	return fmt.Errorf("badgerspill: given up, nothing was written: %w", err)
}

// blockedError is ErrWriteBlocked for another reason than room.
type blockedError struct{ what string }

func (e *blockedError) Error() string {
	return "badgerspill: write blocked for BlockTimeout, nothing was written: " + e.what
}

func (e *blockedError) Is(target error) bool { return target == ErrWriteBlocked }

// awaitVisible waits until c is acknowledged, and with it all commits before it, or until ctx ends.
// nil is no context.
func awaitVisible(ctx context.Context, c *commit) error {
	if ctx == nil {
		c.done.Wait()
		return nil
	}
	if err := ctx.Err(); err != nil { // who goes on asking must not start a goroutine each time
		return fmt.Errorf("badgerspill: given up while earlier commits were not visible yet: %w", err)
	}
	done := make(chan struct{})
	go func() { // until c is acknowledged, as its own writer
		defer close(done)
		c.done.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("badgerspill: given up while earlier commits were not visible yet: %w", ctx.Err())
	}
}

// CommitContext is Commit that gives up when ctx ends while the commit still waits: for room in
// memory, in the spill or on disk, for its turn, for a hand-over, or for a subscriber. The error
// wraps that of ctx then, and nothing was written; the transaction is discarded. Once the commit
// has its place in the commit order it cannot be given up any more, or nobody would know whether it
// was written: CommitContext waits for the outcome then, as Commit, whether ctx has ended or not.
// What that may take, and the few steps before it that ctx does not interrupt (the commit lock,
// which a hand-over holds for as long as it writes, and the file system), see docs/guarantees.md,
// Waiting. Errors otherwise are those of Commit.
func (txn *Txn) CommitContext(ctx context.Context) error {
	txn.bound(ctx)
	return txn.Commit()
}

// CommitAtContext is CommitContext at commitTs. It panics if the database is not managed.
func (txn *Txn) CommitAtContext(ctx context.Context, commitTs uint64) error {
	txn.bound(ctx)
	return txn.CommitAt(commitTs, nil)
}

// ViewContext is View for which ctx bounds the wait of the first read, until all commits before the
// transaction are visible: Get returns an error that wraps that of ctx, an iterator has no items.
// The result is then that error, as it is if ctx has ended before. What fn does besides is its own
// to bound.
func (db *DB) ViewContext(ctx context.Context, fn func(txn *Txn) error) error {
	if ctx.Err() != nil {
		return givenUp(ctx)
	}
	return db.viewWith(ctx, fn)
}

// UpdateContext is Update with the waits of its reads bounded as by ViewContext and those of its
// commit as by CommitContext. With an error that wraps that of ctx nothing was written.
func (db *DB) UpdateContext(ctx context.Context, fn func(txn *Txn) error) error {
	if ctx.Err() != nil {
		return givenUp(ctx)
	}
	return db.updateWith(ctx, fn)
}
