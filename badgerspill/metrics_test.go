package badgerspill

import (
	"encoding/json"
	"expvar"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every number of SpillStats is an expvar of the open database, and gone after Close.
func TestMetricsFollowSpillStats(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(DefaultOptions(dir).WithLogger(nil).WithSpillPolicy(Always))
	require.NoError(t, err)
	require.NoError(t, db.Update(func(txn *Txn) error { return txn.Set([]byte("k"), []byte("v")) }))

	read := func(name string) (any, bool) {
		var all map[string]any
		require.NoError(t, json.Unmarshal([]byte(expvar.Get(name).String()), &all))
		v, ok := all[dir]
		return v, ok
	}
	v, ok := read("badgerspill_commits_spilled")
	require.True(t, ok)
	require.EqualValues(t, 1, v)
	require.Greater(t, len(metricFields), 20)
	for name := range metricFields {
		_, ok := read(name)
		require.True(t, ok, name)
	}
	require.NoError(t, db.Close())
	_, ok = read("badgerspill_commits_spilled")
	require.False(t, ok)
}
