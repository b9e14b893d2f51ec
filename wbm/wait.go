package wbm

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// claimAfterRechecks is how many re-check intervals a waiter is parked before it lays
	// its first claim, and how many that claim lasts. Shorter would let every short wait
	// stop the others.
	claimAfterRechecks = 4
	// maxHold bounds the doubling of a claim's length, and with it the longest time that
	// the others are kept out at a stretch.
	maxHold = time.Minute
)

// gate lets everybody pass, or while a waiter has a claim on it, only that one.
type gate struct{ claim atomic.Pointer[waiter] }

func (g *gate) admits(w *waiter) bool {
	owner := g.claim.Load()
	return owner == nil || owner == w
}

// waiter is one parked reservation.
type waiter struct {
	prev, next *waiter
	// wake has room for one signal, so a wake-up between a failed try and the wait stays.
	wake chan struct{}

	// The rest belongs to the waiting goroutine.
	claimed    *gate
	claimUntil time.Time
	claimNext  time.Time
	hold       time.Duration
}

func (m *WriteBufferManager) park(now time.Time) *waiter {
	hold := claimAfterRechecks * m.recheck
	w := &waiter{wake: make(chan struct{}, 1), hold: hold, claimNext: now.Add(hold)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if w.prev = m.mu.last; w.prev == nil {
		m.mu.first = w
	} else {
		w.prev.next = w
	}
	m.mu.last = w
	m.waiters.Add(1)
	return w
}

func (m *WriteBufferManager) unpark(w *waiter) {
	m.mu.Lock()
	if w.prev == nil {
		m.mu.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		m.mu.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	m.waiters.Add(-1)
	m.mu.Unlock()
	m.dropClaim(w)
}

// wake makes every waiter look again. A waiter counts itself before its first try, and a
// release takes place before this load: one of the two sees the other, so none is missed.
func (m *WriteBufferManager) wake() {
	if m.waiters.Load() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for w := m.mu.first; w != nil; w = w.next {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (m *WriteBufferManager) dropClaim(w *waiter) {
	if w.claimed == nil {
		return
	}
	w.claimed.claim.CompareAndSwap(w, nil)
	w.claimed = nil
	m.wake()
}

// updateClaim is called when a try failed for want of what g guards.
func (m *WriteBufferManager) updateClaim(w *waiter, g *gate, now time.Time) {
	if w.claimed != nil && w.claimed != g {
		m.dropClaim(w)
	}
	if w.claimed != nil {
		if now.Before(w.claimUntil) {
			return
		}
		m.dropClaim(w)
		w.claimNext = now.Add(w.hold)
		w.hold = min(2*w.hold, maxHold)
		return
	}
	if now.Before(w.claimNext) || !g.claim.CompareAndSwap(nil, w) {
		return
	}
	w.claimed = g
	w.claimUntil = now.Add(w.hold)
}

// await parks until try succeeds. try tells what it lacked by the gate that guards it.
// A timeout of 0 means none; when it passes, the error is ErrWriteBlocked.
func (a *Account) await(ctx context.Context, timeout time.Duration, try func(*waiter) (bool, *gate)) error {
	m := a.manager
	start := time.Now()
	w := m.park(start)
	defer m.unpark(w)

	var expired <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		expired = t.C
	}
	recheck := time.NewTimer(m.recheck)
	defer recheck.Stop()

	last := false
	for rechecks := 0; ; rechecks++ {
		if a.closed.Load() {
			return ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		ok, lacked := try(w)
		if ok {
			return nil
		}
		if last {
			return ErrWriteBlocked
		}
		m.askReliefAgain(rechecks)
		m.updateClaim(w, lacked, time.Now())
		select {
		case <-w.wake:
		case <-recheck.C:
			recheck.Reset(m.recheck)
		case <-ctx.Done():
		case <-expired:
			// Room may have come in the same moment: look once more.
			last = true
		}
	}
}
