package replay

import (
	"sync/atomic"
	"time"
)

// How replay gives way.
const (
	// StrainInterval is how often Options.Strain is asked at most: long enough for a few dozen
	// operations of a modest foreground, short enough that it suffers for little more than a
	// second before replay is at its slowest.
	StrainInterval = 250 * time.Millisecond

	// minDuty is the least. Below it a run would hardly get anywhere, and the foreground would
	// not notice the difference.
	minDuty = 1.0 / 16
	// urgentDuty is the least beyond the high-water mark, and the most that SettleWithin asks for.
	urgentDuty = 0.25
	// minSettle is how soon a run that is late should be done.
	minSettle = time.Second
	// keepAhead is how much faster than the writes such a run stays, giving way or not: else
	// the spill would grow until it is full.
	keepAhead = 1.25

	// The duty halves while strain is above 1. It grows by half after dutyCalm without that: what
	// replay gives to Badger in calm moments makes the foreground suffer only seconds later, when
	// a memtable is flushed and compacted.
	dutyCalm   = 4 * time.Second
	dutyGrowth = 1.5

	// minBatchBytes is the least that a batch shrinks to for the foreground's sake. A batch is
	// a chunk of work that nobody gets between, ten milliseconds of one core. Badger's KVLoader
	// takes 1.7 MB of memory for each, however small it is: with 128 KiB that was a fifth of all
	// CPU of the quiet phase, and the foreground felt no difference.
	minBatchBytes = 512 << 10
	// minRest is the shortest pause: timers are not much more exact, and what is owed is kept.
	// maxRest is the longest: it sees the strain change four times.
	minRest = 2 * time.Millisecond
	maxRest = 4 * StrainInterval

	// ceilingSlice is the time whose share of the ceiling may be moved at once: the burst of
	// the token bucket, and the size of a batch under a low ceiling, but for
	// minCeilingBatch.
	ceilingSlice    = 100 * time.Millisecond
	minCeilingBatch = 64 << 10

	// speedWeight is the weight of the latest batch in the speed that replay has while it works.
	speedWeight = 0.1
)

// pacer decides how large a batch is and how long replay rests after it. There are two limits,
// and the stricter one counts.
//
// The foreground: the duty, the share of time that replay works, is halved while the strain is
// above 1 and grows slowly while it is not. So it settles below where the foreground suffers,
// whatever the machine. It is never less than gets the run done in time. A rest is as long as the
// work before it makes necessary, and batches shrink with the duty.
//
// The ceiling: a token bucket over the bytes that Badger got. A batch may overdraw it, and the
// next one waits until that is paid back, so the mean holds however large an entry is.
//
// Neither holds where room is what is needed: see yields. All fields but ceiling belong to the
// replaying goroutine.
type pacer struct {
	strain     func(share float64) float64
	rate       *RateDetector
	batchBytes int64
	ceiling    atomic.Int64

	duty   float64
	recent []float64     // the last strains, up to three
	looked time.Time     // when the last one was asked for
	worked time.Duration // since then
	alone  bool          // nobody was there then
	moved  time.Time     // when the duty was moved last, or the strain was above 1

	settle time.Duration // Options.SettleWithin
	begun  time.Time     // of the run
	due    float64       // the duty that gets it done within settle, at most urgentDuty

	owing time.Duration // work that no rest has followed yet
	ended time.Time     // of that work
	speed float64       // in bytes per second of work; 0 before the first batch

	tokens float64
	filled time.Time
}

func newPacer(o *Options) *pacer {
	p := &pacer{strain: o.Strain, rate: o.Rate, batchBytes: o.BatchBytes, settle: o.SettleWithin, duty: minDuty}
	if p.strain == nil {
		p.duty, p.alone = 1, true
	}
	p.ceiling.Store(max(0, o.MaxRate))
	return p
}

// yields tells whether a run for that reason gives way to the foreground and heeds the ceiling.
// Somebody waits for a full spill and for a drain, and nothing makes the foreground suffer more
// than writers that are blocked.
func yields(reason Reason) bool {
	switch reason {
	case ReasonQuiet, ReasonAge, ReasonHighWater, ReasonSlowed:
		return true
	}
	return false
}

// look asks for the strain if it is time, and moves the duty. It is called at each tick while
// data waits, too: what asks the foreground learns how it fares without replay.
func (p *pacer) look(now time.Time) {
	since := now.Sub(p.looked)
	if p.strain == nil || since < StrainInterval {
		return
	}
	share := min(1, p.worked.Seconds()/since.Seconds())
	p.looked, p.worked = now, 0
	strain := p.strain(share)
	if p.alone = !(strain > 0); p.alone {
		p.duty, p.recent = 1, p.recent[:0]
		return
	}
	switch strain := p.smooth(strain); {
	case strain > 1 && share == 0: // not for our sake
	case strain > 1:
		p.duty, p.moved = max(minDuty, p.duty/2), now
	case share > 0 && now.Sub(p.moved) >= dutyCalm:
		p.duty, p.moved = min(1, p.duty*dutyGrowth), now
	}
}

