package settle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
)

// settled is a tree of seven levels with 2, 0, 0, 0, 0, 3 and 30 tables.
func settled() State {
	levels := make([]badger.LevelInfo, 7)
	for i := range levels {
		levels[i] = badger.LevelInfo{Level: i, TargetSize: 10 << 20}
	}
	levels[0].TargetSize = 0
	levels[0].NumTables, levels[0].Size = 2, 100<<20
	levels[5].NumTables, levels[5].Size, levels[5].TargetSize = 3, 9<<20, 100<<20
	levels[6].NumTables, levels[6].Size, levels[6].TargetSize = 30, 1<<30, 1<<30
	return State{Levels: levels, Memtables: 1, Tables: 35}
}

func TestBusy(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*State)
		want   string
	}{
		{"settled, the last level is as large as its target", func(*State) {}, ""},
		{"empty database", func(s *State) { *s = State{Levels: make([]badger.LevelInfo, 7), Memtables: 1} }, ""},
		{"spill", func(s *State) { s.Pending = 7 }, "7 commits in the spill"},
		{"sealed memtables", func(s *State) { s.Memtables = 3 }, "2 sealed memtables to flush"},
		{"level 0 is due", func(s *State) {
			s.Levels[0].NumTables, s.Levels[0].Score, s.Tables = 5, 1, 38
		}, "level 0 to compact: 5 tables, 104857600 bytes of 0"},
		{"level 5 is due", func(s *State) {
			s.Levels[5].Size, s.Levels[5].Score = 105<<20, 1.05
		}, "level 5 to compact: 3 tables, 110100480 bytes of 104857600"},
		{"level 5 is being compacted, which its score leaves out", func(s *State) {
			s.Levels[5].Size = 105 << 20
		}, "level 5 to compact: 3 tables, 110100480 bytes of 104857600"},
		{"compaction has made a table", func(s *State) { s.Tables = 36 }, "36 files of tables, 35 tables in levels"},
		{"table is held by a reader", func(s *State) { s.Levels[6].NumTables = 29 }, "35 files of tables, 34 tables in levels"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := settled()
			row.change(&s)
			require.Equal(t, row.want, s.Busy())
		})
	}
}

func TestLookCountsWhatIsNumbered(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"00001.mem", "00017.mem", "000001.sst", "000020.sst", "000021.sst", "MANIFEST", "000001.vlog",
		"UNREPLAYED-SPILL--open-with-badgerspill.mem", ".mem", "12a.sst"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	s, err := Look(dir, settled().Levels, 3)
	require.NoError(t, err)
	require.Equal(t, State{Levels: settled().Levels, Pending: 3, Memtables: 2, Tables: 3}, s)

	_, err = Look(filepath.Join(dir, "absent"), nil, 0)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestWaitReturnsSinceWhenNothingChanged(t *testing.T) {
	for _, row := range []struct {
		name  string
		state func(at time.Duration) State
		since time.Duration
	}{
		{"settled from the start", func(time.Duration) State { return settled() }, 0},
		{"busy for three seconds", func(at time.Duration) State {
			s := settled()
			if at < 3*time.Second {
				s.Pending = 1
			}
			return s
		}, 3 * time.Second},
		{"pauses for less than the window", func(at time.Duration) State {
			s := settled()
			if at < 5*time.Second && at%time.Second < 200*time.Millisecond {
				s.Memtables = 2
			}
			return s
		}, 4200 * time.Millisecond},
		{"is never busy when looked at, but changes", func(at time.Duration) State {
			s := settled()
			n := min(int(at/(600*time.Millisecond)), 5)
			s.Levels[6].NumTables += n
			s.Tables += n
			return s
		}, 3 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				look := func() (State, error) { return row.state(time.Since(begin)), nil }
				since, err := Wait(t.Context(), look, time.Second, 50*time.Millisecond)
				require.NoError(t, err)
				require.Equal(t, row.since, since.Sub(begin))
				require.Equal(t, row.since+time.Second, time.Since(begin))
			})
		})
	}
}

func TestWaitEndsWithItsContextAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		busy := settled()
		busy.Pending = 12
		_, err := Wait(ctx, func() (State, error) { return busy, nil }, time.Second, 50*time.Millisecond)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "not settled (12 commits in the spill): context deadline exceeded")
	})
}

func TestWaitEndsWithAnError(t *testing.T) {
	gone := errors.New("directory is gone")
	_, err := Wait(t.Context(), func() (State, error) { return State{}, gone }, time.Second, time.Second)
	require.ErrorIs(t, err, gone)
}
