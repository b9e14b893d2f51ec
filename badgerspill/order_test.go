package badgerspill

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// If the router should ever be wrong, a commit fails before it passes what is in the spill.
func TestNoCommitPassesTheSpill(t *testing.T) {
	f := open(t, func(o *Options) { o.SpillPolicy = Always })
	f.put("k", "1")
	f.mu.Lock()
	require.False(t, f.log.Empty())
	require.Equal(t, Spilling, f.router.state)
	f.mu.Unlock()
	setState := func(s RouterState) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.turn(s)
	}
	setState(Direct)
	err := put(f.DB, "k", "2")
	setState(Spilling)
	require.ErrorIs(t, err, errPastTheSpill)
	require.Equal(t, "1", f.get("k"))
	f.put("k", "3")
	require.Equal(t, "3", f.get("k"))
}

// A group that the spill could not write may go to Badger after all. The log counts it as answered
// before the router hears of it: a hand-over in between would let later commits pass it.
func TestNoHandOverBetweenAFailedGroupAndItsNews(t *testing.T) {
	f := open(t)
	require.NoError(t, f.turnToSpill(CauseRate))
	entered, fail := make(chan struct{}), make(chan struct{})
	f.hooks.set(func(op, path string) error {
		if op != "write" || !isSegment(path) {
			return nil
		}
		f.hooks.clear()
		close(entered)
		<-fail
		return errTest
	})
	written := f.putAsync("k", "1")
	receive(t, "the write", entered)

	f.gate.Lock()
	f.mu.Lock()
	close(fail)
	answered := f.log.Quiesce(waitLimit)
	handed, err := f.replayLog.tryHandOver()
	state, unsettled := f.router.state, f.line.last() != nil
	f.mu.Unlock()
	f.gate.Unlock()
	require.True(t, answered)
	require.True(t, unsettled, "the news has not come")
	require.NoError(t, err)
	require.False(t, handed)
	require.Equal(t, Spilling, state)

	require.NoError(t, receive(t, "the commit", written))
	require.Equal(t, "1", f.get("k"))
	f.put("k", "2")
	f.direct()
	require.Equal(t, "2", f.inBadger("k"))
}
