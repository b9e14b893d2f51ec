package spillfile

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// TestEventsOfASegmentComeInOrder: created, sealed, dropped, removed, whichever goroutines do that.
func TestEventsOfASegmentComeInOrder(t *testing.T) {
	var mu sync.Mutex
	seen := map[uint64]EventKind{}
	var wrong []Event
	removed := 0
	o := testOptions(t.TempDir())
	o.FS = vfstest.NewDisk()
	o.Dir = "/spill"
	o.OnEvent = func(e Event) {
		runtime.Gosched()
		mu.Lock()
		defer mu.Unlock()
		switch e.Kind {
		case SegmentCreated, SegmentSealed, SegmentDropped, SegmentRemoved:
			if last, ok := seen[e.Segment]; ok && last >= e.Kind {
				wrong = append(wrong, e)
			}
			seen[e.Segment] = e.Kind
			if e.Kind == SegmentRemoved {
				removed++
			}
		}
	}
	l := mustOpen(t, o)
	defer l.Close()
	const rounds, each = 5, 300
	for range rounds {
		for range each {
			mustPut(t, l, 1, "k", "v")
			require.NoError(t, l.Seal())
		}
		require.NoError(t, l.MarkReplayed(l.State().LastSeq))
	}
	require.True(t, waitFor(func() bool { mu.Lock(); defer mu.Unlock(); return removed == rounds*each }))
	mu.Lock()
	defer mu.Unlock()
	require.Empty(t, wrong)
}
