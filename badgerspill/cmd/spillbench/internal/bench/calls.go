package bench

import (
	"slices"
	"sync/atomic"
	"time"
)

// callLog keeps how long each call of writers took, from call to return.
type callLog struct{ writers []*[]time.Duration }

// around returns a maker of writers that are watched. It is called from one goroutine.
func (l *callLog) around(newWriter func() func(key, value []byte) error) func() func(key, value []byte) error {
	return func() func(key, value []byte) error {
		write, took := newWriter(), new([]time.Duration)
		l.writers = append(l.writers, took)
		return func(key, value []byte) error {
			begin := time.Now()
			err := write(key, value)
			*took = append(*took, time.Since(begin))
			return err
		}
	}
}

// sorted returns the times of all calls. No writer may be at work.
func (l *callLog) sorted() []time.Duration {
	var all []time.Duration
	for _, took := range l.writers {
		all = append(all, *took...)
	}
	slices.Sort(all)
	return all
}

// rounds has the figures of equal rounds. Their medians count, so that what else the machine does
// in one of them does not.
type rounds struct{ p50, p99, rates []*float64 }

// add takes the times of the calls of a round, sorted, and how many there were a second.
func (r *rounds) add(sorted []time.Duration, rate float64) {
	p50, p99 := quantile(sorted, 0.5).Seconds(), quantile(sorted, 0.99).Seconds()
	r.p50, r.p99, r.rates = append(r.p50, &p50), append(r.p99, &p99), append(r.rates, &rate)
}

// secondLog counts the calls of writers by the second, since it was made, in which they returned.
type secondLog struct {
	begin  time.Time
	counts []atomic.Int64
}

// newSecondLog counts for the whole seconds of d, which must be one at least.
func newSecondLog(d time.Duration) *secondLog {
	return &secondLog{begin: time.Now(), counts: make([]atomic.Int64, d/time.Second)}
}

// around returns a maker of writers that are watched.
func (l *secondLog) around(newWriter func() func(key, value []byte) error) func() func(key, value []byte) error {
	return func() func(key, value []byte) error {
		write := newWriter()
		return func(key, value []byte) error {
			err := write(key, value)
			if at := int(time.Since(l.begin) / time.Second); at < len(l.counts) {
				l.counts[at].Add(1)
			}
			return err
		}
	}
}

// worst returns the fewest calls in a second, and the median.
func (l *secondLog) worst() (worst, middle float64) {
	var counts []*float64
	for i := range l.counts {
		n := float64(l.counts[i].Load())
		if counts = append(counts, &n); i == 0 || n < worst {
			worst = n
		}
	}
	return worst, *median(counts)
}
