//go:build go1.25

package wbm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
)

const (
	kib, mib = 1 << 10, 1 << 20
	// halfGiB has its mark at 256 MiB and a horizon of 2 s.
	halfGiB = 512 * mib
)

// throttled returns an active spill whose mark is at half of its capacity, with that much room.
func throttled(t testing.TB, capacity, room int64) (*SpilloverManager, *Account) {
	t.Helper()
	m, err := New(Options{Limit: 1 << 40})
	require.NoError(t, err)
	a := m.Register(Holder{})
	s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: capacity, HighWater: 0.5})
	s.Force(capacity-room, 0)
	s.SetActive(true)
	t.Cleanup(func() {
		a.Close()
		require.Zero(t, m.Leaks(), "leaks")
		require.Zero(t, m.waiters.Load(), "waiters")
		require.Zero(t, s.Stats().Slowed, "slowed")
	})
	return s, a
}

// indebt makes the next commit wait for tokens, for as long as the horizon.
func indebt(s *SpilloverManager) {
	s.throttle.mu.tokens, s.throttle.mu.filled = -math.MaxInt64, time.Now()
}

// writers write commits of n bytes in closed loops. What they see is read when they have
// ended, except for the counts.
type writers struct {
	wg      sync.WaitGroup
	stop    context.CancelFunc
	bytes   atomic.Int64
	commits []atomic.Int64
	longest []time.Duration
	failed  atomic.Pointer[error]
}

func startWriters(s *SpilloverManager, count int, n int64) *writers {
	w := &writers{commits: make([]atomic.Int64, count), longest: make([]time.Duration, count)}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	for i := range count {
		w.wg.Go(func() {
			for ctx.Err() == nil {
				begun := time.Now()
				_, err := s.Reserve(ctx, Request{Memory: n, Spill: n}, 0)
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						w.failed.Store(&err)
					}
					return
				}
				w.longest[i] = max(w.longest[i], time.Since(begun))
				w.commits[i].Add(1)
				w.bytes.Add(n)
			}
		})
	}
	return w
}

func (w *writers) end(t *testing.T) (longest time.Duration) {
	t.Helper()
	w.stop()
	w.wg.Wait()
	if err := w.failed.Load(); err != nil {
		require.NoError(t, *err)
	}
	for _, l := range w.longest {
		longest = max(longest, l)
	}
	return longest
}

// drain frees n bytes at a time, rate bytes a second, until the test's bubble ends it.
func drain(s *SpilloverManager, ctx context.Context, rate, n int64) {
	tick := time.NewTicker(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			n := min(n, s.Usage())
			s.ReleaseSpillover(n, 0, n)
		case <-ctx.Done():
			return
		}
	}
}

func TestThrottleRate(t *testing.T) {
	for _, row := range []struct {
		name       string
		capacity   int64
		mark       float64
		band       int64
		horizon    time.Duration
		room, rate int64 // bytes, bytes per second
		slows      bool
	}{
		{"half full", halfGiB, 0.5, 256 * mib, 2 * time.Second, 100 * mib, 50 * mib, true},
		{"at the wall", halfGiB, 0.5, 256 * mib, 2 * time.Second, 0, 0, true},
		{"beyond the wall", halfGiB, 0.5, 256 * mib, 2 * time.Second, -1, 0, true},
		{"a late mark", 1000 * mib, 0.75, 250 * mib, 2 * time.Second, 10 * mib, 5 * mib, true},
		{"a tiny spill", 64 * kib, 0.5, 32 * kib, 2 * time.Second, 32*kib - 1, 16*kib - 1, true},
		{"a large spill", 8 << 30, 0.5, 4 << 30, 8 * time.Second, 1 << 30, 128 * mib, true},
		{"mark at the wall: off", halfGiB, 1, 0, 0, 0, 0, false},
		{"no mark: off", halfGiB, 0, 0, 0, 0, 0, false},
		{"bad mark: off", halfGiB, -0.5, 0, 0, 0, 0, false},
		{"no number: off", halfGiB, math.NaN(), 0, 0, 0, 0, false},
		{"no spill: off", 0, 0.5, 0, 0, 0, 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var th throttle
			th.init(row.capacity, row.mark)
			got := law{}
			if l := th.law.Load(); l != nil {
				got = *l
			}
			require.Equal(t, law{row.band, row.horizon}, got)
			require.Equal(t, row.slows, th.slows(0))
			require.Equal(t, row.slows, th.slows(-1))
			if row.slows {
				require.False(t, th.slows(row.band))
				require.True(t, th.slows(row.band-1))
				require.Equal(t, row.rate, int64(got.rate(row.room)))
			}
		})
	}
}

