package wbm

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// WriteBufferManager holds one memory budget for one or several databases, as the class of that
// name in RocksDB does. All methods are safe for concurrent use and none blocks.
//
// The counters are atomics; the mutex is taken only when the tier changes, an account
// comes or goes, or somebody waits. Bytes are added to the manager before the account and
// taken from the account before the manager, so that the manager never shows less than
// the sum of its accounts.
type WriteBufferManager struct {
	// Read by every commit, written rarely.
	limits  atomic.Pointer[limits]
	recheck time.Duration
	waiters atomic.Int64
	// gate holds the claim of a waiter that was starved of memory.
	gate     gate
	accounts atomic.Pointer[[]*Account]

	_ [cacheLine]byte
	// Written by every commit.
	usage atomic.Int64
	kinds [numKinds]atomic.Int64
	_     [cacheLine]byte

	leaks   atomic.Int64
	entered [Block + 1]atomic.Int64

	mu struct {
		sync.Mutex
		// tier is the one that was announced last; queue holds the changes that are not
		// delivered yet. Only the goroutine that set notifying delivers, with the mutex
		// released: callbacks come one at a time, in order, and under no lock.
		tier      Tier
		since     time.Time                // of that
		spent     [Block + 1]time.Duration // in each tier before
		queue     []tierChange
		notifying bool
		// first and last are the parked waiters in the order in which they came.
		first, last *waiter
	}
}

// cacheLine keeps what is written by every commit apart from what is only read.
const cacheLine = 64

type tierChange struct{ old, new Tier }

// New returns a manager with an empty budget. The error matches ErrInvalidOption and
// names the field, its value and the bound.
func New(o Options) (*WriteBufferManager, error) {
	l, err := newLimits(o.Limit, o.SoftRatio, o.SpillRatio)
	if err != nil {
		return nil, err
	}
	if o.RecheckInterval == 0 {
		o.RecheckInterval = DefaultRecheckInterval
	}
	if o.RecheckInterval < 0 {
		return nil, fmt.Errorf("%w: RecheckInterval is %v, must be above 0, or 0 for %v",
			ErrInvalidOption, o.RecheckInterval, DefaultRecheckInterval)
	}
	m := &WriteBufferManager{recheck: o.RecheckInterval}
	m.limits.Store(l)
	m.accounts.Store(&[]*Account{})
	m.mu.since = time.Now()
	return m, nil
}

// Limit returns the budget in bytes.
func (m *WriteBufferManager) Limit() int64 { return m.limits.Load().limit }

// SoftLimit returns the usage in bytes at which the Flush tier begins.
func (m *WriteBufferManager) SoftLimit() int64 { return m.limits.Load().soft }

// SpillLimit returns the usage in bytes at which the Spill tier begins.
func (m *WriteBufferManager) SpillLimit() int64 { return m.limits.Load().spill }

// Ratios returns the shares of Limit at which the tiers Flush and Spill begin.
func (m *WriteBufferManager) Ratios() (soft, spill float64) {
	l := m.limits.Load()
	return l.softRatio, l.spillRatio
}

// Usage returns the bytes that count toward the budget, over all accounts. It may pass
// Limit: by Force, and by a batch larger than the budget.
func (m *WriteBufferManager) Usage() int64 { return m.usage.Load() }

// UsageByKind returns the bytes of one kind over all accounts, 0 for an unknown kind.
func (m *WriteBufferManager) UsageByKind(k Kind) int64 {
	if k < 0 || k >= numKinds {
		return 0
	}
	return m.kinds[k].Load()
}

// Tier returns the tier of the present usage. It is Block when usage is at or above Limit.
func (m *WriteBufferManager) Tier() Tier { return m.limits.Load().tier(m.usage.Load()) }

// TierEntered returns how often each tier was entered, indexed by Tier. Flips that
// concurrent calls cancel out before they are announced are not seen.
func (m *WriteBufferManager) TierEntered() [4]int64 {
	var n [4]int64
	for i := range n {
		n[i] = m.entered[i].Load()
	}
	return n
}

// TierTime returns how long each tier has lasted in all, indexed by Tier, since the manager was
// made, the present one up to now. It may be as late as the announcement of a tier is.
func (m *WriteBufferManager) TierTime() [4]time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	spent := m.mu.spent
	spent[m.mu.tier] += time.Since(m.mu.since)
	return spent
}

// Leaks returns how many calls released, or moved, more than was held, or passed a size
// below 0 or above 2^60 or an unknown kind. Anything but 0 is a bug of the caller; usage is
// clamped at 0.
func (m *WriteBufferManager) Leaks() int64 { return m.leaks.Load() }

// AccountUsage is the share of one database at one moment. Sizes are in bytes.
type AccountUsage struct {
	Name       string // of its Holder
	Usage      int64  // the sum of the three that follow
	InFlight   int64  // in commits on their way to Badger
	Memtable   int64  // in Badger's memtables and not in an SSTable yet
	SpillIndex int64  // in the in-memory index of the spill
	// Pinned is not part of Usage.
	Pinned int64
}

// Accounts returns the share of each open account, in the order of registration.
func (m *WriteBufferManager) Accounts() []AccountUsage {
	accounts := *m.accounts.Load()
	all := make([]AccountUsage, 0, len(accounts))
	for _, a := range accounts {
		u := AccountUsage{
			Name:       a.holder.Name,
			InFlight:   a.kinds[InFlight].Load(),
			Memtable:   a.kinds[Memtable].Load(),
			SpillIndex: a.kinds[SpillIndex].Load(),
			Pinned:     a.pinned.Load(),
		}
		u.Usage = u.InFlight + u.Memtable + u.SpillIndex
		all = append(all, u)
	}
	return all
}

