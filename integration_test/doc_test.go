package integration_test

import "github.com/badgerspill/badgerspill/integration_test/kit/seed"

// random returns the source of a random test; -seed takes its seed back.
var random = seed.Random
