package wbm

import (
	"fmt"
	"math"
	"time"
)

// Tier is how full the budget is.
type Tier int32

// The tiers, from an empty budget to a full one.
const (
	// Normal is below the soft limit.
	Normal Tier = iota
	// Flush is from the soft limit on: memory is being freed in the background.
	Flush
	// Spill is from the spill limit on: commits go to the spill.
	Spill
	// Block is the whole limit: a write that the spill does not take waits.
	Block
)

// String returns the tier's name in lower case.
func (t Tier) String() string {
	switch t {
	case Normal:
		return "normal"
	case Flush:
		return "flush"
	case Spill:
		return "spill"
	case Block:
		return "block"
	default:
		return fmt.Sprintf("tier(%d)", int32(t))
	}
}

// Kind is what a byte of the budget is used for.
type Kind int

// The kinds of memory. Each byte is of one kind at a time; Transfer moves it on.
const (
	// InFlight is held by commits on their way to Badger.
	InFlight Kind = iota
	// Memtable is in Badger's memtables and not in an SSTable yet.
	Memtable
	// SpillIndex is the in-memory index of the spill.
	SpillIndex

	numKinds = 3
)

// String returns the kind's name in lower case.
func (k Kind) String() string {
	switch k {
	case InFlight:
		return "in-flight"
	case Memtable:
		return "memtable"
	case SpillIndex:
		return "spill-index"
	default:
		return fmt.Sprintf("kind(%d)", int(k))
	}
}

const (
	// DefaultSoftRatio is the share of the limit at which the Flush tier begins.
	DefaultSoftRatio = 0.80
	// DefaultSpillRatio is the share of the limit at which the Spill tier begins.
	DefaultSpillRatio = 0.90
	// DefaultRecheckInterval is how often a parked writer looks again unasked. It bounds
	// what a missed wake-up costs; a parked writer costs 20 short wake-ups a second.
	DefaultRecheckInterval = 50 * time.Millisecond

	// maxLimit keeps the sum of a usage and a request far from overflow.
	maxLimit = 1 << 60
)

// Options configures a WriteBufferManager.
type Options struct {
	// Limit is the budget in bytes, 1 to 2^60.
	Limit int64
	// SoftRatio and SpillRatio are the shares of Limit at which the tiers Flush and Spill
	// begin; 0 means 0.80 and 0.90. 0 < SoftRatio <= SpillRatio <= 1.
	SoftRatio, SpillRatio float64
	// RecheckInterval is how often a parked writer looks again without being woken; 0
	// means 50 ms.
	RecheckInterval time.Duration
}

// limits is immutable; a change of the budget replaces it as a whole, so that no reader
// sees the soft limit of one budget beside the limit of another.
type limits struct {
	limit, soft, spill    int64
	softRatio, spillRatio float64
}

func newLimits(limit int64, softRatio, spillRatio float64) (*limits, error) {
	if softRatio == 0 {
		softRatio = DefaultSoftRatio
	}
	if spillRatio == 0 {
		spillRatio = DefaultSpillRatio
	}
	// Negated comparisons, so that NaN is refused too.
	if limit <= 0 || limit > maxLimit {
		return nil, fmt.Errorf("%w: Limit is %d bytes, must be 1 to %d", ErrInvalidOption, limit, int64(maxLimit))
	}
	if !(softRatio > 0 && softRatio <= 1) {
		return nil, fmt.Errorf("%w: SoftRatio is %v, must be above 0 and at most 1", ErrInvalidOption, softRatio)
	}
	if !(spillRatio > 0 && spillRatio <= 1) {
		return nil, fmt.Errorf("%w: SpillRatio is %v, must be above 0 and at most 1", ErrInvalidOption, spillRatio)
	}
	if softRatio > spillRatio {
		return nil, fmt.Errorf("%w: SoftRatio is %v, must be at most SpillRatio, which is %v",
			ErrInvalidOption, softRatio, spillRatio)
	}
	return &limits{
		limit: limit, soft: share(limit, softRatio), spill: share(limit, spillRatio),
		softRatio: softRatio, spillRatio: spillRatio,
	}, nil
}

// share is at least 1, so that an empty budget is always Normal.
func share(limit int64, ratio float64) int64 {
	return min(limit, max(1, int64(math.Round(float64(limit)*ratio))))
}

func (l *limits) tier(usage int64) Tier {
	switch {
	case usage < l.soft:
		return Normal
	case usage < l.spill:
		return Flush
	case usage < l.limit:
		return Spill
	default:
		return Block
	}
}

// ceiling is the usage that a reservation with that ceiling may reach.
func (l *limits) ceiling(t Tier) int64 {
	switch {
	case t <= Flush:
		return l.soft
	case t == Spill:
		return l.spill
	default:
		return l.limit
	}
}
