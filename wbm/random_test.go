package wbm

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
)

// Many goroutines reserve in two databases, give back, are cancelled and time out. At the
// end nothing may be held, and no wake-up may have been lost: the re-check interval is so
// long that one lost wake-up fails the test.
func TestRandomReserveAndRelease(t *testing.T) {
	s := seed.Of(t)
	m, err := New(Options{Limit: 10_000, RecheckInterval: time.Hour})
	require.NoError(t, err)
	var h [2]holder
	accounts := [2]*Account{h[0].register(m, "0"), h[1].register(m, "1")}
	spills := [2]*SpilloverManager{
		NewSpilloverManager(SpilloverOptions{Account: accounts[0], Capacity: 4_000}),
		NewSpilloverManager(SpilloverOptions{Account: accounts[1]}),
	}
	hold := func(r *rand.Rand) {
		for range r.IntN(6) {
			runtime.Gosched()
		}
	}
	var wg, changing kit.WaitGroup
	var failed atomic.Pointer[error]
	// All limits change all the time, up and down, the spills come and go.
	stop := make(chan struct{})
	changing.Go(func() {
		r := rand.New(rand.NewPCG(s, 1<<32))
		for {
			select {
			case <-stop:
				return
			default:
			}
			switch r.IntN(3) {
			case 0:
				require.NoError(t, m.SetLimit(1+r.Int64N(20_000)))
			case 1:
				soft := 0.01 + 0.98*r.Float64()
				require.NoError(t, m.SetRatios(soft, soft+(1-soft)*r.Float64()))
			default:
				spills[r.IntN(2)].SetCapacity(max(0, r.Int64N(8_000)-2_000))
			}
			hold(r)
		}
	})
	for g := range uint64(16) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(s, g))
			for range 1_500 {
				db := r.IntN(2)
				n := 1 + r.Int64N(1_500)
				if r.IntN(200) == 0 {
					n = 12_000
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				if r.IntN(4) == 0 {
					cancel()
				}
				var err error
				switch r.IntN(4) {
				case 0:
					ceiling := Spill + Tier(r.IntN(2))
					if err = accounts[db].Reserve(ctx, InFlight, n, ceiling); err == nil {
						accounts[db].Transfer(InFlight, Memtable, n)
						hold(r)
						accounts[db].Release(Memtable, n)
					}
				case 1:
					accounts[db].Force(SpillIndex, n)
					accounts[db].Release(SpillIndex, n)
				case 2:
					spills[db].SetActive(db == 0 && r.IntN(2) == 0)
				default:
					request := Request{Memory: n, Spill: n * 2 / 3, Index: n / 10}
					var o Outcome
					timeout := [...]time.Duration{-1, 0, time.Millisecond}[r.IntN(3)]
					if o, err = spills[db].Reserve(ctx, request, timeout); err == nil {
						hold(r)
						spills[db].Cancel(request, o)
					}
				}
				cancel()
				if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrWriteBlocked) {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	changing.Wait()
	if e := failed.Load(); e != nil {
		require.NoError(t, *e)
	}
	require.Zero(t, m.Leaks())
	require.Zero(t, m.Usage())
	require.Zero(t, m.waiters.Load())
	for k := range Kind(numKinds) {
		require.Zero(t, m.UsageByKind(k))
	}
	require.Zero(t, spills[0].Usage())
	require.Positive(t, spills[0].Stats().WritersBlocked+spills[1].Stats().WritersBlocked, "the load was too small")
	require.Equal(t, Normal, m.Tier())
	for i := range h {
		changes := h[i].takeChanges()
		require.NotEmpty(t, changes)
		for j, c := range changes {
			require.NotEqual(t, c.old, c.new)
			if j > 0 {
				require.Equal(t, changes[j-1].new, c.old, "change %d follows the one before", j)
			}
		}
		require.Equal(t, Normal, changes[len(changes)-1].new, "what was told last is what is")
	}
}

// Accounts close while others reserve in them: nothing may stay counted.
func TestRandomClose(t *testing.T) {
	s := seed.Of(t)
	m, err := New(Options{Limit: 1_000})
	require.NoError(t, err)
	for round := range uint64(200) {
		a := m.Register(Holder{OnTier: func(_, _ Tier) {}, Relieve: func() {}})
		var wg kit.WaitGroup
		for g := range uint64(4) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(s, round<<8|g))
				for {
					n := 1 + r.Int64N(700)
					if err := a.Reserve(context.Background(), InFlight, n, Block); err != nil {
						return
					}
					a.Transfer(InFlight, Memtable, n)
					a.Force(SpillIndex, 3)
					if r.IntN(8) > 0 { // else left to Close
						a.Release(Memtable, n)
					}
					a.Release(SpillIndex, 3)
				}
			})
		}
		a.Close()
		wg.Wait()
		require.Zero(t, m.Usage(), "round %d", round)
	}
	require.Zero(t, m.Leaks())
	require.Zero(t, m.UsageByKind(InFlight)+m.UsageByKind(Memtable)+m.UsageByKind(SpillIndex))
	require.Empty(t, m.Accounts())
}
