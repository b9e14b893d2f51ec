package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// The walk of a write, from top to bottom: Submit, enter, admit, place, Await. See doc.go.

// Submit gives a commit of transaction s its place in the commit order and sends it on its way. It
// may block for room, as long as ctx, nil for none, and timeout allow: 0 is no bound, below 0 is
// not at all. After an error nothing was written, and nothing is held.
func (p *Pipeline) Submit(ctx context.Context, timeout time.Duration, s *Snapshot, c *Commit) error {
	c.wait = p.newWait(ctx, timeout)
	err := p.enter(s, c, &c.wait)
	c.wait = Wait{} // the context may hold much
	if err != nil {
		c.giveUpPrepared()
		c.trace.failed()
	}
	return err
}

// enter admits c and places it, again and again until it has its place or must not wait any longer.
func (p *Pipeline) enter(s *Snapshot, c *Commit, w *Wait) error {
	c.trace.ended(PartConflict)
	if err := p.env.Audience.Throttle(w); err != nil {
		return err
	}
	c.trace.ended(PartRoom)
	if p.match(c); c.Updates != nil {
		c.trace.ended(PartEncode)
	}
	for {
		t, err := p.admit(c, w)
		if err != nil {
			return err
		}
		placed, err := p.place(s, c, t.Way, w)
		if placed {
			return nil
		}
		p.env.Room.Cancel(t)
		if err != nil {
			return err
		}
	}
}

// match finds out who is told of c, of those that are there by now.
func (p *Pipeline) match(c *Commit) {
	c.matches = p.env.Audience.Matches()
	p.env.Audience.Match(c)
}

// admit decides c's way, gets it room, and does what needs no lock: it encodes c, or builds
// Badger's transaction. It may block for room, and for a turn to the spill that is the way to have
// some. After an error nothing is held.
func (p *Pipeline) admit(c *Commit, w *Wait) (Ticket, error) {
	for {
		if p.closing.Load() {
			return Ticket{}, badger.ErrBlockedWrites
		}
		if err := w.GivenUp(); err != nil {
			return Ticket{}, err
		}
		t, turn, err := p.env.Room.Reserve(c.request(), w)
		if err == nil && turn != NoTurn {
			// without a spill by now, the next answer is another
			if err = p.TurnToSpill(turn); err == nil || errors.Is(err, ErrNoSpill) {
				continue
			}
		}
		c.trace.ended(PartRoom)
		if err != nil {
			if p.closing.Load() || errors.Is(err, wbm.ErrClosed) {
				err = badger.ErrBlockedWrites
			}
			return Ticket{}, err
		}
		t, err = p.prepare(c, t)
		again := false
		if err == nil {
			t, again, err = p.env.Room.Claim(t, c)
		}
		if err == nil {
			c.Claim = t.Claim
			c.trace.ended(PartRoom)
			return t, nil
		}
		p.env.Room.Cancel(t)
		if !again {
			return Ticket{}, err
		}
	}
}

// prepare makes of c what its way takes. What that is known to need less of than was estimated is
// given back: it returns what is left of the ticket, all of it after an error.
func (p *Pipeline) prepare(c *Commit, t Ticket) (Ticket, error) {
	switch {
	case t.Way == wbm.Spilled:
		c.giveUpPrepared()
		if c.Batch != nil {
			return t, nil
		}
		c.Batch = c.encoded()
		t = p.env.Room.Shrink(t, c.request())
	case c.Prepared == nil:
		c.own()
		if err := p.env.Badger.Prepare(c); err != nil {
			return t, err
		}
	default:
		return t, nil
	}
	c.trace.ended(PartEncode)
	return t, nil
}

