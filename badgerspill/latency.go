package badgerspill

import (
	"context"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// How the foreground's suffering is measured while the spill is being replayed.
const (
	// probeInterval is how often the monitor asks to be woken, to see how late that is.
	probeInterval = 5 * time.Millisecond
	// maxLate is as late as a probe is taken to be: no sample is worth more.
	maxLate = 10 * time.Second
	// probeIdle is how long it goes on after replay last asked.
	probeIdle = 5 * time.Second
	// readSampling: one point read in so many is timed. Two readings of the clock cost a tenth of a short one.
	readSampling = 8

	// What is acceptable at the 99th percentile on any machine. An idle one wakes a goroutine up to 1.1 ms late, since the
	// runtime's poller counts in milliseconds; a commit to the spill takes tens of microseconds, a read not much more.
	acceptableWake   = 3 * time.Millisecond
	acceptableCommit = 4 * time.Millisecond
	acceptableSync   = 10 * time.Millisecond // a commit with SyncWrites
	acceptableRead   = 4 * time.Millisecond
	// acceptableFactor is how much more than without replay is acceptable, on a machine that is slower than that for other
	// reasons: SyncWrites, a slow disk, the foreground itself, somebody else's processes.
	acceptableFactor = 2

	// calmShare is the share of its time up to which replay does not count: the latency then is that without it.
	calmShare = 0.125
	// What a machine does without replay is the median of the last looks at it, and no more than the median of the last
	// calmPatience at which replay worked next to nothing: only after half of those, 15 s, does the machine pass for slow. It
	// takes that long to tell its own slowness from a compaction that replay has caused. Medians, since where others use the
	// machine, too, a level means little by itself. After calmMemory what was seen is forgotten.
	calmLooks    = 5
	calmPatience = 120
	calmMemory   = 10 * time.Minute

	// minJudged is the number of samples from which on a percentile means something, maxJudge the time after which fewer
	// have to do, and for which a judgement holds.
	minJudged = 8
	maxJudge  = time.Second

	// presentOps: the foreground is there from so many operations on, older ones counting less and less (presentDecay a
	// look). Of a busy one no more than presentMost count, so that its end shows within two seconds.
	presentOps   = 4
	presentMost  = 32
	presentDecay = 0.75
)

// latencyMonitor measures what replay does to the foreground. Three things are looked at.
//
//   - Wake-ups: how late a goroutine is woken that is due, be it by a timer, or by the network for a request. This is where
//     replay and the compaction it causes hurt first: they have the cores. It is measured by being such a goroutine. The
//     runtime's own histogram (/sched/latencies) begins when a goroutine has become runnable, and what is due becomes that
//     only when a core has time to look: with 2 cores under compaction its 95th percentile was 1 to 15 ms where requests were
//     50 to 150 ms late, and that of a commit from the call to its answer 0.05 ms.
//   - Commits to the spill: where the disk is what is short, above all with SyncWrites.
//   - Point reads, sampled: likewise.
//
// Commits and reads are recorded by who makes them, at the cost of an atomic addition; the rest is done by the replayer's
// goroutine, four times a second while there is something to replay.
type latencyMonitor struct {
	now   func() int64
	ctx   context.Context
	spawn func(func())

	scans                 atomic.Int64
	wakes, commits, reads latencySignal

	probing    atomic.Bool
	probeUntil atomic.Int64

	present float64 // of the caller of strain
}

func newLatencyMonitor(ctx context.Context, syncWrites bool, now func() int64, spawn func(func())) *latencyMonitor {
	m := &latencyMonitor{
		now: now, ctx: ctx, spawn: spawn,
		wakes:   latencySignal{acceptable: acceptableWake},
		commits: latencySignal{acceptable: acceptableCommit},
		reads:   latencySignal{acceptable: acceptableRead},
	}
	if syncWrites {
		m.commits.acceptable = acceptableSync
	}
	return m
}

// commit records a commit that the spill took.
func (m *latencyMonitor) commit(d time.Duration) { m.commits.samples.add(d) }

// sampled tells whether a read is to be timed.
func (m *latencyMonitor) sampled() bool { return rand.Uint32()%readSampling == 0 }

// readSince records a read that began at begin.
func (m *latencyMonitor) readSince(begin int64) { m.reads.samples.add(time.Duration(m.now() - begin)) }

// scan counts an iterator: no latency, but somebody is there.
func (m *latencyMonitor) scan() { m.scans.Add(1) }

// strain is replay.Options.Strain: by how much the worst of the three is above what is acceptable, 1 being just so, and 0
// if there is no foreground. Only the replayer's goroutine calls it.
func (m *latencyMonitor) strain(share float64) float64 {
	m.keepProbing()
	now := m.now()
	ops := m.scans.Swap(0)
	signals := [...]*latencySignal{&m.wakes, &m.commits, &m.reads}
	for _, s := range signals {
		n := s.gather(now)
		switch s {
		case &m.commits:
			ops += n
		case &m.reads:
			ops += n * readSampling
		}
	}
	m.present = min(presentMost, m.present*presentDecay+float64(ops))
	there := m.present >= presentOps
	var worst float64
	for _, s := range signals {
		if there && share <= calmShare {
			s.learn(now, share > 0)
		}
		worst = max(worst, s.strain(now))
	}
	if !there {
		return 0
	}
	return worst
}

// keepProbing lets the probe run for a while.
func (m *latencyMonitor) keepProbing() {
	if m.ctx.Err() != nil {
		return
	}
	m.probeUntil.Store(m.now() + int64(probeIdle))
	if m.probing.CompareAndSwap(false, true) {
		m.spawn(m.probe)
	}
}

// probe asks to be woken again and again.
func (m *latencyMonitor) probe() {
	defer m.probing.Store(false)
	timer := time.NewTimer(probeInterval)
	defer timer.Stop()
	for begin := m.now(); begin < m.probeUntil.Load(); {
		select {
		case <-timer.C:
		case <-m.ctx.Done():
			return
		}
		woken := m.now()
		m.woken(time.Duration(woken-begin) - probeInterval)
		begin = woken
		timer.Reset(probeInterval)
	}
}

// woken records a probe that came so late. Those that would have been due meanwhile count, too: what comes from outside
// does not wait with its next request until the last one was served.
func (m *latencyMonitor) woken(late time.Duration) {
	late = min(late, maxLate)
	for m.wakes.samples.add(late); late > probeInterval; {
		late -= probeInterval
		m.wakes.samples.add(late)
	}
}

// latencySignal is one of the things measured. All but samples belongs to the caller of strain.
type latencySignal struct {
	samples    latencySamples
	acceptable time.Duration // on any machine

	gathered latencyCounts // samples that are not judged yet
	count    int64
	first    int64         // when the first of them came
	judged   int64         // when level was found, in nanoseconds of now
	level    time.Duration // 99th percentile of the last window
	fresh    bool          // found by the last gather

	// Levels without replay, the latest ones in rings: whenever it did not work, and when it might have.
	idle  [calmLooks]time.Duration
	idles int
	calm  [calmPatience]struct {
		level time.Duration
		at    int64
	}
	calms int
}

// gather takes what has come since the last call, judges it if it is enough, and returns how much came.
func (s *latencySignal) gather(now int64) int64 {
	n := s.samples.moveTo(&s.gathered)
	if s.count == 0 {
		s.first = now
	}
	s.count += n
	s.fresh = s.count >= minJudged || s.count > 0 && now-s.first >= int64(maxJudge)
	if s.fresh {
		s.level, s.judged = s.gathered.quantile(0.99, s.count), now
		s.gathered, s.count = latencyCounts{}, 0
	}
	return n
}

// learn takes the level for one without replay, during a run of replay or not.
func (s *latencySignal) learn(now int64, run bool) {
	if !s.fresh {
		return
	}
	s.idle[s.idles%len(s.idle)] = s.level
	s.idles++
	if run {
		c := &s.calm[s.calms%len(s.calm)]
		c.level, c.at = s.level, now
		s.calms++
	}
}

// without returns the level without replay, as far as it is known; 0 at first.
func (s *latencySignal) without(now int64) time.Duration {
	idle := s.idle
	known := idle[:min(s.idles, len(idle))]
	if len(known) == 0 {
		return 0
	}
	var calm [calmPatience]time.Duration
	for i, c := range s.calm {
		if c.level > 0 && now-c.at < int64(calmMemory) {
			calm[i] = c.level
		}
	}
	slices.Sort(known)
	slices.Sort(calm[:])
	return min(known[len(known)/2], calm[(len(calm)-1)/2])
}

// strain compares the level with what is acceptable.
func (s *latencySignal) strain(now int64) float64 {
	if s.level == 0 || now-s.judged > int64(maxJudge) {
		return 0
	}
	return float64(s.level) / float64(max(s.acceptable, acceptableFactor*s.without(now)))
}

// latencySamples is a histogram of durations with four buckets for each power of two, from a microsecond to 30 s. add may
// be called by many; it does not allocate.
type latencySamples [latencyBuckets]atomic.Uint32

type latencyCounts [latencyBuckets]uint32

const (
	latencyUnit    = 10 // bits of nanoseconds that are not told apart
	latencyBuckets = 25 * 4
)

func (l *latencySamples) add(d time.Duration) { l[latencyBucket(d)].Add(1) }

// moveTo adds the samples to c, forgets them, and returns how many there were.
func (l *latencySamples) moveTo(c *latencyCounts) (n int64) {
	for i := range l {
		if l[i].Load() > 0 {
			more := l[i].Swap(0)
			c[i] += more
			n += int64(more)
		}
	}
	return n
}

// quantile returns an upper bound, at most a quarter too high, of the q-th quantile of n samples.
func (c *latencyCounts) quantile(q float64, n int64) time.Duration {
	rank := int64(q*float64(n-1)) + 1
	for i, k := range c {
		if rank -= int64(k); rank <= 0 {
			return latencyTop(i)
		}
	}
	return latencyTop(latencyBuckets - 1)
}

func latencyBucket(d time.Duration) int {
	units := uint64(max(0, d)) >> latencyUnit
	if units < 4 {
		return int(units)
	}
	exp := bits.Len64(units) - 1
	return min(latencyBuckets-1, (exp-1)*4+int(units>>(exp-2)&3))
}

// latencyTop is the upper end of a bucket.
func latencyTop(i int) time.Duration {
	if i < 4 {
		return time.Duration(i+1) << latencyUnit
	}
	return time.Duration(4+i%4+1) << (i/4 - 1 + latencyUnit)
}
