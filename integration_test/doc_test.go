package integration_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 = a new one")

// random returns a source whose seed is printed if the test fails, and can be given back with -seed.
func random(t *testing.T) *rand.Rand {
	seed := *seedFlag
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
