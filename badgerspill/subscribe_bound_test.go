package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
)

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what finalizers have let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// stuck subscribes with a callback that hangs until release is called, in the first of its calls.
func (f *fixture) stuck(told *int) (release func(), ended <-chan error) {
	hang, called := make(chan struct{}), make(chan struct{}, 1)
	first := true
	ended = async(func() error {
		return f.Subscribe(context.Background(), func(list *KVList) error {
			if first {
				first = false
				called <- struct{}{}
				<-hang
			}
			*told += len(list.Kv)
			return nil
		}, []pb.Match{{Prefix: []byte("k")}})
	})
	eventually(f.t, "it subscribes", func() bool { return f.publisher.count.Load() == 1 })
	f.put("k", "v")
	receive(f.t, "an update", called)
	release = sync.OnceFunc(func() { close(hang) })
	f.t.Cleanup(release)
	return release, ended
}

// TestStuckSubscriberIsBounded: a callback hangs. What waits for it ends at a bound of memory, or
// of updates, whatever they are made of; then commits wait, and when the callback returns they go
// on, and it is told of all.
func TestStuckSubscriberIsBounded(t *testing.T) {
	for name, row := range map[string]struct {
		value, perCommit int
		by               string
	}{
		"large values":               {256 << 10, 1, "bytes"},
		"values of 200 bytes":        {200, 200, "updates"},
		"values of a kilobyte":       {1 << 10, 200, "bytes"},
		"many tiny entries a commit": {0, 1000, "updates"},
		"a tiny entry a commit":      {8, 1, "updates"},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, func(opt *Options) {
				opt.MemoryLimit, opt.ValueThreshold, opt.BlockTimeout, opt.Tuning.ReplayHighWater = 64<<20, 1<<20, Off, 1
			})
			told := 0
			release, ended := f.stuck(&told)
			value := incompressible(row.value, 1)
			commit := func() error {
				return f.Update(func(txn *Txn) error {
					for j := range row.perCommit {
						if err := txn.Set(fmt.Appendf(nil, "k%d", j), []byte(value)); err != nil {
							return err
						}
					}
					return nil
				})
			}
			commits, most := 0, 2*maxBehindUpdates
			var err error
			for ; err == nil && commits*row.perCommit < most; commits++ {
				err = commit()
			}
			require.ErrorIs(t, err, ErrWriteBlocked)
			require.ErrorContains(t, err, "subscriber")
			commits--
			st := f.SpillStats()
			require.Equal(t, 1, st.Subscribers)
			require.Positive(t, st.SubscriberWaits)
			one := int64(row.perCommit) * updateMemory(5, row.value)
			require.LessOrEqual(t, st.SubscriberBacklog, int64(maxBehindBytes)+one+updateMemory(1, 1))
			var updates int
			var bytes int64
			f.publisher.mu.Lock()
			for _, s := range f.publisher.subs {
				updates, bytes = len(s.list), s.bytes
			}
			f.publisher.mu.Unlock()
			require.Equal(t, row.by == "updates", updates >= maxBehindUpdates, "%d updates", updates)
			require.Equal(t, row.by == "bytes", bytes >= maxBehindBytes, "%d bytes", bytes)
			release()
			eventually(t, "commits go on", func() bool { return commit() == nil })
			require.NoError(t, f.Close())
			require.NoError(t, receive(t, "end of the subscription", ended))
			require.Equal(t, 1+(commits+1)*row.perCommit, told)
			require.Zero(t, f.SpillStats().SubscriberBacklog)
		})
	}
}

// TestUpdateMemory: what is counted for an update is what it takes in the heap.
func TestUpdateMemory(t *testing.T) {
	p := newPublisher()
	s, _, err := p.add([]pb.Match{{Prefix: []byte("k")}})
	require.NoError(t, err)
	for _, size := range []int{0, 1, 20, 100, 300, 1000, 5000, 40_000} {
		n := min(20_000, 64<<20/(size+200))
		key := []byte("key-of-20-bytes-long")
		value := make([]byte, size)
		p.take(s)
		before := heapInUse()
		for range n {
			c := &pipeline.Commit{Ts: 1, Entries: []spillfile.Entry{{Key: key, Value: value}}}
			p.match(c)
			p.deliver(c)
		}
		takes := float64(heapInUse()-before) / float64(n)
		counted := float64(s.bytes) / float64(n)
		t.Logf("a value of %d bytes: %.0f bytes counted, %.0f in the heap", size, counted, takes)
		require.Greater(t, counted, 0.9*takes)
		require.Less(t, counted, 1.3*takes)
		runtime.KeepAlive(s)
	}
}

// TestCloseContextEndsTheWaitForACallback: Close waits for a callback; CloseContext until its
// context ends, and then closes the database nevertheless.
func TestCloseContextEndsTheWaitForACallback(t *testing.T) {
	f := open(t)
	told := 0
	release, ended := f.stuck(&told)
	f.put("other", "v")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	err := receive(t, "end of CloseContext", async(func() error { return f.CloseContext(ctx) }))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "Subscribe")
	require.True(t, f.IsClosed())
	release()
	require.NoError(t, receive(t, "end of the subscription", ended))
	require.Equal(t, 1, told)

	again := openAt(t, f.opt.Dir)
	require.Equal(t, "v", again.get("other"))
	require.False(t, errors.Is(again.Close(), context.DeadlineExceeded))
}
