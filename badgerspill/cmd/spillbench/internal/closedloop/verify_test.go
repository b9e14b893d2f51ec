package closedloop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fixed is a run over keys of slots 0 to 9, of which 0 to 4 were there before. Write i is the value
// of slot 100+i; the keys and times of the writes are given.
func fixed(keys []int64, began, acked []time.Duration) *Run {
	r := NewRun(Config{
		Workload: load,
		Key:      func(i int64) int64 { return keys[i] },
		Value:    func(i int64) int64 { return 100 + i },
		Writes:   int64(len(keys)),
		Record:   true,
	})
	copy(r.began, began)
	copy(r.acked, acked)
	return r
}

func TestWhatAKeyMayHold(t *testing.T) {
	// Key 1 is written by 0 and 2, one after the other; key 7 by 1, 3 and 4, of which 3 and 4
	// overlap. 3 is the slower one.
	run := fixed([]int64{1, 7, 1, 7, 7},
		[]time.Duration{0, 0, 20, 30, 40},
		[]time.Duration{10, 10, 30, 60, 50})
	right := map[int64]int64{0: 0, 1: 102, 2: 2, 3: 3, 4: 4, 7: 104}

	for _, row := range []struct {
		name    string
		key     int64
		holds   int64 // the value of that slot, -1 = the key is missing
		missing int64
		wrong   string
	}{
		{name: "all as it should be", key: 7, holds: 104},
		{name: "overlapping writes in the other order", key: 7, holds: 103},
		{name: "value from before the run, never overwritten", key: 3, holds: 3},
		{name: "lost write", key: 1, holds: 1, wrong: "the one from before the run, which made 2 writes to the key"},
		{name: "stale write", key: 1, holds: 100, wrong: "one that was acknowledged 10ns before the last write to the key began"},
		{name: "stale write of several", key: 7, holds: 101, wrong: "one that was acknowledged 30ns before the last write to the key began"},
		{name: "value of a write to another key", key: 7, holds: 102, wrong: "none of the 3 that were written to the key"},
		{name: "strange value", key: 3, holds: 104, wrong: "not the one from before the run, which wrote none"},
		{name: "missing key from before the run", key: 2, holds: -1, missing: 1},
		{name: "missing new key", key: 7, holds: -1, missing: 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			store := newFakeStore()
			for key, value := range right {
				store.data[string(load.AppendKey(nil, key))] = load.AppendValue(nil, value)
			}
			key := string(load.AppendKey(nil, row.key))
			if delete(store.data, key); row.holds >= 0 {
				store.data[key] = load.AppendValue(nil, row.holds)
			}
			v, err := run.Verify(t.Context(), store, 5, 10)
			require.NoError(t, err)
			require.EqualValues(t, 6, v.Checked)
			if row.wrong == "" && row.missing == 0 {
				require.True(t, v.OK(), "%v", v.Examples)
				return
			}
			// The first key is also read by itself, and counts twice if it is the one.
			require.GreaterOrEqual(t, v.Missing, row.missing)
			require.False(t, v.OK())
			if row.wrong != "" {
				require.Contains(t, v.Examples[0], row.wrong)
			}
		})
	}
}

func TestRecordedRunIsVerified(t *testing.T) {
	const keys, before = 50, 25
	p := Pattern{Seed: 3, Keys: keys, Hot: 2, HotPercent: 50}
	store := newFakeStore()
	for slot := range int64(before) {
		store.data[string(load.AppendKey(nil, slot))] = load.AppendValue(nil, slot)
	}
	run := NewRun(Config{
		Workload: load, Key: p.Slot, Value: func(i int64) int64 { return keys + i }, Writes: 500, Writers: 8, Record: true,
	})
	require.NoError(t, run.Do(t.Context(), store.writer))
	v, err := run.Verify(t.Context(), store, before, keys)
	require.NoError(t, err)
	require.True(t, v.OK(), "%v", v.Examples)
	require.EqualValues(t, len(store.data), v.Checked)

	// The hottest key once more with its very first value.
	for i := range int64(500) {
		if p.Slot(i) == 0 {
			store.data[string(load.AppendKey(nil, 0))] = load.AppendValue(nil, keys+i)
			break
		}
	}
	v, err = run.Verify(t.Context(), store, before, keys)
	require.NoError(t, err)
	require.Positive(t, v.Wrong)
}
