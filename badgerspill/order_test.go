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
