package badgerspill

import (
	"context"
	"sync"
)

// upkeepKind says what a call of maintenance may run beside. In Badger some pairs crash, and some
// lose data without an error.
type upkeepKind int

const (
	// upkeepShared runs beside all but a drop, which would take files from under it: Backup and
	// streams, RunValueLogGC, VerifyChecksum, BanNamespace. A collection beside DropPrefix writes
	// back what was dropped, and one beside a StreamWriter deletes values that it has just written.
	upkeepShared upkeepKind = iota
	// upkeepFlatten is one at a time, and not beside a drop: each of them stops Badger's compactors
	// and starts them again at its end. Two that overlap leave a second set, which nobody stops
	// before Badger unmaps its tables.
	upkeepFlatten
	// upkeepDrop is alone: DropAll, DropPrefix, and a StreamWriter from Prepare to Flush or Cancel.
	upkeepDrop
)

// upkeep keeps maintenance apart, and Close from all of it. It is taken before the feed's lock and
// the commit lock, and is held while a drop waits for commits on their way, and the other calls for
// replay.
//
// Who waits for its turn does not keep others from theirs: a callback of a stream may call what is
// shared while a drop waits for the stream to end.
type upkeep struct {
	mu         sync.Mutex
	changed    chan struct{} // closed at the next change; nil if nobody waits for one
	shared     int
	flattening bool
	drop       bool // there is one, under way or waiting for its turn
	dropping   bool // and it has its turn
	session    *StreamWriter
	closed     bool
}

// begin waits until a call of that kind may run, at most as long as ctx lasts. end must be called
// after it. Errors: ErrDBClosed; ErrBlockedWrites for what would have to wait for a StreamWriter,
// whose end its user decides, and for a second drop; that of ctx.
func (u *upkeep) begin(ctx context.Context, kind upkeepKind) (end func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	claimed := false
	for {
		switch {
		case u.closed:
			err = ErrDBClosed
		case u.session != nil, kind == upkeepDrop && u.drop && !claimed:
			err = ErrBlockedWrites
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case u.free(kind):
			u.take(kind, true)
			return sync.OnceFunc(func() {
				u.mu.Lock()
				defer u.mu.Unlock()
				u.take(kind, false)
			}), nil
		}
		if err != nil {
			if claimed {
				u.drop = false
			}
			return nil, err
		}
		if kind == upkeepDrop {
			u.drop, claimed = true, true
		}
		u.wait(ctx)
	}
}

// free needs mu.
func (u *upkeep) free(kind upkeepKind) bool {
	switch {
	case u.dropping:
		return false
	case kind == upkeepFlatten:
		return !u.flattening
	case kind == upkeepDrop:
		return u.shared == 0 && !u.flattening
	}
	return true
}

// take needs mu.
func (u *upkeep) take(kind upkeepKind, on bool) {
	switch {
	case kind == upkeepDrop:
		u.drop, u.dropping = on, on
	case kind == upkeepFlatten:
		u.flattening = on
	case on:
		u.shared++
	default:
		u.shared--
	}
	u.tell()
}

// tell needs mu.
func (u *upkeep) tell() {
	if u.changed != nil {
		close(u.changed)
		u.changed = nil
	}
}

// wait waits for a change, or until ctx ends. It needs mu, and lets go of it meanwhile.
func (u *upkeep) wait(ctx context.Context) {
	if u.changed == nil {
		u.changed = make(chan struct{})
	}
	changed := u.changed
	u.mu.Unlock()
	defer u.mu.Lock()
	select {
	case <-changed:
	case <-ctx.Done():
	}
}

// setSession says that the drop under way lasts until the user of sw ends it; nil that it does not
// any more.
func (u *upkeep) setSession(sw *StreamWriter) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.session = sw
	u.tell()
}

// refuse lets nothing new begin. Close calls it, and then settle.
func (u *upkeep) refuse() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	u.tell()
}

// cancelSession ends a StreamWriter that is under way, after refuse.
func (u *upkeep) cancelSession() {
	u.mu.Lock()
	session := u.session
	u.mu.Unlock()
	if session != nil {
		session.Cancel()
	}
}

// settle waits for the end of what is under way, after refuse.
func (u *upkeep) settle() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.shared > 0 || u.flattening || u.dropping {
		u.wait(context.Background())
	}
}
