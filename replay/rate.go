package replay

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of RateOptions.
const (
	// DefaultQuietWindow is how long the rate has to stay low.
	DefaultQuietWindow = time.Second
	// DefaultHalfLife is the age at which a write weighs half. A quarter of the quiet
	// window: a burst shows within a tick or two, a single large commit is forgotten in time.
	DefaultHalfLife = 250 * time.Millisecond
	// MinAutoQuietRate is the lowest automatic quiet rate in bytes per second.
	MinAutoQuietRate = 2 << 20
	// AssumedSustained is the rate in bytes per second that Badger is thought to sustain
	// before anything is known of it: modest for a machine with a solid-state disk. A lower
	// one would leave a service of a few MB/s on the spill for MaxSpillAge after its first
	// stall.
	AssumedSustained = 16 << 20

	// sustainedHalfLife is the time of observation in which half of the distance between a
	// former maximum and the present rate is forgotten: long against one compaction, short
	// against a change of load.
	sustainedHalfLife = 5 * time.Minute
	// maxObserved is how much time one observation stands for at most, so that hours
	// without any do not forget what was learned.
	maxObserved = 10 * time.Second
	// minSample is the shortest interval that is folded in; bytes of shorter ones wait.
	minSample = time.Millisecond
	// longSample is an interval that is long against any tick.
	longSample = 4 * maxTick
)

// RateOptions configures a RateDetector. A zero field, or one out of range, means its default.
type RateOptions struct {
	// QuietRate is the write rate in bytes per second below which it may be quiet. 0 means
	// half of the rate that Badger was seen to sustain (see ObserveSustained), and at least
	// 2 MiB/s; 8 MiB/s before it was seen.
	QuietRate float64
	// QuietWindow is how long the rate has to stay below.
	QuietWindow time.Duration
	// HalfLife is the age at which a write weighs half in the rate.
	HalfLife time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// RateDetector measures the write rate of a database and tells quiet from burst. All
// methods are safe for concurrent use and none blocks beyond a short mutex; Add is one
// atomic addition.
//
// The rate is an exponentially weighted moving average for irregular intervals: after an
// interval t with mean rate x it moves by 1 - 2^(-t/HalfLife) of the way to x (A. Eckner,
// "Algorithms for Unevenly Spaced Time Series: Moving Averages and Other Rolling
// Operators", the EMA with the next-point scheme). Intervals may differ in length without
// changing the result for a constant load.
type RateDetector struct {
	added atomic.Int64

	fixedQuiet float64
	window     time.Duration
	halfLife   time.Duration
	now        func() time.Time

	mu struct {
		sync.Mutex
		rate    float64
		sampled time.Time
		// below is since when the rate is known to be below the quiet rate; zero if it is not.
		below time.Time

		sustained  float64
		observedAt time.Time
	}
}

// NewRateDetector returns a detector at rate 0 that has seen nothing yet: it is not quiet
// before a whole QuietWindow was sampled.
func NewRateDetector(o RateOptions) *RateDetector {
	d := &RateDetector{window: o.QuietWindow, halfLife: o.HalfLife, now: o.Now}
	if o.QuietRate > 0 {
		d.fixedQuiet = o.QuietRate
	}
	if d.window <= 0 {
		d.window = DefaultQuietWindow
	}
	if d.halfLife <= 0 {
		d.halfLife = DefaultHalfLife
	}
	if d.now == nil {
		d.now = time.Now
	}
	d.mu.sampled = d.now()
	return d
}

// Add counts n bytes written now.
func (d *RateDetector) Add(n int64) { d.added.Add(n) }

// Sample folds what was added since the last call into the rate. The replayer calls it
// at each tick and between batches. After a long time without a sample the quiet window begins
// anew, also if nothing was written: what made the caller look may be the begin of a burst.
func (d *RateDetector) Sample() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sampleLocked(true)
}

func (d *RateDetector) sampleLocked(anew bool) {
	now := d.now()
	elapsed := now.Sub(d.mu.sampled)
	if elapsed < minSample {
		return
	}
	added, before, begun := d.added.Swap(0), d.mu.rate, d.mu.sampled
	mean := float64(added) / elapsed.Seconds()
	d.mu.rate += (1 - math.Exp2(-float64(elapsed)/float64(d.halfLife))) * (mean - d.mu.rate)
	d.mu.sampled = now

	switch {
	case d.mu.rate >= d.quietRateLocked():
		d.mu.below = time.Time{}
	case added == 0 && !anew: // the rate fell as it does, and nothing hides in between
		if d.mu.below.IsZero() {
			halves := math.Log2(max(1, before/d.quietRateLocked()))
			d.mu.below = begun.Add(time.Duration(halves * float64(d.halfLife)))
		}
	case d.mu.below.IsZero() || elapsed > max(2*d.window, longSample):
		// The mean of a long interval hides a burst at its end: begin to look now.
		d.mu.below = now
	}
}

// Rate returns the write rate in bytes per second. It samples; after an interval without
// samples it is close to that interval's mean.
func (d *RateDetector) Rate() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sampleLocked(false)
	return d.mu.rate
}

// Quiet tells whether the rate stayed below QuietRate for QuietWindow. It samples.
func (d *RateDetector) Quiet() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sampleLocked(false)
	return !d.mu.below.IsZero() && d.mu.sampled.Sub(d.mu.below) >= d.window
}

// Burst tells whether the rate is at or above QuietRate now. It samples.
func (d *RateDetector) Burst() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sampleLocked(false)
	return d.mu.rate >= d.quietRateLocked()
}

// QuietRate returns the bound in bytes per second, as configured or as learned.
func (d *RateDetector) QuietRate() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.quietRateLocked()
}

func (d *RateDetector) quietRateLocked() float64 {
	if d.fixedQuiet > 0 {
		return d.fixedQuiet
	}
	if d.mu.sustained == 0 {
		return AssumedSustained / 2
	}
	return max(MinAutoQuietRate, d.mu.sustained/2)
}

// ObserveSustained tells that Badger took writes at that rate, in bytes per second, as fast as
// it could and for longer than its memtables absorb them. The highest is kept and decays
// toward later ones. The replayer tells what its runs measure.
func (d *RateDetector) ObserveSustained(bytesPerSecond float64) {
	if !(bytesPerSecond > 0) || math.IsInf(bytesPerSecond, 1) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if bytesPerSecond >= d.mu.sustained {
		d.mu.sustained = bytesPerSecond
	} else {
		stood := min(maxObserved, max(0, now.Sub(d.mu.observedAt)))
		keep := math.Exp2(-float64(stood) / float64(sustainedHalfLife))
		d.mu.sustained = bytesPerSecond + (d.mu.sustained-bytesPerSecond)*keep
	}
	d.mu.observedAt = now
}

// ObserveAtLeast tells that Badger took writes at that rate, in bytes per second, while it could
// have taken more. It counts only if it is above what is known or, before anything is, assumed.
func (d *RateDetector) ObserveAtLeast(bytesPerSecond float64) {
	d.mu.Lock()
	known := d.mu.sustained
	d.mu.Unlock()
	if known == 0 {
		known = AssumedSustained
	}
	if bytesPerSecond > known {
		d.ObserveSustained(bytesPerSecond)
	}
}
