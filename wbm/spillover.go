package wbm

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// DefaultIndexShare is the share of the memory limit that the spill's index may take.
const DefaultIndexShare = 0.5

// SpilloverOptions configures a SpilloverManager.
type SpilloverOptions struct {
	// Account is the database's share of the memory budget. Required.
	Account *Account
	// Capacity of the spill in bytes on disk; 0 or less means that there is no spill.
	Capacity int64
	// HighWater is the share of Capacity, above 0 and below 1, beyond which commits that go to
	// the spill are slowed, the more the fuller it is; anything else means that none is. See
	// Reserve.
	HighWater float64
	// IndexShare is the share of the memory limit that the in-memory index of the spill
	// may take before the spill counts as full, above 0 and at most 1; anything else means
	// 0.5.
	IndexShare float64
	// Usable tells whether the spill can take data at all, for example whether its disk
	// has room. It is asked for each reservation that looks at the spill, so it must be
	// cheap and must not block. Nil means always.
	Usable func() bool
	// OnBlocked is told of a reservation that begins to wait for room, and how many wait then,
	// itself included. What it returns, unless nil, is told when that wait has ended: how long it
	// took, how many still wait, and the error with which Reserve returns. Both are called by the
	// waiting goroutine, which holds no lock of this package; neither may block. Nil: nobody is
	// told.
	OnBlocked func(r Request, waiting int64) (released func(took time.Duration, waiting int64, o Outcome, err error))
}

// SpilloverManager decides for one database whether a commit goes to Badger, to the spill,
// or waits. All methods are safe for concurrent use; only Reserve blocks.
//
// The words (reserve, should spill over, is spillover full, is active, release spillover, blocks
// avoided) are those of SpilloverManager in sochdb.
type SpilloverManager struct {
	account    *Account
	capacity   atomic.Int64
	indexShare float64
	usable     func() bool
	onBlocked  func(Request, int64) func(time.Duration, int64, Outcome, error)

	usage  atomic.Int64
	active atomic.Bool
	// gate holds the claim of a waiter that was starved of room in the spill.
	gate     gate
	throttle throttle
	stats    spilloverCounters
}

// NewSpilloverManager returns a manager with an empty, inactive spill.
func NewSpilloverManager(o SpilloverOptions) *SpilloverManager {
	if !(o.IndexShare > 0 && o.IndexShare <= 1) {
		o.IndexShare = DefaultIndexShare
	}
	s := &SpilloverManager{
		account:    o.Account,
		indexShare: o.IndexShare,
		usable:     o.Usable,
		onBlocked:  o.OnBlocked,
	}
	s.capacity.Store(max(0, o.Capacity))
	s.throttle.init(s.Capacity(), o.HighWater)
	return s
}

// Request is what a commit needs, in bytes, depending on the way it takes.
type Request struct {
	// Memory is what it occupies in Badger's memtables.
	Memory int64
	// Spill is what it occupies on the spill's disk.
	Spill int64
	// Index is what it adds to the spill's in-memory index.
	Index int64
}

// Outcome is the way that a commit has to take.
type Outcome int

// The outcomes of a reservation.
const (
	// Direct means to Badger: Request.Memory is reserved as InFlight.
	Direct Outcome = iota
	// Spilled means to the spill: Request.Spill of its capacity and Request.Index of
	// memory, as SpillIndex, are reserved.
	Spilled
)

// String returns the outcome's name in lower case.
func (o Outcome) String() string {
	switch o {
	case Direct:
		return "direct"
	case Spilled:
		return "spilled"
	default:
		return fmt.Sprintf("outcome(%d)", int(o))
	}
}

// Usage returns the bytes of the spill's capacity that are in use or reserved.
func (s *SpilloverManager) Usage() int64 { return s.usage.Load() }

// Capacity returns the capacity of the spill in bytes, 0 if there is none.
func (s *SpilloverManager) Capacity() int64 { return s.capacity.Load() }

// SetCapacity changes the capacity, in bytes; 0 or less means that there is no spill any more. What
// is in the spill above a lower capacity stays: the spill is full until enough of it is released,
// but an empty one takes a batch of any size while there is a capacity at all. Whoever waits looks
// again, and takes the way to memory where the spill takes nothing any more. It does not block.
func (s *SpilloverManager) SetCapacity(capacity int64) {
	capacity = max(0, capacity)
	s.capacity.Store(capacity)
	s.throttle.resize(capacity)
	s.account.manager.wake()
	s.throttle.lookAgain()
}

