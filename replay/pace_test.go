//go:build go1.25

package replay

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// sufferer is a foreground that says what it is told to say.
type sufferer struct {
	mu     sync.Mutex
	strain float64
	asked  []time.Time
	shares []float64
}

func (s *sufferer) Strain(share float64) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.shares = append(s.asked, time.Now()), append(s.shares, share)
	return s.strain
}

func (s *sufferer) set(strain float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strain, s.asked, s.shares = strain, nil, nil
}

func (s *sufferer) seen() (asked []time.Time, shares []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked), slices.Clone(s.shares)
}

const testSpeed = 64 * mib // of Badger, in bytes per second

// newPaced is a large spill that is replayed because it is quiet, 1.1 s after the start.
func newPaced(t *testing.T, o Options) (*fakeLog, *Replayer) {
	l := newFakeLog(1 << 40)
	l.capacity, l.oldest = 1<<50, time.Time{}
	l.batchTime, l.speed = 0, testSpeed
	if o.SettleWithin == 0 { // else how large it is would count
		o.SettleWithin = 1000 * time.Hour
	}
	r, _ := newTest(t, l, o)
	return l, r
}

// throughputOf returns the bytes per second that go to Badger in the next d.
func throughputOf(l *fakeLog, d time.Duration) float64 {
	before := l.pending()
	time.Sleep(d)
	return float64(before-l.pending()) / d.Seconds()
}

func TestDutyFollowsStrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sufferer{strain: 0.75}
		l, r := newPaced(t, Options{Strain: s.Strain})
		time.Sleep(3 * time.Second)
		require.EqualValues(t, minDuty, r.Stats().Duty, "it begins gently")
		time.Sleep(7 * dutyCalm)
		require.EqualValues(t, 1, r.Stats().Duty)
		require.InDelta(t, testSpeed, throughputOf(l, 10*time.Second), 0.01*testSpeed)
		require.EqualValues(t, DefaultBatchBytes, l.asked[len(l.asked)-1])
		paused := r.Stats().PausedTime

		s.set(1.5)
		time.Sleep(5*StrainInterval + 2*tick)
		require.Equal(t, minDuty, r.Stats().Duty, "four halvings, and a look that counts for nothing")
		l.set(func() { l.asked = nil })
		require.InDelta(t, testSpeed*minDuty, throughputOf(l, 10*time.Second), 0.03*testSpeed*minDuty)
		require.EqualValues(t, minBatchBytes, slices.Max(l.asked))
		require.EqualValues(t, minBatchBytes, slices.Min(l.asked))
		require.InDelta(t, 10*(1-minDuty), (r.Stats().PausedTime - paused).Seconds(), 1.5)

		s.set(0.75)
		time.Sleep(dutyCalm / 2)
		require.Equal(t, minDuty, r.Stats().Duty, "what was given is not compacted yet")
		time.Sleep(dutyCalm)
		require.Equal(t, minDuty*dutyGrowth, r.Stats().Duty)
		time.Sleep(7 * dutyCalm)
		require.EqualValues(t, 1, r.Stats().Duty)
		s.set(2)
		time.Sleep(5 * StrainInterval)
		require.Equal(t, minDuty, r.Stats().Duty)
		s.set(0)
		time.Sleep(StrainInterval + 2*tick)
		require.EqualValues(t, 1, r.Stats().Duty, "nobody is there")
		require.InDelta(t, testSpeed, throughputOf(l, 10*time.Second), 0.01*testSpeed)
		r.Stop()
	})
}

// A foreground that begins to suffer at a share of 30 %: replay settles below that, and not far
// below.
func TestDutySettlesWhereTheForegroundSuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newPaced(t, Options{Strain: func(share float64) float64 { return share / 0.3 }})
		time.Sleep(time.Minute)
		got := throughputOf(l, 10*time.Minute) / testSpeed
		require.Greater(t, got, 0.15)
		require.Less(t, got, 0.3)
		r.Stop()
	})
}

func TestStrainIsAskedWhileDataWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sufferer{strain: 5}
		l := newFakeLog(0)
		l.oldest, l.batchTime, l.speed = time.Time{}, 0, testSpeed
		rate := NewRateDetector(RateOptions{QuietRate: 1000})
		r, _ := newTest(t, l, Options{Rate: rate, Strain: s.Strain})
		time.Sleep(time.Hour)
		asked, _ := s.seen()
		require.LessOrEqual(t, len(asked), 1, "not while the spill is empty")

		stop := burst(rate)
		time.Sleep(time.Second)
		s.set(5)
		l.set(func() { l.bytes = 1 << 40; l.capacity = 1 << 50 })
		r.Wake()
		time.Sleep(10 * time.Second)
		asked, shares := s.seen()
		require.InDelta(t, 10*time.Second/(3*tick), len(asked), 2)
		require.Zero(t, slices.Max(shares))
		require.Equal(t, minDuty, r.pacer.duty, "what it suffers without replay is not for replay to mend")

		stop()
		s.set(0.9)
		time.Sleep(20 * time.Second)
		s.set(0)
		time.Sleep(10 * time.Second)
		asked, shares = s.seen()
		for i := range asked[1:] {
			require.GreaterOrEqual(t, asked[i+1].Sub(asked[i]), StrainInterval)
		}
		require.InDelta(t, 10*time.Second/StrainInterval, len(asked), 4)
		for _, share := range shares[3:] {
			require.InDelta(t, 1, share, 0.1)
		}
		r.Stop()
	})
}

func TestRunsThatDoNotYield(t *testing.T) {
	for _, row := range []struct {
		name    string
		prepare func(l *fakeLog)
		writes  float64 // share of Badger's speed
		drain   bool
		share   float64 // of Badger's speed, that replay goes at
	}{
		{"quiet: to the least", func(*fakeLog) {}, 0, false, minDuty},
		{"too old: as quiet", func(l *fakeLog) { l.oldest = time.Now().Add(-time.Hour) }, 0, false, minDuty},
		{"too old, writes at 0.6: ahead of them", func(l *fakeLog) { l.oldest = time.Now().Add(-time.Hour) }, 0.6, false, 0.75},
		{"high water: not below a quarter", func(l *fakeLog) { l.capacity = 1 << 40 }, 0, false, urgentDuty},
		{"high water, writes at 0.6: ahead of them", func(l *fakeLog) { l.capacity = 1 << 40 }, 0.6, false, 0.75},
		{"high water, writes beyond what Badger takes: all", func(l *fakeLog) { l.capacity = 1 << 40 }, 2, false, 1},
		{"full: all", func(l *fakeLog) { l.full = true }, 0, false, 1},
		{"drain: all", func(*fakeLog) {}, 0, true, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rate := NewRateDetector(RateOptions{QuietRate: 1000})
				l, r := newPaced(t, Options{Rate: rate, Strain: func(float64) float64 { return 10 }})
				defer r.Stop()
				l.set(func() { row.prepare(l) })
				defer write(rate, row.writes*testSpeed)()
				if row.drain {
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					startDrain(ctx, r)
				}
				time.Sleep(10 * time.Second)
				require.InDelta(t, row.share, throughputOf(l, 10*time.Second)/testSpeed, 0.04*row.share)
			})
		})
	}
}

// A run that gives way is done in time all the same, at an even pace, or at a quarter of the speed
// where that takes longer.
func TestRunIsDoneInTime(t *testing.T) {
	for _, row := range []struct {
		bytes  float64 // of what replay could give in DefaultSettleWithin
		within float64 // SettleWithin, by the default
		want   float64 // how long it takes, by the default
	}{
		{0.2, 1, 1},
		{0.1, 1, 1},
		{0.03, 1, 0.03 / minDuty},
		{0.05, 2, 0.05 / minDuty},
		{0.5, 1, 0.5 / urgentDuty},
		{0.2, 0.5, 0.2 / urgentDuty},
	} {
		synctest.Test(t, func(t *testing.T) {
			within := time.Duration(row.within * float64(DefaultSettleWithin))
			l := newFakeLog(int64(row.bytes * testSpeed * DefaultSettleWithin.Seconds()))
			l.capacity, l.oldest, l.batchTime, l.speed = 1<<50, time.Time{}, 0, testSpeed
			r, _ := newTest(t, l, Options{SettleWithin: within, Strain: func(float64) float64 { return 10 }})
			for r.State() != Replaying {
				time.Sleep(tick)
			}
			begun := time.Now()
			half := l.pending() / 2
			var atHalf time.Duration
			for l.pending() > 0 {
				time.Sleep(100 * time.Millisecond)
				if atHalf == 0 && l.pending() <= half {
					atHalf = time.Since(begun)
				}
			}
			took := time.Since(begun).Seconds()
			require.InEpsilon(t, row.want*DefaultSettleWithin.Seconds(), took, 0.05)
			require.InEpsilon(t, took/2, atHalf.Seconds(), 0.1, "even")
		})
	}
}

func TestCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newPaced(t, Options{MaxRate: 5 * mib})
		time.Sleep(5 * time.Second)
		require.InDelta(t, 5*mib, throughputOf(l, 10*time.Minute), 0.01*5*mib)
		require.EqualValues(t, 5*mib/10, slices.Max(l.asked), "a tenth of a second at a time")
		require.EqualValues(t, 1, r.Stats().Duty)
		require.EqualValues(t, 5*mib, r.MaxRate())

		r.SetMaxRate(20 * mib)
		require.InDelta(t, 20*mib, throughputOf(l, time.Minute), 0.02*20*mib)
		require.EqualValues(t, DefaultBatchBytes, l.asked[len(l.asked)-1])
		r.SetMaxRate(1000 * mib)
		require.InDelta(t, testSpeed, throughputOf(l, time.Minute), 0.01*testSpeed, "Badger is slower")
		r.SetMaxRate(mib)
		require.InDelta(t, mib, throughputOf(l, time.Minute), 2*mib/60, "what Badger could not take is no credit")
		r.SetMaxRate(-5)
		require.Zero(t, r.MaxRate())
		require.InDelta(t, testSpeed, throughputOf(l, time.Minute), 0.01*testSpeed)
		// not where a batch ends, which would be on the bill and no longer in what is measured
		time.Sleep(time.Millisecond)
		r.SetMaxRate(1 << 10)
		require.InDelta(t, 1<<10, throughputOf(l, 2*time.Hour), 0.02*(1<<10))

		l.set(func() { l.full = true })
		r.Wake()
		require.InDelta(t, testSpeed, throughputOf(l, time.Minute), 0.01*testSpeed, "room is what is needed")
		l.set(func() { l.full = false })
		time.Sleep(tick)
		require.InDelta(t, 1<<10, throughputOf(l, 2*time.Hour), 0.02*(1<<10), "nothing is owed for it")

		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		startDrain(ctx, r)
		require.InDelta(t, testSpeed, throughputOf(l, time.Minute), 0.01*testSpeed, "somebody waits")
		time.Sleep(tick)
		require.InDelta(t, 1<<10, throughputOf(l, 2*time.Hour), 0.02*(1<<10))
		r.Stop()
	})
}

// The two limits do not add up: a rest for the one is one for the other.
func TestCeilingBesideAStrainedForeground(t *testing.T) {
	for ceiling, want := range map[int64]float64{testSpeed / 4: testSpeed * minDuty, testSpeed / 32: testSpeed / 32} {
		synctest.Test(t, func(t *testing.T) {
			l, r := newPaced(t, Options{MaxRate: ceiling, Strain: func(float64) float64 { return 3 }})
			time.Sleep(10 * time.Second)
			require.InDelta(t, want, throughputOf(l, time.Minute), 0.04*want)
			r.Stop()
		})
	}
}

func TestCeilingHoldsForBatchesThatAreLargerThanAskedFor(t *testing.T) {
	o := Options{MaxRate: mib}.withDefaults()
	p := newPacer(&o)
	now := time.Unix(1_700_000_000, 0)
	begun, moved := now, int64(0)
	for range 1000 {
		now = now.Add(p.rest(ReasonQuiet, now))
		moved += 3 * mib
		p.accountWork(now, now)
		p.accountBatch(ReasonQuiet, 3*mib, 0)
	}
	now = now.Add(p.rest(ReasonQuiet, now))
	require.InDelta(t, mib, float64(moved)/now.Sub(begun).Seconds(), 0.01*mib)
}

