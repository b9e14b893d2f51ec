package spilltest

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

// ID is the database that the spills belong to.
var ID = [16]byte{1, 2, 3, 4}

// Options returns those of a spill in dir.
func Options(dir string) spillfile.Options {
	return spillfile.Options{Dir: dir, DatabaseID: ID, SegmentSize: 64 << 10}
}

// MustOpen opens a spill.
func MustOpen(t testing.TB, o spillfile.Options) *spillfile.Log {
	t.Helper()
	l, err := spillfile.Open(o)
	require.NoError(t, err)
	return l
}

// Put commits one key at ts.
func Put(l *spillfile.Log, ts uint64, key, value string) error {
	return commit(l, ts, spillfile.Entry{Key: []byte(key), Value: []byte(value)})
}

// MustPut is Put that must succeed.
func MustPut(t testing.TB, l *spillfile.Log, ts uint64, key, value string) {
	t.Helper()
	require.NoError(t, Put(l, ts, key, value))
}

// MustPutEntries commits entries at ts.
func MustPutEntries(t testing.TB, l *spillfile.Log, ts uint64, entries ...spillfile.Entry) {
	t.Helper()
	require.NoError(t, commit(l, ts, entries...))
}

func commit(l *spillfile.Log, ts uint64, entries ...spillfile.Entry) error {
	b := spillfile.NewBatch()
	for i := range entries {
		b.Add(&entries[i])
	}
	b.Finish()
	defer b.Free()
	l.Enqueue(b, ts)
	return l.Commit(b)
}

// Dump reads the whole log through an iterator: "key@version" to value.
func Dump(t testing.TB, l *spillfile.Log) map[string]string {
	t.Helper()
	got := map[string]string{}
	v := l.Acquire()
	if v == nil {
		return got
	}
	defer v.Release()
	it := v.NewIterator(false)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		value, err := v.Value(it.Ref(), nil)
		require.NoError(t, err)
		got[fmt.Sprintf("%s@%d", y.ParseKey(it.Key()), y.ParseTs(it.Key()))] = string(value)
	}
	require.NoError(t, it.Err())
	return got
}

// Segments returns the names of the segments in dir, in order.
func Segments(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if _, ok := block.ParseSegmentName(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	sort.Strings(names)
	return names
}

// Crash copies the directory of an open log: what a killed process would leave.
func Crash(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "crashed")
	require.NoError(t, os.MkdirAll(to, 0o700))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if os.IsNotExist(err) {
			continue // the background has renamed or removed it
		}
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(to, e.Name()), b, 0o600))
	}
	return to
}

// WaitFor polls a condition that another goroutine brings about, in tests without a fake clock.
func WaitFor(cond func() bool) bool {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if cond() {
			return true
		}
	}
	return false
}
