package host

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
	type step func(t *testing.T, l *LostTables)
	built := func(compactor, tables int) step {
		return func(_ *testing.T, l *LostTables) {
			for range tables {
				l.Line(lineBuilt, []any{compactor, uint64(5), uint64(0), 0})
			}
		}
	}
	done := func(compactor int) step {
		return func(_ *testing.T, l *LostTables) { l.Line(lineDone, []any{compactor, 1}) }
	}
	failed := func(compactor int) step {
		return func(_ *testing.T, l *LostTables) { l.Line(lineFailed, []any{compactor, errors.New("test"), 0}) }
	}
	settled := func(compactor int) step { return func(_ *testing.T, l *LostTables) { l.Settle(compactor) } }
	set := func(creates, deletes int) step {
		return func(t *testing.T, l *LostTables) { appendSet(t, l.path, creates, deletes) }
	}
	anew := func(t *testing.T, l *LostTables) {
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
			l := NewLostTables(dir, func(err error) { told = append(told, err) })
			appendSet(t, l.path, 3, 1) // before Open
			require.NoError(t, l.Check())
			for _, s := range tt.steps {
				s(t, l)
			}
			require.NoError(t, l.Check())
			require.Equal(t, tt.lost, len(told) == 1, "%v", told)
		})
	}
}
