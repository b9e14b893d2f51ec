package seed

import (
	"flag"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

var given = flag.Uint64("seed", 0, "seed of the random tests; 0 = a new one")

// Of returns the seed of the test: that of -seed, or a new one, which is never 0. The test's log
// says how to run the test with it again, so it is printed if the test fails, and with -v. A test
// that needs several sources makes them of it.
func Of(t testing.TB) uint64 {
	t.Helper()
	seed := *given
	for seed == 0 {
		seed = uint64(rand.Uint32()) // the clock of testing/synctest always says the same
	}
	t.Logf("seed %d: repeat with -run '%s' -args -seed %d", seed, pattern(t.Name()), seed)
	return seed
}

// Random returns a source of the test's seed, see Of. The source is not safe for concurrent use.
func Random(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(Of(t), 1))
}

// pattern is what -run needs for the test of this name alone.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}