func TestThrottleStep(t *testing.T) {
	for _, row := range []struct {
		name     string
		room     int64
		tokens   float64
		slow     bool
		sleep    time.Duration
		tokensAt float64 // after 1 byte was taken, or not
	}{
		{"a token", 2 * mib, 1, true, 0, 0},
		{"no token", 2 * mib, 0, true, time.Millisecond, 0},
		{"little debt", 2 * mib, -1, true, time.Millisecond, -1},
		{"a debt of 5 ms", 2 * mib, -mib / 200, true, 5 * time.Millisecond, -mib / 200},
		{"a debt of 1 s", 2 * mib, -mib, true, 10 * time.Millisecond, -mib},
		{"a debt above the room", 2 * mib, -9 * mib, true, 10 * time.Millisecond, -2 * mib},
		{"more than a step's tokens", 2 * mib, mib, true, 0, mib/100 - 1},
		{"no room, nothing frees it yet", 0, 5, true, 10 * time.Millisecond, 5},
		{"beyond the wall", -1, 5, true, 10 * time.Millisecond, 5},
		{"the look says so", 2 * mib, -9, false, 0, -9},
		{"a band of room", 256 * mib, -9, true, 0, -9},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var th throttle
				th.init(halfGiB, 0.5)
				th.mu.tokens, th.mu.filled = row.tokens, time.Now()
				sleep := th.take(1, func() (int64, bool) { return row.room, row.slow })
				require.InDelta(t, row.sleep, sleep, 10_000)
				require.InDelta(t, row.tokensAt, th.mu.tokens, 1)
			})
		})
	}
}

func TestNothingIsSlowed(t *testing.T) {
	for _, row := range []struct {
		name    string
		usage   int64 // of a capacity of 1000
		mark    float64
		direct  bool
		timeout time.Duration
		commits int
		bytes   int64
	}{
		{"up to the mark", 0, 0.5, false, 0, 50, 10},
		{"on the way to Badger", 900, 0.5, true, 0, 50, 10},
		{"that is not to wait", 500, 0.5, false, -1, 50, 10},
		{"that needs no room", 1000, 0.5, false, 0, 50, 0},
		{"without a mark, up to the wall", 0, 0, false, 0, 100, 10},
		{"with the mark at the wall", 0, 1, false, 0, 100, 10},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t)
				a := m.Register(Holder{})
				s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 1000, HighWater: row.mark})
				s.Force(row.usage, 0)
				s.SetActive(!row.direct)
				begun := time.Now()
				for range row.commits {
					o, err := s.Reserve(context.Background(), Request{Memory: 10, Spill: row.bytes}, row.timeout)
					require.NoError(t, err)
					require.Equal(t, row.direct, o == Direct)
				}
				require.Zero(t, time.Since(begun))
				require.Zero(t, s.Stats().CommitsSlowed)
				a.Close()
			})
		})
	}
}

// With no mark a spill that hedges have filled beyond its capacity parks its writers as ever.
func TestBeyondTheWallWithoutAMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a := m.Register(Holder{})
		s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 1000})
		s.Force(1001, 0)
		s.SetActive(true)
		p := spill(s, 1)
		synctest.Wait()
		require.EqualValues(t, 1, s.Stats().Parked)
		s.ReleaseSpillover(100, 0, 100)
		<-p.done
		require.NoError(t, p.err)
		a.Close()
	})
}

func TestInflowConvergesToOutflow(t *testing.T) {
	for _, rate := range []int64{1e6, 5e6, 20e6, 100e6} {
		t.Run(fmt.Sprintf("%d MB/s", rate/1e6), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := throttled(t, halfGiB, halfGiB/2)
				ctx, cancel := context.WithCancel(context.Background())
				go drain(s, ctx, rate, rate/100)
				w := startWriters(s, 16, 16*kib)
				time.Sleep(16 * time.Second) // 8 horizons
				before := w.bytes.Load()
				room := s.room()
				time.Sleep(5 * time.Second)
				require.InEpsilon(t, 5*rate, w.bytes.Load()-before, 0.02)
				// At the room from which the rate is the drain's.
				require.InEpsilon(t, 2*rate, room, 0.1)
				require.InEpsilon(t, 2*rate, s.room(), 0.1)
				w.end(t)
				cancel()
				require.Zero(t, s.Stats().WritersBlocked)
			})
		})
	}
}

