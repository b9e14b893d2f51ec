package usage

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFields(t *testing.T) {
	text := []byte("rchar: 1\nwrite_bytes: 4096\ncancelled_write_bytes: -3\nRss:        1724 kB\nbad: kB\nempty:\n")
	for _, row := range []struct {
		name string
		want int64
		err  string
	}{
		{name: "write_bytes", want: 4096},
		{name: "cancelled_write_bytes", want: -3},
		{name: "Rss", want: 1724},
		{name: "bytes", err: "no line bytes"},
		{name: "bad", err: `strconv.ParseInt: parsing "kB": invalid syntax`},
		{name: "empty", err: `no number in the line "empty:"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := field(text, row.name)
			if row.err != "" {
				require.EqualError(t, err, row.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, row.want, got)
		})
	}
}

func TestHeapCountsWhatIsAllocated(t *testing.T) {
	const size = 8 << 20
	before := InHeap()
	object := make([]byte, size)
	held := InHeap()
	require.GreaterOrEqual(t, held.Allocated-before.Allocated, int64(size))
	require.Less(t, held.Allocated-before.Allocated, int64(2*size))
	require.GreaterOrEqual(t, held.InUse, int64(size))
	runtime.KeepAlive(object)
	object = nil
	runtime.GC()
	freed := InHeap()
	require.Less(t, freed.InUse, int64(size))
	require.GreaterOrEqual(t, freed.Allocated, held.Allocated, "what was allocated stays counted")
}
