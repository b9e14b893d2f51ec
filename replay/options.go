package replay

import "time"

// Defaults of Options.
const (
	// DefaultMaxSpillAge is the age at which data is replayed whatever the rate.
	DefaultMaxSpillAge = 30 * time.Second
	// DefaultHighWater is the share of the capacity from which on it is.
	DefaultHighWater = 0.5
	// DefaultBatchBytes is small enough that stopping takes one batch, milliseconds, and
	// large enough that a batch is not mostly overhead.
	DefaultBatchBytes = 1 << 20
	// DefaultSettleWithin has a burst of a gigabyte settled two minutes after it, compactions
	// included.
	DefaultSettleWithin = 90 * time.Second
	// DefaultCheckpointBytes bounds what is replayed twice after a crash, and how long
	// replayed files stay. A checkpoint syncs Badger, so it should not come often.
	DefaultCheckpointBytes = 64 << 20
	// DefaultBackoffMin and DefaultBackoffMax bound the delay after errors.
	DefaultBackoffMin = 100 * time.Millisecond
	DefaultBackoffMax = 30 * time.Second

	minTick = 10 * time.Millisecond
	maxTick = 100 * time.Millisecond
)

// Options configures a Replayer. A zero field, or one out of range, means its default.
type Options struct {
	// Log is the spill. Required.
	Log Log
	// Rate is fed with the writes of the database. Nil makes one of its own, on which
	// it is always quiet.
	Rate *RateDetector
	// Commits is another one, of commits: it is quiet if both are, a burst if either is. Nil makes
	// one on which it is always quiet.
	Commits *RateDetector
	// MaxSpillAge is the age of the oldest data at which a run starts whatever the rate.
	MaxSpillAge time.Duration
	// HighWater is the share of the spill's capacity, above 0 and at most 1, at which a run
	// starts whatever the rate.
	HighWater float64
	// BatchBytes is the size of one batch, CheckpointBytes how much is replayed between
	// two checkpoints of a run.
	BatchBytes, CheckpointBytes int64
	// Absorbed is how many bytes Badger may take in memory before it has to work for them: what
	// its memtables hold. What it sustains is measured beyond them. 0 or less: nothing.
	Absorbed int64
	// MaxRate is the ceiling in bytes per second for what a run gives to Badger on average, 0
	// or less for none. It does not hold while the spill is full, nor for Drain. It can be
	// changed later: SetMaxRate.
	MaxRate int64
	// Strain tells how much the foreground suffers now, compared with what is acceptable: 0 if
	// there is none, 1 at the limit, more beyond. Above 1 a run works a smaller share of its
	// time, in smaller batches, unless the spill is full or being drained. It is called by the
	// replaying goroutine while data waits, at most every StrainInterval; share, 0 to 1, is
	// the share of the time since the last call that replay worked. It must not block.
	// Nil: replay never gives way.
	Strain func(share float64) float64
	// SettleWithin is the time after which a run should be done although it gives way: it does not
	// go slower than that takes, as long as that is a quarter of the speed that replay can have.
	// The default is DefaultSettleWithin.
	SettleWithin time.Duration
	// BackoffMin is the delay after a first error; it doubles up to BackoffMax, until what has
	// failed succeeds: a chunk as a whole, a checkpoint, a hand-over.
	BackoffMin, BackoffMax time.Duration
	// Lasting tells of an error whether it will be the same when it is tried again: damage, for
	// instance. Then the replayer halts until Resume. It must not block. Nil: none is.
	Lasting func(error) bool
	// Tick is how often the triggers are looked at while data waits. The default is a tenth
	// of the rate's quiet window, within 10 to 100 ms.
	Tick time.Duration

	// OnBegin, OnProgress (after each batch) and OnEnd tell of a run; each begin has an
	// end. They and the next two are called by the replaying goroutine and should not block;
	// they may call Wake, State and Stats, but neither Drain nor Stop. Nil ones are skipped.
	OnBegin, OnProgress, OnEnd func(Run)
	// OnError tells of an operation that failed and when it is tried again; 0: not before Resume.
	OnError func(err error, retryIn time.Duration)
	// OnRecovered tells that what had failed has succeeded.
	OnRecovered func()
}

func (o Options) withDefaults() Options {
	if o.Rate == nil {
		o.Rate = NewRateDetector(RateOptions{})
	}
	if o.Commits == nil {
		o.Commits = NewRateDetector(RateOptions{QuietWindow: o.Rate.window, Now: o.Rate.now})
	}
	if o.MaxSpillAge <= 0 {
		o.MaxSpillAge = DefaultMaxSpillAge
	}
	if !(o.HighWater > 0 && o.HighWater <= 1) {
		o.HighWater = DefaultHighWater
	}
	if o.BatchBytes <= 0 {
		o.BatchBytes = DefaultBatchBytes
	}
	if o.CheckpointBytes <= 0 {
		o.CheckpointBytes = DefaultCheckpointBytes
	}
	if o.SettleWithin <= 0 {
		o.SettleWithin = DefaultSettleWithin
	}
	o.Absorbed = max(0, o.Absorbed)
	if o.BackoffMin <= 0 {
		o.BackoffMin = DefaultBackoffMin
	}
	if o.BackoffMax <= 0 {
		o.BackoffMax = DefaultBackoffMax
	}
	o.BackoffMax = max(o.BackoffMin, o.BackoffMax)
	if o.Tick <= 0 {
		o.Tick = min(maxTick, max(minTick, o.Rate.window/10))
	}
	if o.OnBegin == nil {
		o.OnBegin = func(Run) {}
	}
	if o.OnProgress == nil {
		o.OnProgress = func(Run) {}
	}
	if o.OnEnd == nil {
		o.OnEnd = func(Run) {}
	}
	if o.OnError == nil {
		o.OnError = func(error, time.Duration) {}
	}
	if o.OnRecovered == nil {
		o.OnRecovered = func() {}
	}
	if o.Lasting == nil {
		o.Lasting = func(error) bool { return false }
	}
	return o
}
