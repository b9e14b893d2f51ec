//go:build go1.25

package pipeline

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
)

// The parts sum up to the whole, and a commit that nobody measures takes no time for them.
func TestTrace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.badger.hold()
		trace := new(Trace)
		trace.Start()
		s := w.begin()
		c := w.commit(s, "a", trace)
		require.NoError(t, w.Submit(context.Background(), 0, s, c))
		time.AfterFunc(time.Second, func() { w.badger.answer(nil, false) })
		require.NoError(t, w.Await(c))
		require.Equal(t, ByBadger, trace.By)
		require.Equal(t, time.Second, trace.Spent[PartToBadger])
		require.Equal(t, time.Second, trace.Total)

		var none *Trace
		c.Batch = spillfile.NewBatch()
		require.Zero(t, testing.AllocsPerRun(100, func() {
			none.Start()
			none.ended(PartRoom)
			none.wasSent()
			none.wasHedged()
			none.answeredBadger(nil)
			none.answeredSpill(c.Batch, nil)
			none.finish(c)
			none.failed()
			if none.batchTimes() != nil {
				t.Fatal("times that nobody asks for")
			}
		}))
	})
}
