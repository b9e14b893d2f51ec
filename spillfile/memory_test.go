package spillfile

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// The segment that was prepared ahead kept its arena after the log was empty, as long as nobody
// wrote.
func TestEmptyLogKeepsNoMemory(t *testing.T) {
	o := testOptions(t.TempDir())
	o.SegmentSize = 1 << 20
	l := mustOpen(t, o)
	defer l.Close()
	prepared := func() (s *segment, memory bool) {
		l.prep.mu.Lock()
		defer l.prep.mu.Unlock()
		return l.prep.ready, l.prep.ready != nil && l.prep.ready.index.Load() != nil
	}
	mustPut(t, l, 1, "a", string(randomValue(newRand(t), 700<<10)))
	require.True(t, waitFor(func() bool { _, memory := prepared(); return memory }), "no segment was prepared")
	require.NoError(t, l.DiscardAll())
	require.True(t, l.Empty())
	require.True(t, waitFor(func() bool { _, memory := prepared(); return !memory }), "an arena of %d bytes is kept",
		index.ArenaSize(o.SegmentSize))
	s, _ := prepared()
	require.NotNil(t, s, "the file may stay")
}

// A chunk that is used again kept the memory of all the largest values that it ever held.
func TestChunkKeepsNoLargeBuffers(t *testing.T) {
	l := mustOpen(t, testOptions(t.TempDir()))
	defer l.Close()
	random := rand.NewChaCha8([32]byte{})
	for i := range 3 {
		value := make([]byte, (i+1)*3<<20)
		_, _ = random.Read(value)
		mustPut(t, l, uint64(i+1), "a", string(value))
	}
	mustPut(t, l, 9, "b", "small")
	var c Chunk
	for from := (Position{}); !c.AtEnd; from = c.Next {
		require.NoError(t, l.ReadChunkInto(&c, from, 1<<20))
	}
	require.Equal(t, "small", string(c.Entries[len(c.Entries)-1].Value))
	c.Reset()
	held := c.reader.Memory() + c.slabs.Memory()
	require.LessOrEqual(t, held, 3<<20)
}
