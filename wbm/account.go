package wbm

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Account is one database's share of a manager. All methods are safe for concurrent use;
// only Reserve blocks.
type Account struct {
	manager *WriteBufferManager
	holder  Holder
	kinds   [numKinds]atomic.Int64
	pinned  atomic.Int64
	closed  atomic.Bool
}

func valid(k Kind, n int64) bool { return k >= 0 && k < numKinds && n >= 0 && n <= maxLimit }

// Manager returns the manager that the account draws on.
func (a *Account) Manager() *WriteBufferManager { return a.manager }

// Name returns the holder's name.
func (a *Account) Name() string { return a.holder.Name }

// Usage returns the bytes that this account counts toward the budget.
func (a *Account) Usage() int64 {
	return a.kinds[InFlight].Load() + a.kinds[Memtable].Load() + a.kinds[SpillIndex].Load()
}

// UsageByKind returns the account's bytes of one kind, 0 for an unknown kind.
func (a *Account) UsageByKind(k Kind) int64 {
	if k < 0 || k >= numKinds {
		return 0
	}
	return a.kinds[k].Load()
}

// SetPinned records bytes that the database holds but that nothing can free now, such as
// a flushed memtable under an open iterator. They are reported and never counted.
func (a *Account) SetPinned(n int64) { a.pinned.Store(max(0, n)) }

// Pinned returns what SetPinned recorded, in bytes.
func (a *Account) Pinned() int64 { return a.pinned.Load() }

// Closed tells whether Close was called.
func (a *Account) Closed() bool { return a.closed.Load() }

// TryReserve counts n bytes if the usage of the whole manager then stays at or below the
// limit that the ceiling names: the soft limit for Flush and Normal, the spill limit for
// Spill, the limit for Block. A batch larger than that limit passes alone, when nobody in
// the manager has bytes in flight. False means that nothing was counted: no room, a
// starved waiter holds a claim, or the account is closed.
func (a *Account) TryReserve(k Kind, n int64, ceiling Tier) bool {
	return a.tryReserve(k, n, ceiling, true, nil)
}

// tryReserve is TryReserve on behalf of a waiter, nil if the caller is not one. Without
// alone, a batch larger than the ceiling never passes.
func (a *Account) tryReserve(k Kind, n int64, ceiling Tier, alone bool, w *waiter) bool {
	m := a.manager
	if !valid(k, n) {
		m.leaks.Add(1)
		return false
	}
	if a.closed.Load() || k != SpillIndex && !m.gate.admits(w) {
		return false
	}
	if n == 0 {
		return true
	}
	top := m.limits.Load().ceiling(ceiling)
	var before int64
	switch {
	case n <= top:
		for {
			before = m.usage.Load()
			if before > top-n {
				return false
			}
			if m.usage.CompareAndSwap(before, before+n) {
				break
			}
		}
		m.kinds[k].Add(n)
	case !alone:
		return false
	case k == InFlight:
		// One of several oversize batches wins the swap; the others see bytes in flight.
		if !m.kinds[k].CompareAndSwap(0, n) {
			return false
		}
		before = m.usage.Add(n) - n
	default:
		if m.kinds[InFlight].Load() != 0 {
			return false
		}
		m.kinds[k].Add(n)
		before = m.usage.Add(n) - n
	}
	a.kinds[k].Add(n)
	if a.closed.Load() {
		a.sweep()
		return false
	}
	m.moved(before, before+n)
	return true
}

// Reserve is TryReserve that waits until there is room. It returns nil at once if there is,
// ctx.Err() when the context ends first, ErrClosed when the account is closed. A waiting
// caller holds nothing; it asks the biggest holder for relief whenever it parks.
func (a *Account) Reserve(ctx context.Context, k Kind, n int64, ceiling Tier) error {
	if a.TryReserve(k, n, ceiling) {
		return nil
	}
	if !valid(k, n) {
		return fmt.Errorf("%w: reservation of %d bytes of %v, must be 0 to %d of a known kind",
			ErrInvalidOption, n, k, int64(maxLimit))
	}
	return a.await(ctx, 0, func(w *waiter) (bool, *gate) {
		return a.tryReserve(k, n, ceiling, true, w), &a.manager.gate
	})
}

// Force counts n bytes whether or not there is room, for bytes that exist already or
// must pass: recovery, hedges, a replay of last resort. It does nothing on a closed
// account.
func (a *Account) Force(k Kind, n int64) {
	m := a.manager
	if !valid(k, n) {
		m.leaks.Add(1)
		return
	}
	if n == 0 || a.closed.Load() {
		return
	}
	m.kinds[k].Add(n)
	after := m.usage.Add(n)
	a.kinds[k].Add(n)
	if a.closed.Load() {
		a.sweep()
		return
	}
	m.moved(after-n, after)
}

// Release gives n bytes back. More than the account holds is a bug of the caller: it
// gives back what is there and counts it in the manager's Leaks. On a closed account it
// does nothing, since Close gave everything back.
func (a *Account) Release(k Kind, n int64) {
	m := a.manager
	taken := a.take(k, n)
	if taken == 0 {
		return
	}
	m.kinds[k].Add(-taken)
	after := m.usage.Add(-taken)
	m.wake()
	m.moved(after+taken, after)
}

// Transfer makes n bytes of one kind bytes of another. Usage does not change. More than
// the account holds of the first kind is a bug, treated as in Release.
func (a *Account) Transfer(from, to Kind, n int64) {
	m := a.manager
	if to < 0 || to >= numKinds {
		m.leaks.Add(1)
		return
	}
	taken := a.take(from, n)
	if taken == 0 {
		return
	}
	m.kinds[to].Add(taken)
	a.kinds[to].Add(taken)
	m.kinds[from].Add(-taken)
	if a.closed.Load() {
		a.sweep()
		return
	}
	// An oversize batch waits for the end of what is in flight, not for room.
	if from == InFlight {
		m.wake()
	}
}

// take removes up to n bytes from the account, not from the manager, and returns how many.
func (a *Account) take(k Kind, n int64) int64 {
	if !valid(k, n) {
		a.manager.leaks.Add(1)
		return 0
	}
	for {
		have := a.kinds[k].Load()
		taken := min(have, n)
		if !a.kinds[k].CompareAndSwap(have, have-taken) {
			continue
		}
		// Close marks the account before it sweeps: short because of that is no bug.
		if taken < n && !a.closed.Load() {
			a.manager.leaks.Add(1)
		}
		return taken
	}
}

// Close gives everything back, ends the account's waiters with ErrClosed and takes the
// account out of the manager. Closing twice is harmless.
func (a *Account) Close() {
	if a.closed.Swap(true) {
		return
	}
	a.manager.unregister(a)
	a.pinned.Store(0)
	a.sweep()
	a.manager.wake()
}

// sweep empties a closed account. Whoever added bytes and then finds the account closed
// sweeps again, so nothing that raced with Close stays behind.
func (a *Account) sweep() {
	m := a.manager
	for k := range a.kinds {
		n := a.kinds[k].Swap(0)
		if n == 0 {
			continue
		}
		m.kinds[k].Add(-n)
		after := m.usage.Add(-n)
		m.wake()
		m.moved(after+n, after)
	}
}
