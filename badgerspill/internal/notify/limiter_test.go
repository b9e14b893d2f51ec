package notify

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLimiterLetsFewLinesOfAKindPass(t *testing.T) {
	now := time.Unix(1, 0)
	l := Limiter{Now: func() time.Time { return now }, Most: 2}
	passed := 0
	for range 10 {
		if more, ok := l.Allow("a"); ok {
			require.Empty(t, more)
			passed++
		}
	}
	require.Equal(t, 2, passed)
	_, ok := l.Allow("b")
	require.True(t, ok, "another kind")
	now = now.Add(LineInterval)
	more, ok := l.Allow("a")
	require.True(t, ok)
	require.Equal(t, " (and 8 more such lines since the last)", more)
	more, ok = l.Allow("a")
	require.True(t, ok)
	require.Empty(t, more)
}
