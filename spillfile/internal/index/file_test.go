package index

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// A bit flips in what is in memory of an index file: a read by key misses it, and nothing else
// happens.
func TestBitFlipsOfWhatIsLoaded(t *testing.T) {
	for name, flip := range map[string]func(x *File){
		"none":            func(*File) {},
		"filter":          func(x *File) { clear(x.Filter) },
		"table of leaves": func(x *File) { x.table.lows[0] ^= 0x80 }, // above the key
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := builtOf(t, memoryOf("key"))
			x, err := Open(fileOf(t, b), "i", nil, nil)
			require.NoError(t, err)
			flip(x)
			_, found, err := x.Get([]byte("key"), math.MaxUint64, Hash([]byte("key")))
			require.NoError(t, err)
			require.Equal(t, name == "none", found)
			require.NoError(t, x.Close())
		})
	}
}

func TestNoFileWithoutEntries(t *testing.T) {
	_, err := Build(memoryOf(), Footer{Segment: 1}, nil)
	require.ErrorIs(t, err, ErrEmpty)
}
