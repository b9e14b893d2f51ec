package seed

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var given = flag.Uint64("seed", 0, "seed of the random tests; 0 = a new one")

// Random returns a source for the test. Its seed is printed if the test fails, and can be given
// back with -args -seed. The source is not safe for concurrent use.
func Random(t *testing.T) *rand.Rand {
	seed := *given
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d: repeat with -run '^%s$' -args -seed %d", seed, t.Name(), seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}