// IsActive tells whether the spill holds data, so that every commit has to go there.
func (s *SpilloverManager) IsActive() bool { return s.active.Load() }

// SetActive records whether the spill holds data. A change makes every parked writer look
// again. Callers that rely on an outcome check IsActive again under the lock under which
// they call SetActive.
func (s *SpilloverManager) SetActive(active bool) {
	if s.active.Swap(active) != active {
		s.account.manager.wake()
		s.throttle.lookAgain()
	}
}

// ShouldSpillOver tells whether n more bytes of memory would pass the spill limit.
func (s *SpilloverManager) ShouldSpillOver(n int64) bool {
	m := s.account.manager
	return m.usage.Load() > m.limits.Load().spill-n
}

// IsSpilloverFull tells whether the spill has no room for that much more. It has none where there
// is no spill, it is not usable, or its capacity would be passed. It has none either where its
// index would pass its share of the memory limit, or memory as a whole the limit. An empty spill
// takes a batch larger than its capacity, or than the index's share.
func (s *SpilloverManager) IsSpilloverFull(spillBytes, indexBytes int64) bool {
	capacity := s.capacity.Load()
	if capacity == 0 || (s.usable != nil && !s.usable()) {
		return true
	}
	used := s.usage.Load()
	if used > 0 && used > capacity-spillBytes {
		return true
	}
	if indexBytes == 0 {
		return false
	}
	m := s.account.manager
	l := m.limits.Load()
	if share := share(l.limit, s.indexShare); s.account.kinds[SpillIndex].Load() > share-indexBytes &&
		(used > 0 || indexBytes <= share) {
		return true
	}
	if indexBytes > l.limit {
		return m.kinds[InFlight].Load() != 0
	}
	return m.usage.Load() > l.limit-indexBytes
}

// Reserve makes room for one commit and tells which way it goes.
//
// While the spill is active only Spilled is possible. Otherwise it is Direct if memory stays
// within the spill limit, else Spilled if the spill takes it (a batch larger than the
// capacity does not start a spill), else Direct if memory stays within the limit. Else the
// caller parks, holding nothing, and all of this is looked at again whenever something is
// released, the spill is set active or inactive, or a timer fires. A batch larger than the
// whole limit passes as Direct when nothing is in flight.
//
// Beyond HighWater a commit on its way to the spill is slowed first, holding nothing. Commits are
// let through one after the other, at a rate that falls with the room that is left. The rate is
// looked at again every 10 ms. It ends when the commit's turn has come, when usage is back below
// HighWater, when the way is Direct again, and when the spill is full for it, so that it parks.
//
// After timeout without room the error is ErrWriteBlocked; 0 waits for ever, a negative one fails
// at once. Being slowed does not count and is no reason to fail. It lasts timeout at most, if that
// is positive, then the commit goes on as if its turn had come. With a negative one, which asks not
// to wait, nothing is slowed. Other errors are ctx.Err() and ErrClosed. With an error, nothing is
// reserved.
//
// The caller must hold no lock that releasing memory, replay or SetActive need.
func (s *SpilloverManager) Reserve(ctx context.Context, r Request, timeout time.Duration) (Outcome, error) {
	if !s.active.Load() && s.account.tryReserve(InFlight, r.Memory, Spill, false, nil) {
		return Direct, nil
	}
	return s.reserveSlow(ctx, r, timeout)
}

func (s *SpilloverManager) reserveSlow(ctx context.Context, r Request, timeout time.Duration) (Outcome, error) {
	if !valid(InFlight, r.Memory) || !valid(SpillIndex, r.Spill) || !valid(SpillIndex, r.Index) {
		s.account.manager.leaks.Add(1)
		return Direct, fmt.Errorf("%w: Request is %+v, each must be 0 to %d bytes", ErrInvalidOption, r, int64(maxLimit))
	}
	if timeout >= 0 && r.Spill > 0 && s.throttle.slows(s.room()) {
		if err := s.slow(ctx, r, timeout); err != nil {
			return Direct, err
		}
	}
	if outcome, _ := s.attempt(r, nil); outcome != noRoom {
		return outcome, nil
	}
	if s.account.closed.Load() {
		return Direct, ErrClosed
	}
	if timeout < 0 {
		s.account.manager.AskRelief()
		s.stats.blockTimeouts.Add(1)
		return Direct, ErrWriteBlocked
	}

	outcome := noRoom
	start := time.Now()
	s.stats.writersBlocked.Add(1)
	waiting := s.stats.parked.Add(1)
	var released func(time.Duration, int64, Outcome, error)
	if s.onBlocked != nil {
		released = s.onBlocked(r, waiting)
	}
	err := s.account.await(ctx, timeout, func(w *waiter) (ok bool, lacked *gate) {
		outcome, lacked = s.attempt(r, w)
		return outcome != noRoom, lacked
	})
	waiting = s.stats.parked.Add(-1)
	took := time.Since(start)
	s.stats.blockedTime.Add(int64(took))
	if err == ErrWriteBlocked {
		s.stats.blockTimeouts.Add(1)
	}
	if err != nil {
		outcome = Direct
	}
	if released != nil {
		released(took, waiting, outcome, err)
	}
	return outcome, err
}

