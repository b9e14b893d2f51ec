package index

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
)

// No key is missed, and false positives are as rare as the comment at filterBits says.
func TestFilter(t *testing.T) {
	r := seed.Random(t)
	for _, n := range []int{0, 1, 15, 16, 17, 1_000, 60_000} {
		set := map[uint64]bool{}
		var hashes []uint64
		for range n {
			h := Hash(fmt.Appendf(nil, "%016x", r.Uint64()))
			set[h] = true
			hashes = append(hashes, h)
		}
		f := newFilter(hashes)
		for _, h := range hashes {
			require.True(t, f.MayContain(h))
		}
		wrong, tries := 0, 200_000
		for range tries {
			if h := Hash(fmt.Appendf(nil, "%016x", r.Uint64())); f.MayContain(h) && !set[h] {
				wrong++
			}
		}
		// Of few keys some blocks get more than their share: one in 650 was seen.
		require.Less(t, wrong, tries/500, "of %d keys", n)
	}
}