// SetLimit changes the budget, in bytes, keeping the ratios. Usage above a lower limit
// stays and keeps new reservations out until enough is released; the biggest holder is asked
// for relief. A batch that is larger than the new limit passes alone, as always. A higher limit
// wakes who waits. The holders are told (Holder.OnLimits) before it returns. It does not wait for
// usage. The error matches ErrInvalidOption.
func (m *WriteBufferManager) SetLimit(limit int64) error {
	return m.change(func(l *limits) (*limits, error) { return newLimits(limit, l.softRatio, l.spillRatio) })
}

// SetRatios changes the shares at which the tiers begin, keeping the limit; 0 means the
// default. Otherwise it is as SetLimit.
func (m *WriteBufferManager) SetRatios(soft, spill float64) error {
	return m.change(func(l *limits) (*limits, error) { return newLimits(l.limit, soft, spill) })
}

func (m *WriteBufferManager) change(f func(*limits) (*limits, error)) error {
	for {
		old := m.limits.Load()
		l, err := f(old)
		if err != nil {
			return err
		}
		if m.limits.CompareAndSwap(old, l) {
			break
		}
	}
	m.announce()
	m.wake()
	for _, a := range *m.accounts.Load() {
		if a.holder.OnLimits != nil && !a.closed.Load() {
			a.holder.OnLimits()
		}
	}
	return nil
}

// Holder describes a database to the manager.
type Holder struct {
	// Name tells accounts apart in statistics.
	Name string
	// Relieve asks the database to free memory: it starts an asynchronous flush. It runs on the
	// goroutine of whoever needs the room, of any database, as often as every re-check of every
	// waiter. So it must be cheap, must not block and must not wait for a lock that may be held
	// over a call into this package. It may run concurrently, and once more after Close of the
	// account has returned. Nil: nothing can be freed.
	Relieve func()
	// OnTier is told of each change of the manager's tier, in order, one call at a time,
	// with no lock of this package held. It must not block. A call may still be running
	// when Close of the account returns. May be nil.
	OnTier func(old, new Tier)
	// OnLimits is told, after SetLimit and SetRatios, that the limit or a ratio may have
	// changed; which they are now the manager says. It runs on the goroutine of that call, with no
	// lock of this package held, possibly several times at once, and once more after Close of the
	// account has returned. It must not block. May be nil.
	OnLimits func()
}

// Register opens an account. It has to be closed.
func (m *WriteBufferManager) Register(h Holder) *Account {
	a := &Account{manager: m, holder: h}
	m.mu.Lock()
	defer m.mu.Unlock()
	accounts := append(slices.Clone(*m.accounts.Load()), a)
	m.accounts.Store(&accounts)
	return a
}

func (m *WriteBufferManager) unregister(a *Account) {
	m.mu.Lock()
	defer m.mu.Unlock()
	accounts := slices.DeleteFunc(slices.Clone(*m.accounts.Load()), func(b *Account) bool { return a == b })
	m.accounts.Store(&accounts)
}

// moved is called after each change of usage. The limits are loaded after the change:
// either this sees new limits, or the change of limits sees the new usage.
func (m *WriteBufferManager) moved(before, after int64) {
	l := m.limits.Load()
	if l.tier(before) != l.tier(after) {
		m.announce()
	}
}

// announce queues a change of tier and delivers what is queued. Whoever moves usage over a
// limit comes here after the move, so the last one to come sees the final usage.
func (m *WriteBufferManager) announce() {
	m.mu.Lock()
	if now := m.Tier(); now != m.mu.tier {
		m.mu.queue = append(m.mu.queue, tierChange{old: m.mu.tier, new: now})
		at := time.Now()
		m.mu.spent[m.mu.tier] += at.Sub(m.mu.since)
		m.mu.tier, m.mu.since = now, at
		m.entered[now].Add(1)
	}
	if m.mu.notifying {
		m.mu.Unlock()
		return
	}
	m.mu.notifying = true
	for len(m.mu.queue) > 0 {
		queue := m.mu.queue
		m.mu.queue = nil
		m.mu.Unlock()
		for _, c := range queue {
			m.deliver(c)
		}
		m.mu.Lock()
	}
	m.mu.notifying = false
	m.mu.Unlock()
}

func (m *WriteBufferManager) deliver(c tierChange) {
	for _, a := range *m.accounts.Load() {
		if a.holder.OnTier != nil && !a.closed.Load() {
			a.holder.OnTier(c.old, c.new)
		}
	}
	// Each step up asks again: the holder that was the biggest at the soft limit may have
	// given all it had, while an idle one keeps the rest.
	if c.new > c.old {
		m.AskRelief()
	}
}

// AskRelief asks the account with the largest usage to free memory. Call it where work
// is put off because memory is short without anybody being parked.
func (m *WriteBufferManager) AskRelief() {
	if a := m.biggest(); a != nil {
		a.holder.Relieve()
	}
}

func (m *WriteBufferManager) biggest() *Account {
	var biggest *Account
	most := int64(-1)
	for _, a := range *m.accounts.Load() {
		if a.holder.Relieve == nil || a.closed.Load() {
			continue
		}
		if u := a.Usage(); u > most {
			biggest, most = a, u
		}
	}
	return biggest
}

// askReliefAgain is AskRelief for a wait that was re-checked that often already: it also
// asks one other holder, each in its turn.
func (m *WriteBufferManager) askReliefAgain(rechecks int) {
	biggest := m.biggest()
	if biggest == nil {
		return
	}
	biggest.holder.Relieve()
	if rechecks < 3 {
		return
	}
	accounts := *m.accounts.Load()
	if len(accounts) == 0 {
		return
	}
	other := accounts[rechecks%len(accounts)]
	if other != biggest && other.holder.Relieve != nil {
		other.holder.Relieve()
	}
}
