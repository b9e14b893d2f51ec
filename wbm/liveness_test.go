//go:build go1.25

package wbm

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestIdleBiggestHolderIsRelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		var idle, busy holder
		a, b := idle.register(m, "idle"), busy.register(m, "busy")
		a.Force(Memtable, 700)
		idle.relieve = func() {
			// The flush is asynchronous and takes its time.
			go func() {
				time.Sleep(10 * time.Second)
				if n := a.UsageByKind(Memtable); n >= 700 {
					a.Release(Memtable, 700)
				}
			}()
		}
		b.Force(Memtable, 199)
		p := startReserve(b, 2, Spill)
		synctest.Wait()
		require.True(t, p.parked())
		<-p.done
		require.NoError(t, p.err)
		require.Equal(t, 10*time.Second, p.took, "served when the flush that the crossing asked for ended")
		require.Greater(t, idle.relieved.Load(), int64(100))
		b.Close()
		a.Close()
		time.Sleep(time.Minute) // the flushes asked for last
	})
}

func TestParkedWriterHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a, b := m.Register(Holder{}), m.Register(Holder{})
		b.Force(Memtable, 950)
		p := startReserve(a, 100, Block)
		synctest.Wait()
		require.True(t, p.parked())
		require.Zero(t, a.Usage())
		require.EqualValues(t, 950, m.Usage())
		require.True(t, b.TryReserve(InFlight, 50, Block), "what the parked one wants is still there for others")
		b.Close()
		<-p.done
		require.NoError(t, p.err)
		require.EqualValues(t, 100, a.Usage())
	})
}

// One goroutine holds budget in a while it waits in b. Only draining a can serve it, and
// that must not need the goroutine.
func TestHoldInOneDatabaseWhileWaitingInAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		var first, second holder
		a, b := first.register(m, "a"), second.register(m, "b")
		first.relieve = func() {
			go func() {
				time.Sleep(time.Second)
				if n := a.UsageByKind(InFlight); n > 0 {
					a.Transfer(InFlight, Memtable, n)
					a.Release(Memtable, n)
				}
			}()
		}
		p := start(func() (Outcome, error) {
			if err := a.Reserve(context.Background(), InFlight, 899, Spill); err != nil {
				return Direct, err
			}
			return Direct, b.Reserve(context.Background(), InFlight, 899, Spill)
		})
		<-p.done
		require.NoError(t, p.err)
		require.Equal(t, time.Second, p.took)
		b.Close()
		time.Sleep(time.Minute)
		a.Close()
	})
}

func TestReliefIsAskedAtEveryParkAndRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		var big, small holder
		a, b := big.register(m, "big"), small.register(m, "small")
		a.Force(Memtable, 750)
		b.Force(Memtable, 40)
		require.Zero(t, big.relieved.Load())
		a.Force(Memtable, 100)
		require.EqualValues(t, 1, big.relieved.Load(), "crossing the soft limit")
		a.Force(Memtable, 5)
		require.EqualValues(t, 1, big.relieved.Load(), "no second crossing")

		ctx, cancel := context.WithCancel(context.Background())
		p := start(func() (Outcome, error) { return Direct, b.Reserve(ctx, InFlight, 50, Spill) })
		synctest.Wait()
		require.EqualValues(t, 2, big.relieved.Load(), "at the park")
		require.Zero(t, small.relieved.Load())
		for i := int64(3); i < 10; i++ {
			time.Sleep(DefaultRecheckInterval)
			synctest.Wait()
			require.Equal(t, i, big.relieved.Load(), "at each re-check")
		}
		require.Positive(t, small.relieved.Load(), "a biggest holder that gives nothing does not shield the others")
		before := big.relieved.Load()
		b.Release(Memtable, 1)
		synctest.Wait()
		require.Equal(t, before+1, big.relieved.Load(), "after a wake-up that brought too little")
		cancel()
		<-p.done
		require.ErrorIs(t, p.err, context.Canceled)
		a.Close()
		b.Close()
	})
}

func TestRecheckOnTimerWhenNobodyWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a := m.Register(Holder{})
		a.Force(Memtable, 1000)
		p := startReserve(a, 10, Block)
		time.Sleep(time.Second + time.Millisecond)
		// A release whose wake-up is lost.
		a.kinds[Memtable].Add(-100)
		m.kinds[Memtable].Add(-100)
		m.usage.Add(-100)
		<-p.done
		require.NoError(t, p.err)
		require.Equal(t, time.Second+DefaultRecheckInterval, p.took)
		a.Close()
		require.Zero(t, m.Usage())
	})
}

