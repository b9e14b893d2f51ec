package block

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
)

// The cache stays within its bound, knows what it holds, and gives out nothing but what was put
// under a key.
func TestCache(t *testing.T) {
	var none *Cache
	none.Put(CacheBlock, 1, 1, []byte("x"), 1)
	raw, _ := none.Get(CacheBlock, 1, 1)
	require.Nil(t, raw)
	require.Zero(t, none.Memory())

	const size = 1 << 20
	c := NewCache(size)
	from := seed.Random(t).Uint64()
	var work kit.WaitGroup
	for w := range uint64(4) {
		work.Go(func() {
			r := rand.New(rand.NewPCG(from, w))
			for range 20_000 {
				kind, segment, at := uint64(r.IntN(2)), uint64(r.IntN(50)), int64(r.IntN(100))
				want := bytes.Repeat([]byte{byte(kind), byte(segment), byte(at)}, 1+int(at)*10)
				if raw, ts := c.Get(kind, segment, at); raw == nil {
					c.Put(kind, segment, at, want, segment)
				} else if ts != segment || !bytes.Equal(raw, want) {
					t.Errorf("%d/%d/%d holds another block", kind, segment, at)
					return
				}
				if used := c.Memory(); used > size {
					t.Errorf("%d bytes in a cache of %d", used, size)
					return
				}
			}
		})
	}
	work.Wait()
	held := func() (n int64) {
		for i := range c.shards {
			for _, b := range c.shards[i].blocks {
				n += b.cost()
			}
		}
		return n
	}
	require.Greater(t, held(), int64(size/2))
	require.Equal(t, held(), c.Memory())
	c.Forget(CacheIndex, 7)
	for i := range c.shards {
		for k := range c.shards[i].blocks {
			require.False(t, k.kind == CacheIndex && k.segment == 7)
		}
	}
	require.Equal(t, held(), c.Memory())
	c.Clear()
	require.Zero(t, c.Memory())
	require.Zero(t, held())
}
