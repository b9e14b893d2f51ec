package settle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// State is a picture of a database.
type State struct {
	Levels    []badger.LevelInfo
	Pending   int64 // commits in the spill that Badger does not hold yet
	Memtables int   // logs of memtables in the directory; one belongs to the active memtable
	Tables    int   // files of tables in the directory
}

// Look takes a picture of the database in dir, which has those levels.
func Look(dir string, levels []badger.LevelInfo, pending int64) (State, error) {
	s := State{Levels: levels, Pending: pending}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return s, err
	}
	for _, entry := range entries {
		name := entry.Name()
		switch ext := filepath.Ext(name); {
		case !numbered(strings.TrimSuffix(name, ext)):
			// the interlock of the spill ends in .mem, too
		case ext == ".mem":
			s.Memtables++
		case ext == ".sst":
			s.Tables++
		}
	}
	return s, nil
}

func numbered(name string) bool {
	return name != "" && strings.Trim(name, "0123456789") == ""
}

// Busy says what the database still has to do, "" if nothing. What the active memtable holds does
// not count: it is at most one memtable, in every engine.
func (s State) Busy() string {
	if s.Pending > 0 {
		return fmt.Sprintf("%d commits in the spill", s.Pending)
	}
	if s.Memtables > 1 {
		return fmt.Sprintf("%d sealed memtables to flush", s.Memtables-1)
	}
	inLevels := 0
	for _, l := range s.Levels {
		inLevels += l.NumTables
		// Badger gives a score only to a level that is due. It leaves out of it what is being
		// compacted, which Size does not.
		last := l.Level == len(s.Levels)-1
		if l.Score >= 1 || !last && l.Level > 0 && l.TargetSize > 0 && l.Size >= l.TargetSize {
			return fmt.Sprintf("level %d to compact: %d tables, %d bytes of %d", l.Level, l.NumTables, l.Size, l.TargetSize)
		}
	}
	// A table is on disk before its level knows of it, and until its last reader is gone.
	if s.Tables != inLevels {
		return fmt.Sprintf("%d files of tables, %d tables in levels", s.Tables, inLevels)
	}
	return ""
}

func (s State) equal(t State) bool {
	return s.Pending == t.Pending && s.Memtables == t.Memtables && s.Tables == t.Tables && slices.Equal(s.Levels, t.Levels)
}

// Wait looks at a database every poll until it was not busy and did not change for all of window.
// It returns since when; the error of look; or that of ctx, with what the database was busy with
// last.
func Wait(ctx context.Context, look func() (State, error), window, poll time.Duration) (since time.Time, err error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var seen State
	busy := "nothing was seen yet"
	for {
		now := time.Now()
		state, err := look()
		if err != nil {
			return now, err
		}
		if busy != "" || !state.equal(seen) {
			since = now
		}
		if seen, busy = state, state.Busy(); busy == "" && now.Sub(since) >= window {
			return since, nil
		}
		select {
		case <-ctx.Done():
			if busy == "" {
				busy = "it still changes"
			}
			return now, fmt.Errorf("not settled (%s): %w", busy, ctx.Err())
		case <-tick.C:
		}
	}
}
