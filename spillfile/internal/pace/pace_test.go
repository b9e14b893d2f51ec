//go:build go1.25

package pace

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPacerKeepsToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pacer{Rate: 1 << 20}
		begin := time.Now()
		for range 80 {
			require.NoError(t, p.Read(t.Context(), 128<<10))
		}
		require.InDelta(t, 10, time.Since(begin).Seconds(), 0.1)
		time.Sleep(time.Hour) // what was not read in a pause is not caught up with
		begin = time.Now()
		for range 80 {
			require.NoError(t, p.Read(t.Context(), 128<<10))
		}
		require.InDelta(t, 10, time.Since(begin).Seconds(), 0.3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin = time.Now()
		require.ErrorIs(t, p.Read(ctx, 1<<30), context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begin))
	})
}