// Timers are not exact to a millisecond. Rests shorter than that are saved up.
func TestShortRestsAreSavedUp(t *testing.T) {
	o := Options{Strain: func(float64) float64 { return 1 }}.withDefaults()
	p := newPacer(&o)
	p.duty, p.looked = 0.9, time.Unix(1_700_000_000, 0)
	now, rested, rests := p.looked, time.Duration(0), 0
	for range 1000 {
		p.accountWork(now, now.Add(4*time.Millisecond))
		now = now.Add(4 * time.Millisecond)
		for rest := p.rest(ReasonQuiet, now); rest > 0; rest = p.rest(ReasonQuiet, now) {
			require.GreaterOrEqual(t, rest, minRest)
			now, rested, rests = now.Add(rest), rested+rest, rests+1
		}
	}
	require.InDelta(t, 0.9, 4/(4+rested.Seconds()), 0.01)
	require.Less(t, rests, 250)
}

func TestOneBadMomentIsNoStrain(t *testing.T) {
	strain := 0.9
	o := Options{Strain: func(float64) float64 { return strain }}.withDefaults()
	p := newPacer(&o)
	now := time.Unix(1_700_000_000, 0)
	look := func(s float64) {
		strain = s
		p.accountWork(now, now.Add(StrainInterval))
		now = now.Add(StrainInterval)
		p.look(now)
	}
	p.duty, p.moved = 0.25, now
	for range 2 {
		for _, s := range []float64{0.9, 0.9, 50, 0.8, 0.7, 50, 0.9, 0.9} {
			look(s)
		}
	}
	require.Equal(t, 0.25*dutyGrowth, p.duty)
	look(50)
	look(2)
	require.Equal(t, 0.25*dutyGrowth/2, p.duty, "two in a row are")
	for _, s := range []float64{0.9, 0.9, 0} {
		look(s)
	}
	require.EqualValues(t, 1, p.duty)
	look(2)
	require.Equal(t, 0.5, p.duty, "somebody new")
}

func TestStrainThatIsNoNumber(t *testing.T) {
	for _, strain := range []float64{math.NaN(), math.Inf(-1), -1} {
		o := Options{Strain: func(float64) float64 { return strain }}.withDefaults()
		p := newPacer(&o)
		p.look(time.Unix(1_700_000_000, 0))
		require.EqualValues(t, 1, p.duty)
	}
	o := Options{Strain: func(float64) float64 { return math.Inf(1) }}.withDefaults()
	p := newPacer(&o)
	p.duty = 0.5
	p.accountWork(time.Time{}, time.Time{}.Add(time.Hour))
	p.look(time.Unix(1_700_000_000, 0))
	require.Equal(t, 0.25, p.duty)
}

func TestRestsEndAtOnce(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(l *fakeLog, r *Replayer)
	}{
		{"drain", func(_ *fakeLog, r *Replayer) { startDrain(context.Background(), r) }},
		{"full", func(l *fakeLog, r *Replayer) { l.set(func() { l.full = true }); r.Wake() }},
		{"another ceiling", func(_ *fakeLog, r *Replayer) { r.SetMaxRate(0) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, r := newPaced(t, Options{MaxRate: 1 << 10}) // a batch a minute
				defer r.Stop()
				time.Sleep(10*time.Second + tick/2)
				n := l.count("replay")
				for range 10 {
					r.Wake()
					synctest.Wait()
				}
				require.Equal(t, n, l.count("replay"), "woken for nothing")
				row.end(l, r)
				synctest.Wait()
				require.Equal(t, n+1, l.count("replay"))
			})
		})
	}
}

// While commits wait for room nobody gains by a replay that gives way. The ceiling holds
// nevertheless.
func TestReplayDoesNotGiveWayWhileCommitsAreSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newPaced(t, Options{Strain: func(float64) float64 { return 2 }})
		l.set(func() { l.capacity = l.bytes })
		time.Sleep(10 * time.Second)
		require.InDelta(t, testSpeed*urgentDuty, throughputOf(l, 10*time.Second), 0.05*testSpeed)
		l.set(func() { l.slowed = true })
		require.InDelta(t, testSpeed, throughputOf(l, 10*time.Second), 0.05*testSpeed)
		require.EqualValues(t, 1, r.Stats().Duty)
		require.Equal(t, ReasonSlowed, r.Stats().Run.Reason)
		r.SetMaxRate(mib)
		require.InDelta(t, mib, throughputOf(l, 10*time.Second), 0.05*mib)
		r.SetMaxRate(0)
		l.set(func() { l.slowed = false })
		time.Sleep(time.Second)
		require.InDelta(t, testSpeed*urgentDuty, throughputOf(l, 10*time.Second), 0.05*testSpeed)
		r.Stop()
	})
}

