package index

import (
	"os"
	"runtime"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// segmentEnd is where the segment of the tests ends: their locations lie before it.
const segmentEnd = 1 << 20

// memoryOf returns an index with one version of each key.
func memoryOf(keys ...string) *Memory {
	mem := NewMemory(1<<20, 0)
	for i, key := range keys {
		at := Location{Segment: 1, Block: block.SegmentHeaderSize + int64(i), Stored: 100, KeyLen: uint32(len(key))}
		mem.Put(y.KeyWithTs([]byte(key), uint64(i+1)), y.ValueStruct{Value: AppendLocation(nil, at), UserMeta: byte(i)})
	}
	return mem
}

// builtOf returns the index file of an index in memory, and its footer.
func builtOf(t testing.TB, mem *Memory) ([]byte, Footer) {
	built, err := Build(mem, Footer{Segment: 1, End: segmentEnd, FirstSeq: 1, LastSeq: 9}, nil)
	require.NoError(t, err)
	return built.Bytes, built.footer
}

// fileOf returns a file with such bytes.
func fileOf(t testing.TB, b []byte) vfs.File {
	f, err := vfstest.DiskOf("/spill", map[string]string{"i": string(b)}).OpenFile("/spill/i", os.O_RDONLY, 0)
	require.NoError(t, err)
	return f
}

// bounded requires that f allocates at most perByte bytes for each byte of the input, beside what
// any input takes.
func bounded(t *testing.T, input, perByte int, f func()) {
	const fixed = 4 << 20 // buffers of fixed size, and what other goroutines do
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(fixed+perByte*input), "bytes allocated for an input of %d", input)
}