// Room comes in whole segments, from a replay at disk speed and from a slow one.
func TestRoomFreedInJumps(t *testing.T) {
	for _, rate := range []int64{20e6, 60e6} {
		t.Run(fmt.Sprintf("%d MB/s", rate/1e6), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const jump = 32 * mib
				s, _ := throttled(t, halfGiB, 100*mib)
				ctx, cancel := context.WithCancel(context.Background())
				go drain(s, ctx, rate, jump)
				w := startWriters(s, 64, kib)
				period := time.Duration(float64(jump) / float64(rate) * float64(time.Second))
				warm := (6*time.Second/period + 1) * period
				time.Sleep(warm)
				before := w.bytes.Load()
				time.Sleep(4 * period)
				require.InEpsilon(t, 4*jump, w.bytes.Load()-before, 0.05)
				longest := w.end(t)
				cancel()
				t.Logf("longest wait %v, room %d MiB", longest, s.room()/mib)
				require.LessOrEqual(t, longest, 250*time.Millisecond)
				st := s.Stats()
				require.Zero(t, st.WritersBlocked)
				require.Positive(t, st.CommitsSlowed)
				require.Positive(t, st.SlowedTime)
				least, most := int64(math.MaxInt64), int64(0)
				for i := range w.commits {
					least, most = min(least, w.commits[i].Load()), max(most, w.commits[i].Load())
				}
				// In turn: who has just passed comes last, unless there were tokens to spare.
				require.Less(t, most-least, most/10, "some writers starve")
			})
		})
	}
}

// Badger stops for 20 s: ten horizons, after which e^-10 of the band is left.
func TestNoDrainDoesNotHitTheWall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := throttled(t, halfGiB, halfGiB/2)
		w := startWriters(s, 64, kib)
		for range 20 {
			room := s.room()
			time.Sleep(time.Second)
			synctest.Wait()
			require.InEpsilon(t, float64(room)*math.Exp(-0.5), s.room(), 0.25)
			st := s.Stats()
			require.Zero(t, st.WritersBlocked)
			require.LessOrEqual(t, s.Usage(), s.Capacity())
			require.EqualValues(t, 64, st.Slowed)
			require.Zero(t, st.Parked, "slowed is not parked")
		}
		// And goes on: everybody who waits is through at once.
		before := w.bytes.Load()
		s.ReleaseSpillover(100*mib, 0, 100*mib)
		time.Sleep(maxStep + minStep)
		require.Greater(t, w.bytes.Load()-before, int64(64*kib))
		w.end(t)
	})
}

// A queue in which bytes are scarce is served in the order in which it was joined.
func TestSlowedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := throttled(t, halfGiB, mib)
		indebt(s)
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 200 {
			// more than a step adds: each passes at an instant of its own
			n := kib + r.Int64N(4*kib)
			wg.Go(func() {
				_, err := s.Reserve(context.Background(), Request{Memory: n, Spill: n}, time.Duration(i%2)*time.Hour)
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				if err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			require.EqualValues(t, i+1, s.Slowed())
		}
		wg.Wait()
		require.Len(t, order, 200)
		for at, i := range order {
			require.Equal(t, at, i, "order of %v", order)
		}
	})
}

