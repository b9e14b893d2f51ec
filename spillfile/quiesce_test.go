package spillfile

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuiesce(t *testing.T) {
	l := mustOpen(t, testOptions(t.TempDir()))
	require.True(t, l.Quiesce(0), "nothing was ever queued")
	b := newBatch(Entry{Key: []byte("k"), Value: []byte("v")})
	l.Enqueue(b, 1)
	require.False(t, l.Quiesce(time.Millisecond), "it is not answered")
	done := make(chan bool)
	go func() { done <- l.Quiesce(0) }()
	require.NoError(t, l.Commit(b))
	require.True(t, <-done)
	b.Free()
	require.NoError(t, l.Close())
}

// Whoever waits is woken, however often the queue is empty for a moment only.
func TestQuiesceBesideWriters(t *testing.T) {
	l := mustOpen(t, testOptions(t.TempDir()))
	var wg sync.WaitGroup
	var order sync.Mutex
	ts := uint64(0)
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 300 {
				b := newBatch(Entry{Key: []byte("k"), Value: []byte("v")})
				order.Lock()
				ts++
				l.Enqueue(b, ts)
				order.Unlock()
				if err := l.Commit(b); err != nil {
					t.Error(err)
				}
				b.Free()
			}
		}()
	}
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 50 {
				l.Quiesce(0)
			}
		}()
	}
	wg.Wait()
	require.True(t, l.Quiesce(0))
	require.NoError(t, l.Close())
}
