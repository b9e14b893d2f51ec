package room

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// spillRetry is how long a spill that failed is not tried again.
const spillRetry = int64(time.Second)

// Room is what all commits of a database need. It is safe for concurrent use.
type Room struct {
	env   Env
	disks disks

	// until when the spill is not tried again after a failure, in nanoseconds of Env.Now
	retryAt atomic.Int64
}

var _ pipeline.Room = (*Room)(nil)

// New returns the room of a database. It asks the file system which directories are on one volume.
// It does not look at their free space: Look does, once Badger is open. Before that nothing that
// looks may be called.
func New(env Env, opt Options) *Room {
	r := &Room{env: env}
	r.disks.init(&r.env, opt)
	return r
}

// Reserve implements pipeline.Room. It may block for room, but not while Badger is held or its
// volume is low, nor for the spill's while replay has stopped: waiting does not end that.
func (r *Room) Reserve(req wbm.Request, w *pipeline.Wait) (pipeline.Ticket, pipeline.Cause, error) {
	for {
		r.disks.refresh()
		held, stopped := r.env.Badger.Held(), r.env.Replay.Stopped()
		low := r.disks.low(&r.disks.badger)
		switch {
		case held != nil:
			return r.pastBadger(req, pipeline.CauseHeld, held)
		case low != nil && r.disks.shared:
			return pipeline.Ticket{}, pipeline.NoTurn, low
		case low != nil:
			return r.pastBadger(req, pipeline.CauseSpace, low)
		case stopped != nil && r.env.Spill.IsActive():
			t, err := r.atOnce(req)
			if errors.Is(err, wbm.ErrWriteBlocked) {
				err = fmt.Errorf("%w; the spill is full, and nothing was written", stopped)
			}
			return t, pipeline.NoTurn, err
		}
		ends := r.env.Replay.Going()
		if stopped != nil { // memory is all that is short, and that needs no replay
			ends = r.env.Closing
		}
		t, again, err := r.await(req, w, ends)
		if err == nil && stopped != nil && t.Way == wbm.Direct && !r.BadgerTakes() {
			r.Cancel(t) // it has waited, and nothing else would have it look again
			continue
		}
		if !again {
			return t, pipeline.NoTurn, err
		}
	}
}

// await reserves as long as w allows and ends has not ended. again says that ends has: replay has
// stopped meanwhile, or had when the context was taken.
func (r *Room) await(req wbm.Request, w *pipeline.Wait, ends context.Context) (t pipeline.Ticket, again bool, err error) {
	ctx, release := w.With(ends)
	way, err := r.env.Spill.Reserve(ctx, req, w.Left())
	release()
	if err == nil || r.env.Closing.Err() != nil {
		return pipeline.Ticket{Way: way, Request: req}, false, err
	}
	if given := w.GivenUp(); given != nil && errors.Is(given, err) {
		return pipeline.Ticket{}, false, given
	}
	return pipeline.Ticket{}, errors.Is(err, context.Canceled), err
}

// atOnce reserves without waiting.
func (r *Room) atOnce(req wbm.Request) (pipeline.Ticket, error) {
	way, err := r.env.Spill.Reserve(r.env.Closing, req, -1)
	return pipeline.Ticket{Way: way, Request: req}, err
}

// pastBadger reserves while Badger takes nothing: in the spill, or after a turn to it because of
// cause. why is the error where neither is possible.
func (r *Room) pastBadger(req wbm.Request, cause pipeline.Cause, why error) (pipeline.Ticket, pipeline.Cause, error) {
	if r.env.Log == nil {
		return pipeline.Ticket{}, pipeline.NoTurn, why
	}
	t, err := r.atOnce(req)
	switch {
	case errors.Is(err, wbm.ErrWriteBlocked):
		return pipeline.Ticket{}, pipeline.NoTurn, why
	case err != nil || t.Way == wbm.Spilled:
		return t, pipeline.NoTurn, err
	}
	r.Cancel(t)
	if r.Full() {
		return pipeline.Ticket{}, pipeline.NoTurn, why
	}
	return pipeline.Ticket{}, cause, nil
}

// Shrink implements pipeline.Room.
func (r *Room) Shrink(t pipeline.Ticket, exact wbm.Request) pipeline.Ticket {
	r.env.Spill.ReleaseSpillover(t.Request.Spill-exact.Spill, t.Request.Index-exact.Index, 0)
	t.Request = exact
	return t
}