func TestWakeUpNeedsNoTimer(t *testing.T) {
	for _, row := range []struct {
		name string
		n    int64
		wake func(m *WriteBufferManager, a, other *Account)
	}{
		{"release", 10, func(_ *WriteBufferManager, _, other *Account) { other.Release(Memtable, 500) }},
		{"close of another account", 10, func(_ *WriteBufferManager, _, other *Account) { other.Close() }},
		{"a higher limit", 10, func(m *WriteBufferManager, _, _ *Account) { require.NoError(t, m.SetLimit(2000)) }},
		{"oversize, the last bytes in flight reach a memtable", 5000, func(_ *WriteBufferManager, _, other *Account) {
			other.Transfer(InFlight, Memtable, 100)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, err := New(Options{Limit: 1000, RecheckInterval: time.Hour})
				require.NoError(t, err)
				a, other := m.Register(Holder{}), m.Register(Holder{})
				other.Force(Memtable, 900)
				other.Force(InFlight, 100)
				p := startReserve(a, row.n, Block)
				time.Sleep(time.Second)
				require.True(t, p.parked())
				row.wake(m, a, other)
				<-p.done
				require.NoError(t, p.err)
				require.Equal(t, time.Second, p.took)
				require.Equal(t, row.n, a.Usage())
			})
		})
	}
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Options{Limit: 1000, RecheckInterval: time.Hour})
		require.NoError(t, err)
		a, b := m.Register(Holder{}), m.Register(Holder{})
		b.Force(Memtable, 1000)
		closed := startReserve(a, 10, Block)
		late := startReserve(b, 10, Block)
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		timeout := start(func() (Outcome, error) { return Direct, b.Reserve(ctx, InFlight, 10, Block) })
		time.Sleep(time.Second)
		a.Close()
		<-closed.done
		require.ErrorIs(t, closed.err, ErrClosed)
		<-timeout.done
		require.ErrorIs(t, timeout.err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, timeout.took)
		require.True(t, late.parked(), "another account's wait goes on")
		b.Close()
		<-late.done
		require.ErrorIs(t, late.err, ErrClosed)
		require.Zero(t, m.Usage())
		require.Zero(t, m.waiters.Load())
	})
}

func TestEndedContextDoesNotStopWhatFits(t *testing.T) {
	m := newManager(t)
	a := m.Register(Holder{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, a.Reserve(ctx, InFlight, 900, Spill))
	require.ErrorIs(t, a.Reserve(ctx, InFlight, 1, Spill), context.Canceled)
}

func TestOversizeBatchPassesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a, b := m.Register(Holder{}), m.Register(Holder{})
		require.True(t, a.TryReserve(InFlight, 10, Spill))
		first, second := startReserve(b, 5000, Block), startReserve(b, 5000, Block)
		synctest.Wait()
		require.True(t, first.parked() && second.parked())
		a.Release(InFlight, 10)
		synctest.Wait()
		require.NotEqual(t, first.parked(), second.parked(), "one of the two passes")
		require.EqualValues(t, 5000, m.Usage())
		require.False(t, a.TryReserve(InFlight, 1, Block))
		b.Release(InFlight, 5000)
		<-first.done
		<-second.done
		require.EqualValues(t, 5000, m.Usage())
		a.Close()
		b.Close()
	})
}

// Eight writers keep the budget nearly full all the time, each with room for its next small
// batch as soon as it gives the last one back.
func TestBigBatchIsNotStarved(t *testing.T) {
	for _, row := range []struct {
		name    string
		n       int64
		held    time.Duration // by each small batch
		atLeast time.Duration
		atMost  time.Duration
	}{
		{"half of the budget", 500, 8 * time.Millisecond, 100 * time.Millisecond, time.Second},
		{"the whole budget", 1000, 8 * time.Millisecond, 100 * time.Millisecond, time.Second},
		{"more than the budget", 3000, 8 * time.Millisecond, 100 * time.Millisecond, time.Second},
		{"draining takes longer than the first claims last", 1000, 2 * time.Second, 2 * time.Second, 20 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t)
				a, b := m.Register(Holder{}), m.Register(Holder{})
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var small atomic.Int64
				for i := range 8 {
					go func() {
						time.Sleep(time.Duration(i) * row.held / 8)
						for ctx.Err() == nil && b.Reserve(ctx, InFlight, 120, Block) == nil {
							small.Add(1)
							time.Sleep(row.held)
							b.Release(InFlight, 120)
						}
					}()
				}
				time.Sleep(10 * row.held)
				p := startReserve(a, row.n, Block)
				<-p.done
				require.NoError(t, p.err)
				require.Less(t, p.took, row.atMost)
				require.Greater(t, p.took, row.atLeast, "it had to wait: the load is what it should be")
				before := small.Load()
				a.Release(InFlight, row.n)
				time.Sleep(10 * row.held)
				require.Greater(t, small.Load(), before+50, "the small ones go on")
				cancel()
				time.Sleep(2 * row.held)
				require.Zero(t, m.Usage())
			})
		})
	}
}

// The bytes that stand in the way go only if another writer fills the memtable up. A
// claim that never rests would keep that writer out for ever.
func TestClaimRestsForThoseWhoFreeMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a, b := m.Register(Holder{}), m.Register(Holder{})
		b.Force(Memtable, 600)
		big := startReserve(a, 500, Block)
		go func() {
			for range 30 {
				if b.Reserve(t.Context(), Memtable, 10, Block) != nil {
					return
				}
				time.Sleep(30 * time.Millisecond)
			}
			b.Release(Memtable, 900) // sealed and flushed
		}()
		<-big.done
		require.NoError(t, big.err)
		require.Less(t, big.took, time.Minute)
		require.EqualValues(t, 500, m.Usage())
	})
}

func TestAbandonedClaimLetsOthersIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		a, b := m.Register(Holder{}), m.Register(Holder{})
		b.Force(Memtable, 600)
		ctx, cancel := context.WithCancel(context.Background())
		p := start(func() (Outcome, error) { return Direct, a.Reserve(ctx, InFlight, 500, Block) })
		time.Sleep(5 * DefaultRecheckInterval)
		require.NotNil(t, m.gate.claim.Load())
		require.False(t, b.TryReserve(InFlight, 1, Block), "the claim keeps others out")
		b.Force(InFlight, 1)
		b.Release(InFlight, 1)
		waiting := startReserve(b, 1, Block)
		synctest.Wait()
		require.True(t, waiting.parked())
		cancel()
		<-p.done
		<-waiting.done
		require.NoError(t, waiting.err)
	})
}
