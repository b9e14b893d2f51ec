package wbm

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newManager has a limit of 1000, tiers at 800 and 900, and fails the test if anything
// was released twice or is still held at its end.
func newManager(t testing.TB) *WriteBufferManager {
	t.Helper()
	m, err := New(Options{Limit: 1000})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Zero(t, m.Leaks(), "leaks")
		require.Zero(t, m.waiters.Load(), "waiters")
		require.Nil(t, m.gate.claim.Load(), "claim")
	})
	return m
}

// holder counts what the manager asks of it.
type holder struct {
	relieved atomic.Int64
	// relieve does the relief, if set.
	relieve func()
	mu      sync.Mutex
	changes []tierChange
}

func (h *holder) register(m *WriteBufferManager, name string) *Account {
	return m.Register(Holder{
		Name: name,
		Relieve: func() {
			h.relieved.Add(1)
			if h.relieve != nil {
				h.relieve()
			}
		},
		OnTier: func(old, new Tier) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.changes = append(h.changes, tierChange{old, new})
		},
	})
}

func (h *holder) takeChanges() []tierChange {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.changes
	h.changes = nil
	return c
}

// pending is a call that runs in its own goroutine.
type pending struct {
	done    chan struct{}
	outcome Outcome
	err     error
	took    time.Duration
}

func start(f func() (Outcome, error)) *pending {
	p := &pending{done: make(chan struct{})}
	begun := time.Now()
	go func() {
		defer close(p.done)
		p.outcome, p.err = f()
		p.took = time.Since(begun)
	}()
	return p
}

func startReserve(a *Account, n int64, ceiling Tier) *pending {
	return start(func() (Outcome, error) {
		return Direct, a.Reserve(context.Background(), InFlight, n, ceiling)
	})
}

func (p *pending) parked() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func spill(s *SpilloverManager, n int64) *pending { return spillWithin(s, context.Background(), n, 0) }

func spillWithin(s *SpilloverManager, ctx context.Context, n int64, timeout time.Duration) *pending {
	return start(func() (Outcome, error) { return s.Reserve(ctx, Request{Memory: n, Spill: n}, timeout) })
}
