package openloop

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVerify(t *testing.T) {
	key := func(r *Run, slot int64) string { return string(r.cfg.Workload.AppendKey(nil, slot)) }
	for _, row := range []struct {
		name    string
		damage  func(*Run, *fakeStore)
		want    Verification
		example string
	}{
		{
			name:   "nothing wrong",
			damage: func(*Run, *fakeStore) {},
		},
		{
			name:    "key gone",
			damage:  func(r *Run, s *fakeStore) { delete(s.data, key(r, 7)) },
			want:    Verification{Missing: 1},
			example: "is missing",
		},
		{
			name:    "one bit flipped",
			damage:  func(r *Run, s *fakeStore) { s.data[key(r, 7)][40] ^= 1 },
			want:    Verification{Wrong: 1},
			example: "has a wrong value: byte 40 is",
		},
		{
			name:    "value cut short",
			damage:  func(r *Run, s *fakeStore) { s.data[key(r, 99)] = s.data[key(r, 99)][:63] },
			want:    Verification{Wrong: 1},
			example: "63 bytes instead of 64",
		},
		{
			name: "values of two keys swapped",
			damage: func(r *Run, s *fakeStore) {
				a, b := key(r, 1), key(r, 2)
				s.data[a], s.data[b] = s.data[b], s.data[a]
			},
			want:    Verification{Wrong: 2},
			example: "has a wrong value: byte 0 is",
		},
		{
			name:    "everything gone",
			damage:  func(_ *Run, s *fakeStore) { clear(s.data) },
			want:    Verification{Missing: 100 + 1}, // once in the scan, once by itself
			example: "is missing",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run, store := verifiable(t)
				row.damage(run, store)
				got, err := run.Verify(t.Context(), store)
				require.NoError(t, err)
				require.Equal(t, row.example == "", got.OK())
				if row.example != "" {
					require.NotEmpty(t, got.Examples)
					require.LessOrEqual(t, len(got.Examples), maxExamples)
					require.Contains(t, got.Examples[0], row.example)
				}
				got.Examples = nil
				row.want.Checked, row.want.PointReads = 100, 1
				require.Equal(t, row.want, got)
			})
		})
	}
}

func TestVerifyCountsWhatTheScanDidNotReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, store := verifiable(t)
		store.scanStop = slices.Sorted(maps.Keys(store.data))[60]
		got, err := run.Verify(t.Context(), store)
		require.NoError(t, err)
		require.EqualValues(t, 40, got.Unreadable)
		require.Zero(t, got.Missing)
		require.Equal(t, "the scan stopped before key "+store.scanStop+": checksum mismatch", got.Examples[0])
	})
}

func TestVerifyAlsoReadsKeysByThemselves(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		want Verification
	}{
		{"point reads find nothing", ErrNotFound, Verification{Checked: 100, PointReads: 1, Missing: 1}},
		{"point reads fail", errors.New("checksum mismatch"), Verification{Checked: 100, PointReads: 1, Unreadable: 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run, store := verifiable(t)
				store.getErr = row.err
				got, err := run.Verify(t.Context(), store)
				require.NoError(t, err)
				require.Len(t, got.Examples, 1)
				got.Examples = nil
				require.Equal(t, row.want, got)
			})
		})
	}
}

func TestVerifyIgnoresKeysThatWereNotAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, store := verifiable(t)
		store.data["0000000000000000"] = []byte("sent, not acknowledged")
		store.data["ffffffffffffffff"] = []byte("sent, not acknowledged")
		store.data["!badger!something"] = nil
		got, err := run.Verify(t.Context(), store)
		require.NoError(t, err)
		require.Equal(t, Verification{Checked: 100, PointReads: 1}, got)
	})
}

// A failed write may be there or not: nobody promised anything.
func TestVerifyAsksOnlyForAcknowledgedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore(ms)
		store.fail = func(at time.Duration) error {
			if at < 500*ms {
				return errors.New("refused")
			}
			return nil
		}
		run := newTestRun(1, 0, Phase{"burst", 100, time.Second})
		run.Begin()
		require.NoError(t, run.Do(t.Context(), store.writer))
		got, err := run.Verify(t.Context(), store)
		require.NoError(t, err)
		require.EqualValues(t, 50, got.Checked)
		require.True(t, got.OK())
	})
}

// verifiable returns a run of 100 acknowledged writes and the store that holds them.
func verifiable(t *testing.T) (*Run, *fakeStore) {
	store := newFakeStore(ms)
	run := newTestRun(2, 0, Phase{"burst", 100, time.Second})
	run.Begin()
	require.NoError(t, run.Do(t.Context(), store.writer))
	return run, store
}
