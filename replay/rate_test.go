package replay

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit"
)

// clock is a clock that stands still.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newTestRate(o RateOptions) (*RateDetector, *clock) {
	c := &clock{now: time.Unix(1_700_000_000, 0)}
	o.Now = c.Now
	return NewRateDetector(o), c
}

// write adds at a constant rate for d, sampled each step.
func (c *clock) write(d *RateDetector, bytesPerSecond float64, length, step time.Duration) {
	for end := c.now.Add(length); c.now.Before(end); {
		c.now = c.now.Add(step)
		d.Add(int64(bytesPerSecond * step.Seconds()))
		d.Sample()
	}
}

func TestRateIsExponentiallyWeighted(t *testing.T) {
	for _, step := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 125 * time.Millisecond} {
		t.Run(step.String(), func(t *testing.T) {
			d, c := newTestRate(RateOptions{})
			require.Zero(t, d.Rate())
			c.write(d, 1e6, DefaultHalfLife, step)
			require.InDelta(t, 5e5, d.Rate(), 1, "half of the way in a half-life, whatever the step")
			c.write(d, 1e6, DefaultHalfLife, step)
			require.InDelta(t, 7.5e5, d.Rate(), 1)
			c.write(d, 1e6, 5*time.Second, step)
			require.InDelta(t, 1e6, d.Rate(), 1)
			c.write(d, 0, DefaultHalfLife, step)
			require.InDelta(t, 5e5, d.Rate(), 1)
		})
	}
}

func TestRateLosesNoBytesInShortIntervals(t *testing.T) {
	d, c := newTestRate(RateOptions{})
	for range 100_000 {
		c.now = c.now.Add(50 * time.Microsecond)
		d.Add(100)
		d.Sample()
	}
	require.InDelta(t, 2e6, d.Rate(), 10)
}

func TestQuiet(t *testing.T) {
	const step = 10 * time.Millisecond
	d, c := newTestRate(RateOptions{QuietRate: 1e6})
	require.EqualValues(t, 1e6, d.QuietRate())
	require.False(t, d.Quiet(), "nothing seen yet")
	require.False(t, d.Burst())
	c.write(d, 1e5, 990*time.Millisecond, step)
	require.False(t, d.Quiet(), "window not over")
	c.write(d, 1e5, 2*step, step)
	require.True(t, d.Quiet())

	c.write(d, 1e7, 2*step, step)
	require.False(t, d.Burst(), "20 ms are not a burst yet")
	require.True(t, d.Quiet())
	c.write(d, 1e7, 5*step, step)
	require.True(t, d.Burst())
	require.False(t, d.Quiet())

	var calm time.Duration
	for ; d.Burst(); calm += step {
		c.write(d, 0, step, step)
	}
	require.Less(t, calm, 500*time.Millisecond)
	c.write(d, 0, DefaultQuietWindow-step, step)
	require.False(t, d.Quiet(), "below, but not for the window")
	c.write(d, 0, step, step)
	require.True(t, d.Quiet())

	d.mu.rate = 1e6
	require.True(t, d.Burst(), "exactly the quiet rate is a burst")
}

func TestSingleLargeCommitDoesNotEndQuietForLong(t *testing.T) {
	const step = 10 * time.Millisecond
	d, c := newTestRate(RateOptions{QuietRate: 2e6})
	c.write(d, 0, 2*time.Second, step)
	require.True(t, d.Quiet())
	d.Add(1 << 20)
	c.write(d, 0, step, step)
	require.True(t, d.Burst())
	c.write(d, 0, 500*time.Millisecond, step)
	require.False(t, d.Burst())
	c.write(d, 0, time.Second, step)
	require.True(t, d.Quiet())
}

// Nobody samples while the spill is empty. The mean of the hour says nothing of its end.
func TestQuietStartsAnewAfterAGap(t *testing.T) {
	const step = 10 * time.Millisecond
	d, c := newTestRate(RateOptions{QuietRate: 1e6})
	c.write(d, 0, 2*time.Second, step)
	require.True(t, d.Quiet())
	c.now = c.now.Add(time.Hour)
	d.Add(1e7)
	require.False(t, d.Quiet())
	c.write(d, 0, DefaultQuietWindow-step, step)
	require.False(t, d.Quiet())
	c.write(d, 0, step, step)
	require.True(t, d.Quiet())

	// A batch that took a few hundred milliseconds is no gap.
	c.write(d, 0, 400*time.Millisecond, 400*time.Millisecond)
	require.True(t, d.Quiet())

	// A window shorter than the tick can still be quiet.
	d, c = newTestRate(RateOptions{QuietRate: 1e6, QuietWindow: 5 * time.Millisecond})
	c.write(d, 0, time.Second, 100*time.Millisecond)
	require.True(t, d.Quiet())
}

func TestAutomaticQuietRate(t *testing.T) {
	d, c := newTestRate(RateOptions{})
	require.EqualValues(t, AssumedSustained/2, d.QuietRate(), "nothing seen yet")
	d.ObserveSustained(1e6)
	require.EqualValues(t, MinAutoQuietRate, d.QuietRate(), "floor")
	d.ObserveSustained(math.Inf(1))
	d.ObserveSustained(math.NaN())
	d.ObserveSustained(-5)
	require.EqualValues(t, MinAutoQuietRate, d.QuietRate())
	d.ObserveSustained(100e6)
	require.EqualValues(t, 50e6, d.QuietRate())

	c.now = c.now.Add(time.Second)
	d.ObserveSustained(20e6)
	require.InDelta(t, 50e6, d.QuietRate(), 0.5e6, "one slow second does not undo it")
	for range 300 {
		c.now = c.now.Add(time.Second)
		d.ObserveSustained(20e6)
	}
	require.InDelta(t, 30e6, d.QuietRate(), 0.5e6, "half of the difference in five minutes")

	before := d.QuietRate()
	c.now = c.now.Add(24 * time.Hour)
	d.ObserveSustained(20e6)
	require.InDelta(t, before, d.QuietRate(), 1e6, "a day without observations forgets little")

	d, _ = newTestRate(RateOptions{QuietRate: 5})
	d.ObserveSustained(100e6)
	require.EqualValues(t, 5, d.QuietRate(), "a configured one stays")
}

func TestRateConcurrently(t *testing.T) {
	d := NewRateDetector(RateOptions{})
	var wg kit.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				d.Add(1)
				d.Sample()
				d.Quiet()
				d.Burst()
				d.ObserveSustained(d.Rate())
			}
		})
	}
	wg.Wait()
}

func BenchmarkRateAdd(b *testing.B) {
	d := NewRateDetector(RateOptions{})
	for b.Loop() {
		d.Add(1100)
	}
}

// Who asks rarely is told what is the case: the time in which nothing was written counts, although
// nobody looked.
func TestQuietForWhoAsksRarely(t *testing.T) {
	const step = 10 * time.Millisecond
	d, c := newTestRate(RateOptions{QuietRate: 1e6})
	c.now = c.now.Add(time.Hour)
	require.True(t, d.Quiet(), "nothing was ever written")

	c.write(d, 1e8, 5*time.Second, step)
	require.False(t, d.Quiet())
	c.now = c.now.Add(DefaultQuietWindow)
	require.False(t, d.Quiet(), "the rate falls first")
	c.write(d, 1e8, 5*time.Second, step)
	c.now = c.now.Add(time.Minute)
	require.True(t, d.Quiet())

	d.Add(1 << 30)
	c.now = c.now.Add(time.Hour)
	require.False(t, d.Quiet(), "it may have been a moment ago")
	c.now = c.now.Add(time.Hour)
	require.True(t, d.Quiet())
}
