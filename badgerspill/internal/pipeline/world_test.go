//go:build go1.25

package pipeline

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// bubble runs a test of a new world in time that passes when nothing else can.
func bubble(t *testing.T, test func(t *testing.T, w *world), change ...func(*Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, change...)) })
}

// putInOrder commits keys one after the other, each when the one before has its place.
func (w *world) putInOrder(keys ...string) (outcomes []*outcome) {
	for _, k := range keys {
		outcomes = append(outcomes, w.put(k))
		synctest.Wait()
	}
	return outcomes
}

func knownOnes(outcomes []*outcome) (known []bool) {
	for _, o := range outcomes {
		known = append(known, o.known())
	}
	return known
}

func succeeded(t *testing.T, outcomes ...*outcome) {
	t.Helper()
	synctest.Wait()
	for i, o := range outcomes {
		require.True(t, o.known(), "commit %d has an outcome", i)
		require.NoError(t, o.err, "commit %d", i)
	}
}
