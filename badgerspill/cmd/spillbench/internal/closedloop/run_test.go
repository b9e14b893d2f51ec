package closedloop

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// fakeStore takes a millisecond for a write and fails when fail says so.
type fakeStore struct {
	fail func(n int) error

	mu      sync.Mutex
	data    map[string][]byte
	writes  int
	writers int
}

func newFakeStore() *fakeStore { return &fakeStore{data: map[string][]byte{}} }

func (s *fakeStore) writer() func(key, value []byte) error {
	s.writers++
	return func(key, value []byte) error {
		time.Sleep(time.Millisecond)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.writes++
		if s.fail != nil {
			if err := s.fail(s.writes); err != nil {
				return err
			}
		}
		s.data[string(key)] = append([]byte(nil), value...)
		return nil
	}
}

func (s *fakeStore) Scan(visit func(key, value []byte) bool) error {
	for _, key := range slices.Sorted(maps.Keys(s.data)) {
		if !visit([]byte(key), s.data[key]) {
			break
		}
	}
	return nil
}

func (s *fakeStore) Get(key, dst []byte) ([]byte, error) {
	value, ok := s.data[string(key)]
	if !ok {
		return dst, openloop.ErrNotFound
	}
	return append(dst, value...), nil
}

var load = openloop.NewWorkload(1, 32)

func TestEveryWriteIsMadeOnceAsFastAsItIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		run := NewRun(Unique(load, 1000, 100, 4))
		begin := time.Now()
		require.NoError(t, run.Do(t.Context(), store.writer))
		require.Equal(t, 25*time.Millisecond, time.Since(begin))
		require.EqualValues(t, 100, run.Done())
		require.Equal(t, 4, store.writers)
		require.Len(t, store.data, 100)
		for slot := int64(1000); slot < 1100; slot++ {
			require.Equal(t, load.AppendValue(nil, slot), store.data[string(load.AppendKey(nil, slot))])
		}
	})
}

func TestRunOfGivenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		cfg := Unique(load, 0, 0, 2)
		cfg.For = 10 * time.Millisecond
		run := NewRun(cfg)
		begin := time.Now()
		require.NoError(t, run.Do(t.Context(), store.writer))
		require.Equal(t, 10*time.Millisecond, time.Since(begin))
		require.EqualValues(t, 20, run.Done())
		require.Len(t, store.data, 20)
		for slot := range run.Done() {
			require.Contains(t, store.data, string(load.AppendKey(nil, slot)), "the first ones, none was left out")
		}
	})
}

func TestFirstErrorEndsTheRun(t *testing.T) {
	full := errors.New("disk full")
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		store.fail = func(n int) error {
			if n >= 11 {
				return full
			}
			return nil
		}
		run := NewRun(Unique(load, 0, 1000, 2))
		require.ErrorIs(t, run.Do(t.Context(), store.writer), full)
		require.EqualValues(t, 10, run.Done())
		require.LessOrEqual(t, store.writes, 12)
	})
}

func TestInterruptEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Microsecond)
		defer cancel()
		run := NewRun(Unique(load, 0, 1000, 1))
		require.ErrorIs(t, run.Do(ctx, newFakeStore().writer), context.DeadlineExceeded)
		require.EqualValues(t, 6, run.Done())
	})
}
