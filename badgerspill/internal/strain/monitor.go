package strain

import (
	"context"
	"math/rand/v2"
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
	// readSampling: one point read in so many is timed. Two readings of the clock cost a tenth of a
	// short one.
	readSampling = 8

	// What is acceptable at the 99th percentile on any machine. An idle one wakes a goroutine up to
	// 1.1 ms late, since the runtime's poller counts in milliseconds; a commit to the spill takes
	// tens of microseconds, a read not much more.
	acceptableWake   = 3 * time.Millisecond
	acceptableCommit = 4 * time.Millisecond
	acceptableSync   = 10 * time.Millisecond // a commit with SyncWrites
	acceptableRead   = 4 * time.Millisecond
	// acceptableFactor is how much more than without replay is acceptable, on a machine that is
	// slower than that for other reasons: SyncWrites, a slow disk, the foreground itself, somebody
	// else's processes.
	acceptableFactor = 2

	// calmShare is the share of its time up to which replay does not count: the latency then is
	// that without it.
	calmShare = 0.125
	// What a machine does without replay is the median of the last looks at it. It is no more than
	// the median of the last calmPatience at which replay worked next to nothing: only after half
	// of those, 15 s, does the machine pass for slow. It takes that long to tell its own slowness
	// from a compaction that replay has caused. Medians, since where others use the machine, too, a
	// level means little by itself. After calmMemory what was seen is forgotten.
	calmLooks    = 5
	calmPatience = 120
	calmMemory   = 10 * time.Minute

	// minJudged is the number of samples from which on a percentile means something, maxJudge the
	// time after which fewer have to do, and for which a judgement holds.
	minJudged = 8
	maxJudge  = time.Second

	// presentOps: the foreground is there from so many operations on, older ones counting less and
	// less (presentDecay a look). Of a busy one no more than presentMost count, so that its end
	// shows within two seconds.
	presentOps   = 4
	presentMost  = 32
	presentDecay = 0.75
)

// Monitor measures what replay does to the foreground. Three things are looked at.
//
//   - Wake-ups: how late a goroutine is woken that is due, be it by a timer, or by the network for
//     a request. This is where replay and the compaction it causes hurt first: they have the cores.
//     It is measured by being such a goroutine. The runtime's own histogram (/sched/latencies)
//     begins when a goroutine has become runnable, and what is due becomes that only when a core
//     has time to look. With 2 cores under compaction its 95th percentile was 1 to 15 ms where
//     requests were 50 to 150 ms late. That of a commit from the call to its answer was 0.05 ms.
//   - Commits to the spill: where the disk is what is short, above all with SyncWrites.
//   - Point reads, sampled: likewise.
//
// Commits and reads are recorded by who makes them, at the cost of an atomic addition; the rest is
// done by the replayer's goroutine, four times a second while there is something to replay.
type Monitor struct {
	now   func() int64
	ctx   context.Context
	spawn func(func())

	scans                 atomic.Int64
	wakes, commits, reads signal

	probing    atomic.Bool
	probeUntil atomic.Int64

	present float64 // of the caller of Strain
}

// New returns a monitor. now is a clock in nanoseconds; spawn starts the probe, a goroutine that
// ends with ctx.
func New(ctx context.Context, syncWrites bool, now func() int64, spawn func(func())) *Monitor {
	m := &Monitor{
		now: now, ctx: ctx, spawn: spawn,
		wakes:   signal{acceptable: acceptableWake},
		commits: signal{acceptable: acceptableCommit},
		reads:   signal{acceptable: acceptableRead},
	}
	if syncWrites {
		m.commits.acceptable = acceptableSync
	}
	return m
}

// Commit records a commit that the spill took.
func (m *Monitor) Commit(d time.Duration) { m.commits.samples.add(d) }

// Sampled tells whether a read is to be timed.
func (m *Monitor) Sampled() bool { return rand.Uint32()%readSampling == 0 }

// ReadSince records a read that began at begin.
func (m *Monitor) ReadSince(begin int64) { m.reads.samples.add(time.Duration(m.now() - begin)) }

// Scan counts an iterator: no latency, but somebody is there.
func (m *Monitor) Scan() { m.scans.Add(1) }

// Strain is replay.Options.Strain: by how much the worst of the three is above what is acceptable,
// 1 being just so, and 0 if there is no foreground. Only the replayer's goroutine calls it.
func (m *Monitor) Strain(share float64) float64 {
	m.keepProbing()
	now := m.now()
	ops := m.scans.Swap(0)
	signals := [...]*signal{&m.wakes, &m.commits, &m.reads}
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

// Recorded returns how many commits, sampled reads and scans Strain has not looked at yet. It is
// for tests.
func (m *Monitor) Recorded() (commits, reads, scans int64) {
	return m.commits.samples.total(), m.reads.samples.total(), m.scans.Load()
}

// keepProbing lets the probe run for a while.
func (m *Monitor) keepProbing() {
	if m.ctx.Err() != nil {
		return
	}
	m.probeUntil.Store(m.now() + int64(probeIdle))
	if m.probing.CompareAndSwap(false, true) {
		m.spawn(m.probe)
	}
}

// probe asks to be woken again and again.
func (m *Monitor) probe() {
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

// woken records a probe that came so late. Those that would have been due meanwhile count, too:
// what comes from outside does not wait with its next request until the last one was served.
func (m *Monitor) woken(late time.Duration) {
	late = min(late, maxLate)
	for m.wakes.samples.add(late); late > probeInterval; {
		late -= probeInterval
		m.wakes.samples.add(late)
	}
}