// place gives c its place in the commit order. It returns false without an error if c has to be
// admitted again, since the router has changed its state or Badger's queue was full. It may block.
func (p *Pipeline) place(s *Snapshot, c *Commit, way wbm.Outcome, w *Wait) (bool, error) {
	for {
		t := p.tryPlace(s, c, way)
		t.hedges.append()
		switch {
		case t.held != nil:
			c.trace.ended(PartConflict)
			// A negative BlockTimeout does not end this: a hand-over is over before long, or given
			// up.
			err := w.until(t.held, "a hand-over is under way")
			c.trace.ended(PartRoom)
			if err != nil {
				return false, err
			}
		case t.full != nil:
			const what = "as many commits as it takes wait for Badger's answer, and there is no room in the spill"
			if w.timeout < 0 {
				return false, w.blocked(what)
			}
			return false, w.until(t.full, what)
		default:
			return t.placed, t.err
		}
	}
}

// try is what has become of a try to place a commit. Without any of it the commit is to be admitted
// again.
type try struct {
	placed bool
	err    error
	held   <-chan struct{} // a hand-over is under way until it is closed: try again then
	full   <-chan struct{} // Badger's queue is full until it is closed, and the spill takes nothing
	hedges hedges          // of a turn to the spill that this was the cause of
}

// tryPlace checks for conflicts, assigns the timestamp and queues c, all under the commit lock. It
// does not wait.
func (p *Pipeline) tryPlace(s *Snapshot, c *Commit, way wbm.Outcome) try {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.held != nil {
		return try{held: p.mu.held}
	}
	if err := p.refused(); err != nil {
		return try{err: err}
	}
	if p.mu.oracle.conflicts(s) {
		c.trace.ended(PartConflict)
		return try{err: badger.ErrConflict}
	}
	if spilling := p.mu.router.state == Spilling; spilling != (way == wbm.Spilled) {
		if spilling || !p.env.Room.ShouldSpill(c.Memory) {
			return try{}
		}
		p.startSpilling(CauseMemory, true)
	} else if !spilling && p.mu.router.full() {
		if !p.canSpill() {
			return try{full: p.mu.router.nextAnswer()}
		}
		return try{hedges: p.spillFromHere(CauseQueue)}
	}
	// Invariant I1, at the one place where a commit could break it.
	if way != wbm.Spilled && p.env.Log != nil && !p.env.Log.Empty() {
		return try{err: ErrPastTheSpill}
	}
	p.assign(s, c, way)
	c.trace.ended(PartConflict)
	p.mu.line.push(c)
	if way == wbm.Spilled {
		c.spilled = true
		p.env.Log.Enqueue(c.Batch, c.Ts)
	} else {
		p.ask(c)
	}
	return try{placed: true}
}

// assign gives c its timestamp. Needs mu.
func (p *Pipeline) assign(s *Snapshot, c *Commit, way wbm.Outcome) {
	if c.matches != p.env.Audience.Matches() { // somebody came while c waited for its place
		p.match(c)
	}
	o := p.mu.oracle
	switch {
	case p.opt.Managed:
	case c.Load && c.highest == 0: // its entries are of version 0
	case c.Load:
		c.Ts = o.nextTs - 1
	default:
		o.doneRead(s)
		c.Ts = o.nextTs
		o.nextTs++
	}
	if !p.opt.Managed && (c.highest > c.Ts || c.Ts == 0) {
		o.ahead = true // timestamps tell nothing about order any more
	}
	// A load's timestamp is that of a commit that may be in Badger alone; startSpilling looks at
	// those that it hedges.
	if way == wbm.Spilled && !p.mu.unordered && (c.Load || o.ahead) {
		p.mu.unordered = true // as are all later segments
		p.env.Log.Rotate(spillfile.Unordered)
	}
	if !c.Load {
		o.committed(c.Ts, c.keys)
	}
}

// Await waits until c is acknowledged, and returns its outcome. A commit on its way to the spill is
// appended by this goroutine, together with those that have gathered, or by another one of those.
func (p *Pipeline) Await(c *Commit) error {
	if c.spilled {
		start := p.now()
		err := p.env.Log.Commit(c.Batch) // Spilled was called when this returns, and has seen to it
		p.env.Audience.Appended(time.Duration(p.now()-start), err)
	}
	if c.Batch != nil {
		c.Batch.Free()
	}
	c.done.Wait()
	c.trace.finish(c)
	return c.err
}
