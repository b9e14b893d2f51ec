//go:build go1.25

package wbm

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// spinLimit is how often relief may be asked for before a parked commit counts as spinning. That
// would stop the clock of a synctest bubble for ever, so its context ends then.
const spinLimit = 1000

func (h *holder) stopSpinning() (ctx context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	h.relieve = func() {
		if h.relieved.Load() >= spinLimit {
			cancel()
		}
	}
	return ctx
}

// The claim of a starved commit on memory kept the index of another database's spill out, whose
// commits, parked though their spill had room, took and gave it back in a loop: a whole core.
func TestClaimOnMemoryLetsOtherDatabasesSpill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		h := new(holder)
		spinning := h.stopSpinning()
		a, b := m.Register(Holder{}), h.register(m, "b")
		s := NewSpilloverManager(SpilloverOptions{Account: b, Capacity: 1000})
		s.Force(500, 0)
		s.SetActive(true)
		b.Force(Memtable, 600)
		ctx, cancel := context.WithCancel(context.Background())
		big := start(func() (Outcome, error) { return Direct, a.Reserve(ctx, InFlight, 500, Block) })
		defer func() {
			cancel()
			<-big.done
			a.Close()
			b.Close()
		}()
		time.Sleep(5 * DefaultRecheckInterval)
		require.NotNil(t, m.gate.claim.Load())

		small := start(func() (Outcome, error) {
			return s.Reserve(spinning, Request{Memory: 1, Spill: 1, Index: 1}, time.Second)
		})
		<-small.done
		require.NoError(t, small.err)
		require.Equal(t, Spilled, small.outcome)
		require.Zero(t, small.took, "it has what it needs")
		require.True(t, big.parked())
	})
}

// The same in one database: the large commit does not fit into the spill, the small one does.
func TestClaimOnMemoryLetsSmallCommitsSpill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		h := new(holder)
		spinning := h.stopSpinning()
		a := h.register(m, "a")
		s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 300})
		a.Force(Memtable, 600)
		big := start(func() (Outcome, error) {
			return s.Reserve(context.Background(), Request{Memory: 500, Spill: 500, Index: 10}, time.Second)
		})
		defer func() {
			<-big.done
			require.ErrorIs(t, big.err, ErrWriteBlocked)
			a.Close()
		}()
		time.Sleep(5 * DefaultRecheckInterval)
		require.NotNil(t, m.gate.claim.Load())

		small := start(func() (Outcome, error) {
			return s.Reserve(spinning, Request{Memory: 1, Spill: 1, Index: 1}, time.Second)
		})
		<-small.done
		require.NoError(t, small.err)
		require.Equal(t, Spilled, small.outcome)
		require.Zero(t, small.took, "it has what it needs")
	})
}