func TestSlowedCommitEnds(t *testing.T) {
	const room = 4 * mib // 2 MiB/s: the debt takes 2 s
	for _, row := range []struct {
		name    string
		timeout time.Duration
		happens func(s *SpilloverManager, a *Account, cancel func())
		within  time.Duration // of its happening
		err     error
		want    Outcome
	}{
		{"closed", 0, func(_ *SpilloverManager, a *Account, _ func()) { a.Close() }, maxStep, ErrClosed, Direct},
		{"context", 0, func(_ *SpilloverManager, _ *Account, cancel func()) { cancel() }, 0, context.Canceled, Direct},
		{"timeout lets it pass", time.Second, func(*SpilloverManager, *Account, func()) {}, 0, nil, Spilled},
		{"below the mark again", 0, func(s *SpilloverManager, _ *Account, _ func()) { s.ReleaseSpillover(halfGiB/2, 0, 0) }, 0, nil, Spilled},
		{"estimates were too high", 0, func(s *SpilloverManager, _ *Account, _ func()) { s.AdjustSpill(-halfGiB / 2) }, 0, nil, Spilled},
		{"direct again", 0, func(s *SpilloverManager, _ *Account, _ func()) { s.SetActive(false) }, 0, nil, Direct},
		// The debt is worth 4 MiB, the rate is now 100 MiB/s.
		{"more room", 0, func(s *SpilloverManager, _ *Account, _ func()) { s.ReleaseSpillover(196*mib, 0, 0) }, 5 * maxStep, nil, Spilled},
	} {
		for _, place := range []string{"head", "queue"} {
			t.Run(row.name+", "+place, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, a := throttled(t, halfGiB, room)
					indebt(s)
					var head *pending
					if place == "queue" {
						head = spill(s, 1)
						synctest.Wait()
					}
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					p := spillWithin(s, ctx, 1, row.timeout)
					time.Sleep(time.Second - time.Nanosecond)
					synctest.Wait()
					require.True(t, p.parked())
					require.EqualValues(t, halfGiB-room, s.Usage(), "holds nothing")
					require.Zero(t, a.Usage(), "holds nothing")
					time.Sleep(time.Nanosecond)
					row.happens(s, a, cancel)
					<-p.done
					require.ErrorIs(t, p.err, row.err)
					require.Equal(t, row.want, p.outcome)
					require.LessOrEqual(t, p.took, time.Second+row.within)
					if head != nil {
						<-head.done
					}
					st := s.Stats()
					require.Zero(t, st.WritersBlocked)
					require.Zero(t, st.BlockTimeouts)
					require.Zero(t, st.Slowed)
					require.GreaterOrEqual(t, st.SlowedTime, time.Second)
				})
			})
		}
	}
}

// The rate is the one of the moment: who was about to pass waits when the room goes, and who
// would have waited long passes soon when it comes.
func TestRateIsNeverStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := throttled(t, halfGiB, 200*mib) // 100 MiB/s
		s.throttle.mu.tokens, s.throttle.mu.filled = -50*mib, time.Now()
		first := spill(s, mib)
		time.Sleep(400 * time.Millisecond) // 10 MiB of debt are left
		s.Force(190*mib, 0)                // 5 MiB/s
		time.Sleep(1900 * time.Millisecond)
		require.True(t, first.parked())
		time.Sleep(100*time.Millisecond + 2*maxStep)
		require.False(t, first.parked())

		second := spill(s, mib)
		time.Sleep(100 * time.Millisecond)
		require.True(t, second.parked(), "a debt of 1 MiB at 4.5 MiB/s")
		s.ReleaseSpillover(191*mib, 0, 0) // 100 MiB/s
		time.Sleep(2 * maxStep)
		require.False(t, second.parked())
	})
}

// A batch larger than the room is not slowed for it but parks, so that the replayer is told;
// it keeps nobody in the queue.
func TestSlowedBatchLargerThanTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := throttled(t, halfGiB, 10*mib)
		indebt(s)
		small := spill(s, kib)
		synctest.Wait()
		large := spill(s, 10*mib+1)
		synctest.Wait()
		require.EqualValues(t, []int64{2, 0}, []int64{s.Stats().Slowed, s.Stats().Parked}, "it keeps its place in the queue")
		<-small.done
		require.NoError(t, small.err)
		time.Sleep(time.Millisecond)
		require.EqualValues(t, []int64{0, 1}, []int64{s.Stats().Slowed, s.Stats().Parked})
		// In the first moment of its claim nobody passes, then everybody does again.
		other := spill(s, kib)
		time.Sleep(5 * time.Second)
		require.False(t, other.parked())
		require.True(t, large.parked())
		s.ReleaseSpillover(10*mib, 0, 0)
		<-large.done
		require.NoError(t, large.err)
		require.Zero(t, a.kinds[InFlight].Load())
	})
}

// A large batch that has room passes whole; its debt is paid within a horizon.
func TestLargeBatchGoesIntoDebt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := throttled(t, halfGiB, 101*mib)
		large := spill(s, 100*mib)
		<-large.done
		require.Zero(t, large.took)
		require.EqualValues(t, mib, s.room())
		p := spill(s, 1)
		<-p.done
		require.InDelta(t, 2*time.Second, p.took, float64(maxStep))
	})
}

// Nobody saves up: after an hour in which nobody wrote, no more passes at once than a step's worth.
func TestNoCreditForIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := throttled(t, halfGiB, 100*mib) // 50 MiB/s
		p := spill(s, kib)
		<-p.done
		time.Sleep(time.Hour)
		before := s.Usage()
		w := startWriters(s, 64, kib)
		synctest.Wait()
		require.LessOrEqual(t, s.Usage()-before, int64(50*mib/100+kib))
		require.GreaterOrEqual(t, s.Usage()-before, int64(50*mib/100-kib))
		w.end(t)
	})
}

