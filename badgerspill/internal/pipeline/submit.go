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
		placed, err := p.place(s, c, t.way, w)
		if placed {
			return nil
		}
		t.cancel(p.env.Room)
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

// ticket is the room that a commit holds until it has its place: of memory or of the spill, and on
// the disk that it is going to be written to. From then on it is given back as it is used.
type ticket struct {
	way   wbm.Outcome
	req   wbm.Request
	claim int64 // bytes on disk
}

// cancel gives all of it back. It does not block.
func (t *ticket) cancel(room Room) {
	room.CancelClaim(t.claim)
	room.Cancel(t.req, t.way)
}

// admit decides c's way, gets it room, and does what needs no lock: it encodes c, or builds
// Badger's transaction. It may block for room. After an error nothing is held.
func (p *Pipeline) admit(c *Commit, w *Wait) (ticket, error) {
	for {
		if p.closing.Load() {
			return ticket{}, badger.ErrBlockedWrites
		}
		if err := w.GivenUp(); err != nil {
			return ticket{}, err
		}
		t := ticket{req: c.request()}
		var err error
		t.way, err = p.env.Room.Reserve(t.req, w)
		c.trace.ended(PartRoom)
		if err != nil {
			if p.closing.Load() || errors.Is(err, wbm.ErrClosed) {
				err = badger.ErrBlockedWrites
			}
			return ticket{}, err
		}
		if err := p.prepare(c, &t); err != nil {
			t.cancel(p.env.Room)
			return ticket{}, err
		}
		claim, again, err := p.env.Room.Claim(c, t.way)
		if err == nil {
			t.claim, c.Claim = claim, claim
			c.trace.ended(PartRoom)
			return t, nil
		}
		t.cancel(p.env.Room)
		if !again {
			return ticket{}, err
		}
	}
}

// prepare makes of c what its way takes. What that is known to need less of than was estimated is
// given back.
func (p *Pipeline) prepare(c *Commit, t *ticket) error {
	switch {
	case t.way == wbm.Spilled:
		c.giveUpPrepared()
		if c.Batch != nil {
			return nil
		}
		c.Batch = c.encoded()
		exact := c.request()
		p.env.Room.Shrink(t.req.Spill-exact.Spill, t.req.Index-exact.Index)
		t.req = exact
	case c.Prepared == nil:
		c.own()
		if err := p.env.Badger.Prepare(c); err != nil {
			return err
		}
	default:
		return nil
	}
	c.trace.ended(PartEncode)
	return nil
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
// appended by this goroutine, together with those that have gathered.
func (p *Pipeline) Await(c *Commit) error {
	if c.spilled {
		start := p.now()
		err := p.env.Log.Commit(c.Batch) // the outcome is settled by Spilled, before this returns
		p.env.Audience.Appended(time.Duration(p.now()-start), err)
	}
	if c.Batch != nil {
		c.Batch.Free()
	}
	c.done.Wait()
	c.trace.finish(c)
	return c.err
}
