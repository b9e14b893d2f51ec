package host

import (
	"errors"
	"reflect"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
)

// TestUnsyncedByItsLine: of Badger's error lines those count that tell of a sync.
func TestUnsyncedByItsLine(t *testing.T) {
	cause := errors.New("input/output error")
	for _, row := range []struct {
		name   string
		format string
		arg    any
		noted  bool
	}{
		{"the value log, after a write", "Error while curlf sync: %v\n", cause, true},
		{"the memtable's log", "writeRequests: %v", errors.New("writeRequests err: input/output error"), true},
		{"a full file of the value log", "writeRequests: %v", errors.New(`Unable to sync value log: "000001.vlog" err: input/output error`), true},
		{"no memtable", "writeRequests: %v", errors.New("writeRequests err: cannot create new mem table err: file exists"), false},
		{"Badger closes", "writeRequests: %v", errors.New("writeRequests err: No room for write"), false},
		{"a wrong request", "writeRequests: %v", errors.New("writeRequests err: Ptrs and Entries don't match: x"), false},
		{"an entry that has no place", "writeRequests: %v", errors.New("writeRequests err: while writing to memTable err: x"), false},
		{"no file of the value log", "writeRequests: %v", errors.New("while opening file: 000002.vlog err: file exists"), false},
		{"another line", "Failure while flushing memtable to disk: %v. Retrying...\n", cause, false},
		{"no error", "Error while curlf sync: %v\n", "input/output error", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var told []error
			u := NewUnsynced(func(err error) { told = append(told, err) })
			l := NewLogger(nil, nil, u)
			l.Errorf(row.format, row.arg)
			if !row.noted {
				require.NoError(t, u.Err())
				require.Empty(t, told)
				return
			}
			l.Errorf(row.format, row.arg)
			require.Len(t, told, 1, "once")
			require.ErrorIs(t, told[0], row.arg.(error))
			require.ErrorIs(t, u.Err(), ErrFailed)
			require.ErrorIs(t, u.Err(), row.arg.(error))
		})
	}
}

// TestCommitThatIsNotSynced: Badger cannot sync a log with SyncWrites. The commit has an error,
// also where Badger says that all is well, and nothing counts as synced any more.
func TestCommitThatIsNotSynced(t *testing.T) {
	for name, size := range map[string]int{"memtable": 1, "value log": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			var told []error
			u := NewUnsynced(func(err error) { told = append(told, err) })
			lines := NewLogger(nil, nil, u)
			e, _ := openEngine(t, func(opt *badger.Options) { opt.SyncWrites, opt.Logger = true, lines })
			lines.Mends(e.state)
			e.unsynced = u
			value := string(make([]byte, size))
			require.NoError(t, commit(t, e, &pipeline.Commit{Ts: 7, Entries: []spillfile.Entry{entry("a", value, 0, 0)}}))
			log := reach(e.state.active.Elem(), "wal")
			if name == "value log" {
				log = reach(e.state.values, "filesMap").MapIndex(reach(e.state.values, "maxFid"))
			}
			mapped := mappedBy(log)
			data := mapped.Data
			if mapped.Data = data[1:]; z.Msync(mapped.Data) == nil { // not where a page begins
				t.Skip("this system syncs no mapped file, or any")
			}
			err := commit(t, e, &pipeline.Commit{Ts: 8, Entries: []spillfile.Entry{entry("b", value, 0, 0)}})
			require.Error(t, err)
			require.Error(t, e.Load([]spillfile.Entry{entry("c", value, 9, 0)}))
			mapped.Data = data
			require.Len(t, told, 1)
			require.ErrorIs(t, commit(t, e, &pipeline.Commit{Ts: 10, Entries: []spillfile.Entry{entry("d", "1", 0, 0)}}), ErrFailed)
			require.ErrorIs(t, e.Load([]spillfile.Entry{entry("e", "1", 11, 0)}), ErrFailed)
			require.ErrorIs(t, e.Sync(), ErrFailed)
		})
	}
}

func mappedBy(log reflect.Value) *z.MmapFile {
	return reach(log.Elem(), "MmapFile").Interface().(*z.MmapFile)
}
