package badger

import (
	"runtime"
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
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := 0; i < 100; i++ { // far from filling a memtable
		load()
	}
	runtime.ReadMemStats(&after)
	require.Less(t, (after.TotalAlloc-before.TotalAlloc)/100, uint64(200<<10))
}