const noRoom Outcome = -1

// attempt goes through the ways once. Without room it returns the gate of what is lacking.
func (s *SpilloverManager) attempt(r Request, w *waiter) (Outcome, *gate) {
	memory := &s.account.manager.gate
	if s.active.Load() {
		short := s.ShouldSpillOver(r.Memory)
		if !s.reserveSpill(r, w) {
			return noRoom, &s.gate
		}
		if short {
			s.stats.blocksAvoided.Add(1)
		}
		return Spilled, nil
	}
	if s.account.tryReserve(InFlight, r.Memory, Spill, false, w) {
		return Direct, nil
	}
	if r.Spill <= s.capacity.Load() && s.reserveSpill(r, w) {
		s.stats.blocksAvoided.Add(1)
		// Nobody parks from here on, yet replay waits until memory is back below the soft
		// limit: ask those who hold it.
		s.account.manager.AskRelief()
		return Spilled, nil
	}
	if s.account.tryReserve(InFlight, r.Memory, Block, true, w) {
		return Direct, nil
	}
	return noRoom, memory
}

// reserveSpill takes capacity, then memory for the index. It looks at both first and takes
// nothing unless both have room: a waiter that took and gave back in vain would wake the
// other waiters, which would do the same, for ever.
func (s *SpilloverManager) reserveSpill(r Request, w *waiter) bool {
	if s.account.closed.Load() || !s.gate.admits(w) || s.IsSpilloverFull(r.Spill, r.Index) {
		return false
	}
	for {
		used := s.usage.Load()
		if used > 0 && used > s.capacity.Load()-r.Spill {
			return false
		}
		if s.usage.CompareAndSwap(used, used+r.Spill) {
			break
		}
	}
	if !s.account.tryReserve(SpillIndex, r.Index, Block, true, w) {
		s.addUsage(-r.Spill)
		return false
	}
	return true
}

// Cancel gives back what Reserve reserved.
func (s *SpilloverManager) Cancel(r Request, o Outcome) {
	if o == Direct {
		s.account.Release(InFlight, r.Memory)
		return
	}
	s.addUsage(-r.Spill)
	s.account.Release(SpillIndex, r.Index)
}

// AdjustSpill corrects the spill's usage by delta bytes, once the size of what was
// reserved is known.
func (s *SpilloverManager) AdjustSpill(delta int64) { s.addUsage(delta) }

// ReleaseSpillover gives back what was replayed or dropped: bytes on disk, bytes of the
// in-memory index, and how many bytes of the former Badger has taken over, which is only
// counted.
func (s *SpilloverManager) ReleaseSpillover(spillBytes, indexBytes, recoveredBytes int64) {
	s.stats.bytesRecovered.Add(max(0, recoveredBytes))
	s.addUsage(-spillBytes)
	s.account.Release(SpillIndex, indexBytes)
}

// Force counts bytes in the spill, and of its index in memory, that are there already or
// must pass: recovery, hedges.
func (s *SpilloverManager) Force(spillBytes, indexBytes int64) {
	s.addUsage(spillBytes)
	s.account.Force(SpillIndex, indexBytes)
}

// addUsage never goes below 0; falling short is a bug of the caller and counted as a leak.
func (s *SpilloverManager) addUsage(delta int64) {
	for {
		used := s.usage.Load()
		after := max(0, used+delta)
		if !s.usage.CompareAndSwap(used, after) {
			continue
		}
		if used+delta < 0 && !s.account.closed.Load() {
			s.account.manager.leaks.Add(1)
		}
		break
	}
	if delta < 0 {
		s.account.manager.wake()
		if !s.throttle.slows(s.room()) {
			s.throttle.lookAgain()
		}
	}
}
