package badger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dgraph-io/badger/v4/pb"
)

// A load of ten entries does not take memory for a hundred thousand.
func TestMendLoader(t *testing.T) {
	db := mendOpen(t, mendOptions(t.TempDir()).WithMemTableSize(64<<20))
	version := uint64(0)
	load := func() {
		l := db.NewKVLoader(4)
		for i := 0; i < 10; i++ {
			version++
			require.NoError(t, l.Set(&pb.KV{Key: mendKey(i), Value: mendValue(i), Version: version}))
		}
		require.NoError(t, l.Finish())
	}
	load()
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; i < b.N; i++ {
			load()
		}
	})
	require.Less(t, result.AllocedBytesPerOp(), int64(200<<10))
}