// smooth returns the middle one of the last three strains: one bad moment is none of replay's.
func (p *pacer) smooth(strain float64) float64 {
	if len(p.recent) == 3 {
		copy(p.recent, p.recent[1:])
		p.recent = p.recent[:2]
	}
	p.recent = append(p.recent, strain)
	if len(p.recent) < 3 {
		return strain
	}
	a, b, c := p.recent[0], p.recent[1], p.recent[2]
	return max(min(a, b), min(max(a, b), c))
}

// begin says that a run begins: gently, if somebody is there.
func (p *pacer) begin(now time.Time) {
	p.begun, p.moved = now, now
	if !p.alone {
		p.duty = minDuty
	}
}

// plan finds out what duty gets a run done in time that has so many bytes left. A long and even
// debt hurts less than a short and violent one, but it must end.
func (p *pacer) plan(left int64, now time.Time) {
	p.due = 0
	if p.speed > 0 {
		in := max(minSettle, p.settle-now.Sub(p.begun))
		p.due = min(urgentDuty, float64(left)/in.Seconds()/p.speed)
	}
}

// dutyFor returns the duty of a run for that reason.
func (p *pacer) dutyFor(reason Reason) float64 {
	switch {
	case !yields(reason) || reason == ReasonSlowed: // what makes those wait is the want of room
		return 1
	case reason == ReasonQuiet:
		return max(p.duty, p.due)
	}
	least := p.due
	if reason == ReasonHighWater {
		least = urgentDuty
	}
	if p.speed > 0 {
		least = max(least, keepAhead*p.rate.Rate()/p.speed)
	}
	return min(1, max(least, p.duty))
}

// size returns how large the next batch may be.
func (p *pacer) size(reason Reason) int64 {
	if !yields(reason) {
		return p.batchBytes
	}
	size := max(minBatchBytes, int64(p.dutyFor(reason)*float64(p.batchBytes)))
	if c := p.ceiling.Load(); c > 0 {
		size = min(size, max(minCeilingBatch, sliceOf(c)))
	}
	return min(size, p.batchBytes)
}

// sliceOf returns the ceiling's bytes in ceilingSlice.
func sliceOf(ceiling int64) int64 { return int64(float64(ceiling) * ceilingSlice.Seconds()) }

// accountWork accounts for work, of whatever kind, that began at begun.
func (p *pacer) accountWork(begun, now time.Time) {
	took := now.Sub(begun)
	p.worked += took
	p.owing += took
	p.ended = now
}

// accountBatch accounts for a batch beside accountWork: what it gave to Badger and how long that
// took. What is moved while nothing is heeded is on nobody's bill.
func (p *pacer) accountBatch(reason Reason, bytes int64, took time.Duration) {
	if yields(reason) {
		p.tokens -= float64(bytes)
	}
	if bytes > 0 && took > 0 {
		speed := float64(bytes) / took.Seconds()
		if p.speed == 0 {
			p.speed = speed
		}
		p.speed += speedWeight * (speed - p.speed)
	}
}

// rest returns how long the next batch has to wait. It may be called again at any time: the
// answer is that of the moment, so a knob that is turned holds at once.
func (p *pacer) rest(reason Reason, now time.Time) time.Duration {
	poor := p.fill(now)
	if !yields(reason) {
		p.owing, p.tokens = 0, max(0, p.tokens)
		return 0
	}
	duty := p.dutyFor(reason)
	due := min(maxRest, time.Duration(float64(p.owing)*(1-duty)/duty))
	left := due - now.Sub(p.ended)
	switch {
	case duty == 1:
		p.owing, left = 0, 0
	case due < minRest: // together with later work it will be worth a timer
		left = 0
	case left <= 0:
		p.owing = 0
	}
	return max(0, left, poor)
}

// fill adds the tokens of the time that has passed, and returns how long until there are some.
func (p *pacer) fill(now time.Time) time.Duration {
	since := now.Sub(p.filled)
	p.filled = now
	ceiling := p.ceiling.Load()
	if ceiling <= 0 {
		p.tokens = 0
		return 0
	}
	p.tokens = min(float64(sliceOf(ceiling)), p.tokens+float64(ceiling)*max(0, since.Seconds()))
	if p.tokens >= 0 {
		return 0
	}
	const forever = time.Hour // before it has passed somebody has asked again
	return time.Duration(min(float64(forever), 1+float64(time.Second)*-p.tokens/float64(ceiling)))
}