// A commit of which memory alone says that it has to start a spill, while files of the last
// one are still held by readers, is slowed too, and goes direct when memory has room.
func TestCommitThatWouldStartASpillIsSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a := m.Register(Holder{})
		s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 1000, HighWater: 0.5})
		s.Force(900, 0)
		a.Force(Memtable, 895)
		indebt(s)
		p := spill(s, 10)
		time.Sleep(500 * time.Millisecond)
		require.EqualValues(t, 1, s.Stats().Slowed)
		a.Release(Memtable, 500)
		<-p.done
		require.NoError(t, p.err)
		require.Equal(t, Direct, p.outcome)
		require.LessOrEqual(t, p.took, 500*time.Millisecond+maxStep)
		a.Close()
	})
}

// Being slowed takes nothing from the time that a commit waits for room: the timeout
// starts when there is none.
func TestBlockTimeoutBeginsWhenTheSpillIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := throttled(t, halfGiB, 10*mib)
		indebt(s)
		p := spillWithin(s, context.Background(), mib, time.Second)
		time.Sleep(600 * time.Millisecond)
		s.Force(10*mib, 0)
		time.Sleep(900 * time.Millisecond)
		require.True(t, p.parked())
		require.EqualValues(t, 1, s.Stats().Parked)
		<-p.done
		require.ErrorIs(t, p.err, ErrWriteBlocked)
		require.InDelta(t, 1600*time.Millisecond, p.took, float64(maxStep))
	})
}

// Many writers of all kinds, while room comes and goes in every way. However it goes, in no
// stretch in which writes were slowed more passes than the law of the rate allows, nobody
// fails but by his own context, and at the end nobody waits.
func TestRandomThrottle(t *testing.T) {
	first := seed.Of(t)
	synctest.Test(t, func(t *testing.T) {
		const capacity, largest = 64 * mib, 256 * kib
		s, a := throttled(t, capacity, capacity/2)
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		var passed, ended atomic.Int64
		var failed atomic.Pointer[error]
		for g := range uint64(24) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(first, g))
				for ctx.Err() == nil {
					n := 1 + r.Int64N(4*kib)
					if r.IntN(50) == 0 {
						n = 1 + r.Int64N(largest)
					}
					own, stop := ctx, context.CancelFunc(func() {})
					if r.IntN(10) == 0 {
						own, stop = context.WithTimeout(ctx, time.Duration(r.IntN(100))*time.Millisecond)
					}
					o, err := s.Reserve(own, Request{Memory: 1, Spill: n}, 0)
					switch {
					case err == nil && o == Spilled:
						passed.Add(n)
						if r.IntN(20) == 0 {
							s.Cancel(Request{Spill: n}, o)
							passed.Add(-n)
						}
					case err == nil:
						s.Cancel(Request{Memory: 1}, o)
						time.Sleep(time.Millisecond)
					case own.Err() == nil && !errors.Is(err, ErrClosed):
						failed.Store(&err)
					}
					stop()
					if r.IntN(4) == 0 {
						time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
					}
				}
				ended.Add(1)
			})
		}
		r := rand.New(rand.NewPCG(first, 99))
		slowed := 0
		for range 3000 {
			switch r.IntN(40) {
			case 0:
				n := min(s.Usage(), r.Int64N(capacity/8))
				s.ReleaseSpillover(n, 0, n)
			case 1:
				s.Force(r.Int64N(mib), 0)
			case 2:
				s.SetActive(false)
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
				s.SetActive(true)
			}
			synctest.Wait()
			room, before := s.room(), passed.Load()
			const window = 20 * time.Millisecond
			time.Sleep(window)
			synctest.Wait()
			st := s.Stats()
			if room < s.throttle.law.Load().band-largest && st.Parked == 0 && room > largest {
				// Cancelled ones make room, 24 writers may each have one to cancel.
				most := s.throttle.law.Load().rate(room+24*largest)*(window+maxStep).Seconds() + largest
				require.LessOrEqual(t, float64(passed.Load()-before), most, "room %d", room)
				slowed++
			}
		}
		require.Greater(t, slowed, 100, "the load was too small")
		cancel()
		a.Close()
		time.Sleep(maxStep)
		synctest.Wait()
		require.EqualValues(t, 24, ended.Load(), "all have ended within a step")
		wg.Wait()
		if err := failed.Load(); err != nil {
			require.NoError(t, *err)
		}
		require.Positive(t, s.Stats().CommitsSlowed)
	})
}
