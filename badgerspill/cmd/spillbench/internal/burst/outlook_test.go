package burst

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOutlook(t *testing.T) {
	var o outlook
	require.Zero(t, o.at(0, 1000), "nothing went yet")
	require.Zero(t, o.at(time.Second, 1000), "nothing went")
	require.Equal(t, 18*time.Second, o.at(2*time.Second, 900))
	for s := 3; s <= 30; s++ { // ten times as slow from here on
		o.at(time.Duration(s)*time.Second, 900-int64(s-2)*10)
	}
	require.InDelta(t, 61*time.Second, o.at(31*time.Second, 610), float64(time.Second), "only the last ten seconds count")
	require.Zero(t, o.at(32*time.Second, 0))
}