func TestStopEndsARest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newPaced(t, Options{MaxRate: 1 << 10})
		time.Sleep(10*time.Second + tick/2)
		begun := time.Now()
		r.Stop()
		require.Zero(t, time.Since(begun))
	})
}

// What was owed before is not asked for after a run in which nothing was heeded.
func TestNothingIsOwedForWhatWasUrgent(t *testing.T) {
	o := Options{MaxRate: 1 << 10, Strain: func(float64) float64 { return 1 }}.withDefaults()
	p := newPacer(&o)
	now := time.Unix(1_700_000_000, 0)
	work := func(reason Reason) {
		p.accountWork(now, now.Add(time.Second))
		p.accountBatch(reason, mib, time.Second)
		now = now.Add(time.Second)
	}
	require.Zero(t, p.rest(ReasonQuiet, now))
	work(ReasonQuiet)
	require.Greater(t, p.rest(ReasonQuiet, now), time.Minute)
	require.Zero(t, p.rest(ReasonFull, now))
	work(ReasonFull)
	require.Zero(t, p.rest(ReasonFull, now))
	require.Zero(t, p.rest(ReasonQuiet, now))

	require.Zero(t, New(Options{MaxRate: -1}).MaxRate())
}

func TestPausedTimeCountsPausesForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(100 * mib)
		l.memory = 85
		r, _ := newTest(t, l, Options{})
		time.Sleep(time.Minute)
		require.Equal(t, Paused, r.State())
		l.set(func() { l.memory = 0 })
		time.Sleep(5 * time.Second)
		require.InDelta(t, 59, r.Stats().PausedTime.Seconds(), 0.2)
	})
}

func TestBurstEndsARestingRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := NewRateDetector(RateOptions{QuietRate: 1000})
		_, r := newPaced(t, Options{Rate: rate, MaxRate: 1 << 10})
		time.Sleep(10 * time.Second)
		require.Equal(t, Replaying, r.State())
		stop := burst(rate)
		time.Sleep(time.Second)
		require.Equal(t, Waiting, r.State())
		stop()
		r.Stop()
	})
}

func TestThroughputOfARunThatRestsIsALowerBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := NewRateDetector(RateOptions{})
		_, r := newPaced(t, Options{Rate: rate, MaxRate: 4 * mib})
		time.Sleep(time.Minute)
		require.EqualValues(t, AssumedSustained/2, rate.QuietRate(), "less than assumed says nothing")
		r.SetMaxRate(0)
		time.Sleep(time.Minute)
		require.InDelta(t, testSpeed/2, rate.QuietRate(), mib)
		r.SetMaxRate(4 * mib)
		time.Sleep(10 * time.Minute)
		require.InDelta(t, testSpeed/2, rate.QuietRate(), mib, "nothing is forgotten")
		r.Stop()
	})
	synctest.Test(t, func(t *testing.T) {
		rate := NewRateDetector(RateOptions{})
		_, r := newPaced(t, Options{Rate: rate, MaxRate: 40 * mib})
		time.Sleep(time.Minute)
		require.InDelta(t, 20*mib, rate.QuietRate(), mib, "more than assumed does")
		r.Stop()
	})
}

// What memtables absorb is not sustained: here 1000 MiB/s at first, 20 MiB/s after.
func TestSustainedIsMeasuredBeyondMemtables(t *testing.T) {
	d, c := newTestRate(RateOptions{})
	w := throughput{begun: c.now, absorbed: 320 * mib}
	add := func(bytes int64, took time.Duration) {
		c.now = c.now.Add(took)
		w.add(bytes, c.now, d)
	}
	for range 320 {
		add(mib, time.Millisecond)
	}
	for range 319 {
		add(mib, 50*time.Millisecond)
	}
	require.EqualValues(t, AssumedSustained/2, d.QuietRate(), "not twice as much as they hold")
	add(mib, 50*time.Millisecond)
	require.InDelta(t, 10*mib, d.QuietRate(), 0.3*mib)
	for range 199 {
		add(mib, 50*time.Millisecond)
	}
	require.Positive(t, w.bytes)
	add(mib, 50*time.Millisecond)
	require.Zero(t, w.bytes, "later windows are as long as they need to be")
	require.InDelta(t, 10*mib, d.QuietRate(), 0.3*mib)
}