// Claim implements pipeline.Room. A commit may look for another way if it is the spill's volume
// that is low.
func (r *Room) Claim(t pipeline.Ticket, c *pipeline.Commit) (_ pipeline.Ticket, again bool, err error) {
	side, bytes := &r.disks.badger, BadgerCost(c.Memory, c.RawBytes)
	if t.Way == wbm.Spilled {
		side, bytes = &r.disks.spill, c.Batch.DiskSize()
	}
	if err := r.disks.claim(side, bytes); err != nil {
		return t, t.Way == wbm.Spilled && r.disks.low(side) != nil, err
	}
	t.Claim = bytes
	return t, false, nil
}

// Cancel implements pipeline.Room.
func (r *Room) Cancel(t pipeline.Ticket) {
	r.disks.cancel(t.Claim)
	r.env.Spill.Cancel(t.Request, t.Way)
}

// Full implements pipeline.Room.
func (r *Room) Full() bool { return r.env.Spill.IsSpilloverFull(0, 0) }

// ShouldSpill implements pipeline.Room.
func (r *Room) ShouldSpill(memory int64) bool { return r.env.Spill.ShouldSpillOver(memory) }

// SetActive implements pipeline.Room.
func (r *Room) SetActive(spilling bool) { r.env.Spill.SetActive(spilling) }

// ForceSpilled implements pipeline.Room.
func (r *Room) ForceSpilled(b *spillfile.Batch) {
	r.env.Spill.Force(b.DiskSize(), b.IndexSize())
	r.disks.force(b.DiskSize())
}

// ForceDirect implements pipeline.Room.
func (r *Room) ForceDirect(c *pipeline.Commit) (claim int64) {
	r.env.Memory.Force(wbm.InFlight, c.Memory)
	claim = BadgerCost(c.Memory, c.RawBytes)
	r.disks.force(claim)
	return claim
}

// BadgerTakes implements pipeline.Room.
func (r *Room) BadgerTakes() bool { return r.Low() == nil && r.env.Badger.HeldNow() == nil }

// Answered implements pipeline.Room.
func (r *Room) Answered(c *pipeline.Commit, err error) {
	if err == nil {
		r.env.Badger.Took(c.Memory, c.Ts)
	} else {
		r.env.Memory.Release(wbm.InFlight, c.Memory)
	}
	r.Settle(c.Claim)
}

// Spilled implements pipeline.Room.
func (r *Room) Spilled(batches []*spillfile.Batch, claimed int64) {
	r.env.Ledger.written(batches)
	r.Settle(claimed)
}

// SpillFailed implements pipeline.Room: the spill is not tried again for a second.
func (r *Room) SpillFailed() { r.RetrySpill(r.env.Now() + spillRetry) }

// RetrySpill says that the spill is tried again from at on, in nanoseconds of Env.Now; until then
// it counts as full.
func (r *Room) RetrySpill(at int64) { r.retryAt.Store(at) }

// SpillUsable reports whether the spill can be written to: its volume has room, and it has not
// failed just now. It is for wbm.SpilloverOptions.Usable, and does not block.
func (r *Room) SpillUsable() bool { return r.env.Now() >= r.retryAt.Load() && r.disks.spillUsable() }

// ClaimBadger takes n bytes of room on Badger's volumes for what is no commit. They are to be
// settled once they are written, or not going to be. The error matches ErrNoSpace, and nothing is
// taken then. It may block for the file system.
func (r *Room) ClaimBadger(n int64) error { return r.disks.claim(&r.disks.badger, n) }

// Settle ends a claim of n bytes that may have been written. What of them Badger holds in memory
// must be accounted for as in its memtables by then. It does not block.
func (r *Room) Settle(n int64) { r.disks.settle(n) }

// Check returns an error matching ErrNoSpace while Badger's volume is low: nothing may be written
// to it, replay pauses. It may block for the file system.
func (r *Room) Check() error {
	r.disks.refresh()
	return r.Low()
}

// Low is Check as of the last look. It does not block.
func (r *Room) Low() error { return r.disks.low(&r.disks.badger) }

// Look takes the free space of all volumes now. It blocks for the file system.
func (r *Room) Look() { r.disks.look() }

// Stop ends looks in the background; one may be under way. It does not block.
func (r *Room) Stop() { r.disks.stop() }

// InFlight returns the bytes on disk that are claimed and not settled.
func (r *Room) InFlight() int64 { return r.disks.inFlight.Load() }
