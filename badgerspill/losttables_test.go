package badgerspill

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

// appendSet appends a change set to a MANIFEST, as Badger does.
func appendSet(t *testing.T, path string, creates, deletes int) {
	t.Helper()
	set := new(pb.ManifestChangeSet)
	for range creates {
		set.Changes = append(set.Changes, &pb.ManifestChange{Op: pb.ManifestChange_CREATE})
	}
	for range deletes {
		set.Changes = append(set.Changes, &pb.ManifestChange{Op: pb.ManifestChange_DELETE})
	}
	text, err := proto.Marshal(set)
	require.NoError(t, err)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	defer f.Close()
	head := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
	_, err = f.Write(append(append(head, 0, 0, 0, 0), text...))
	require.NoError(t, err)
}

func TestLostTables(t *testing.T) {
	type step func(t *testing.T, l *lostTables)
	built := func(compactor, tables int) step {
		return func(_ *testing.T, l *lostTables) {
			for range tables {
				l.line(lineBuilt, []any{compactor, uint64(5), uint64(0), 0})
			}
		}
	}
	done := func(compactor int) step {
		return func(_ *testing.T, l *lostTables) { l.line(lineDone, []any{compactor, 1}) }
	}
	failed := func(compactor int) step {
		return func(_ *testing.T, l *lostTables) { l.line(lineFailed, []any{compactor, errTest, 0}) }
	}
	settled := func(compactor int) step { return func(_ *testing.T, l *lostTables) { l.settle(compactor) } }
	set := func(creates, deletes int) step {
		return func(t *testing.T, l *lostTables) { appendSet(t, l.path, creates, deletes) }
	}
	anew := func(t *testing.T, l *lostTables) {
		require.NoError(t, os.WriteFile(l.path+".new", make([]byte, manifestHeader), 0o600))
		require.NoError(t, os.Rename(l.path+".new", l.path))
		appendSet(t, l.path, 7, 0)
	}
	for _, tt := range []struct {
		name  string
		steps []step
		lost  bool
	}{
		{"nothing", nil, false},
		{"all of them made", []step{built(0, 3), set(3, 2), done(0)}, false},
		{"one is not", []step{built(0, 3), set(2, 2), done(0)}, true},
		{"none is", []step{built(0, 1), set(0, 2), done(0)}, true},
		{"all keys dropped", []step{set(0, 2), done(0)}, false},
		{"a flush does not make up for it", []step{built(0, 1), set(1, 0), set(0, 2), done(0)}, true},
		{"two at once", []step{built(0, 3), built(1, 2), set(2, 1), done(1), set(3, 1), done(0)}, false},
		{"two at once, one loses", []step{built(0, 3), built(1, 2), set(2, 1), done(1), set(2, 1), done(0)}, true},
		{"the other is in MANIFEST and not done", []step{built(0, 1), built(1, 1), set(1, 1), set(0, 1), done(0), done(1)}, true},
		{"a failed one is not counted", []step{built(0, 3), failed(0), built(0, 1), set(1, 1), done(0)}, false},
		{"Flatten, two workers", []step{built(175, 1), built(175, 2), set(1, 1), done(175), set(2, 1), done(175), settled(175)}, false},
		{"Flatten loses", []step{built(175, 1), built(175, 2), set(1, 1), done(175), set(1, 1), done(175), settled(175)}, true},
		{"a worker of Flatten fails", []step{built(175, 1), built(175, 2), set(1, 1), done(175), failed(175), settled(175),
			built(0, 1), set(1, 1), done(0)}, false},
		{"after a worker of Flatten has failed", []step{built(175, 1), built(175, 2), set(1, 1), done(175), failed(175), settled(175),
			built(0, 1), set(0, 1), done(0)}, true},
		{"DropPrefix loses", []step{built(-1, 1), set(0, 1), settled(-1)}, true},
		{"MANIFEST written anew", []step{built(0, 1), set(1, 1), done(0), anew, built(0, 1), set(1, 1), done(0)}, false},
		{"MANIFEST written anew by a compaction", []step{built(0, 4), anew, done(0), built(0, 1), set(1, 1), done(0)}, false},
		{"after MANIFEST was written anew", []step{built(0, 4), anew, done(0), built(0, 1), set(0, 1), done(0)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "MANIFEST"), make([]byte, manifestHeader), 0o600))
			var told []error
			l := newLostTables(dir, func(err error) { told = append(told, err) })
			appendSet(t, l.path, 3, 1) // before Open
			require.NoError(t, l.check())
			for _, s := range tt.steps {
				s(t, l)
			}
			require.NoError(t, l.check())
			require.Equal(t, tt.lost, len(told) == 1, "%v", told)
		})
	}
}

// TestLostTablesAreNoticed: a compaction of Badger loses tables, here since files with their names
// came between a look and it. From there on nothing is replayed, what the spill has stays there,
// and the database says so.
func TestLostTablesAreNoticed(t *testing.T) {
	skipMended(t)
	f := open(t, small, inTree, compacting)
	f.guard.off = true
	f.blockTables(8)
	for i := 0; f.guard.failed.Load() == nil; i++ {
		err := put(f.DB, key(i%500), incompressible(60<<10, i))
		if err != nil {
			require.ErrorIs(t, err, ErrBadgerFailed)
		}
		require.Less(t, i, 5000)
	}
	failed := receive(t, "the event", f.events.failed)
	require.ErrorIs(t, failed.Err, ErrBadgerFailed)
	require.ErrorContains(t, failed.Err, "levels.go:897")
	f.put("k", "1") // to the spill
	require.Equal(t, Spilling, f.routerState())
	require.Equal(t, "1", f.get("k"))
	require.ErrorIs(t, f.drainNow(t.Context(), nil), ErrBadgerFailed)
	require.ErrorIs(t, f.Flatten(1), ErrBadgerFailed)
	require.ErrorIs(t, f.Close(), ErrBadgerFailed)
	g := openAt(t, f.opt.Dir, small, inTree)
	require.Equal(t, "1", g.get("k"))
	g.drained()
	g.direct()
	require.Equal(t, "1", g.inBadger("k"))
}

// TestSpillKeepsWhatBadgerMayHaveLost: a checkpoint lets go of nothing after tables were lost, nor
// while that cannot be told.
func TestSpillKeepsWhatBadgerMayHaveLost(t *testing.T) {
	f := open(t)
	f.spillOne("k", "1")
	f.badgerFailed(errors.New("lost"))
	before := f.log.State().LiveBatches
	require.ErrorIs(t, f.replayLog.notLost(), ErrBadgerFailed)
	require.ErrorIs(t, f.drainNow(t.Context(), nil), ErrBadgerFailed)
	require.Equal(t, before, f.log.State().LiveBatches)
	require.ErrorIs(t, f.Close(), ErrBadgerFailed)
	require.Equal(t, "1", openAt(t, f.opt.Dir).get("k"))
}

// TestNoTablesAreLostInOrdinaryCompactions: no false alarm, and Badger's lines are those that are
// counted.
func TestNoTablesAreLostInOrdinaryCompactions(t *testing.T) {
	f := open(t, small, inTree, compacting, eager)
	for i := range 600 {
		f.put(key(i*7919%300), incompressible(20<<10, i))
		switch i % 200 {
		case 150:
			require.NoError(t, f.Flatten(3))
		case 199:
			require.NoError(t, f.DropPrefix([]byte("key/00")))
		}
	}
	require.NoError(t, f.lost.check())
	require.Nil(t, f.guard.failed.Load())
	f.lost.mu.Lock()
	defer f.lost.mu.Unlock()
	require.Positive(t, f.lost.mu.built)
}
