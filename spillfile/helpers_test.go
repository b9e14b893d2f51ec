package spillfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

// newRand returns the source of a random test; -seed takes its seed back.
var newRand = seed.Random

var (
	testID  = [16]byte{1, 2, 3, 4}
	testKey = []byte("0123456789abcdef")
)

func testOptions(dir string) Options {
	return Options{Dir: dir, DatabaseID: testID, SegmentSize: 64 << 10}
}

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	require.NoError(t, err)
	return l
}

func newBatch(entries ...Entry) *Batch {
	b := NewBatch()
	for i := range entries {
		b.Add(&entries[i])
	}
	b.Finish()
	return b
}

// put commits one key at ts.
func put(l *Log, ts uint64, key, value string) error {
	b := newBatch(Entry{Key: []byte(key), Value: []byte(value)})
	defer b.Free()
	l.Enqueue(b, ts)
	return l.Commit(b)
}

func mustPut(t testing.TB, l *Log, ts uint64, key, value string) {
	t.Helper()
	require.NoError(t, put(l, ts, key, value))
}

func mustPutEntries(t testing.TB, l *Log, ts uint64, entries ...Entry) {
	t.Helper()
	b := newBatch(entries...)
	l.Enqueue(b, ts)
	require.NoError(t, l.Commit(b))
	b.Free()
}

// get reads the newest version; "" with false if there is none.
func get(t testing.TB, l *Log, key string) (string, bool) {
	t.Helper()
	v := l.Acquire()
	if v == nil {
		return "", false
	}
	defer v.Release()
	r, ok, err := v.Get([]byte(key), math.MaxUint64, false)
	require.NoError(t, err)
	if !ok {
		return "", false
	}
	b, err := v.Value(r, nil)
	require.NoError(t, err)
	return string(b), true
}

// dump reads the whole log through its iterator: "key@version" to value.
func dump(t testing.TB, l *Log) map[string]string {
	t.Helper()
	got, err := tryDump(l)
	require.NoError(t, err)
	return got
}

func tryDump(l *Log) (map[string]string, error) {
	got := map[string]string{}
	v := l.Acquire()
	if v == nil {
		return got, nil
	}
	defer v.Release()
	it := v.NewIterator(false)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		version := y.ParseTs(it.Key())
		value, err := v.Value(it.Ref(), nil)
		if err != nil {
			return nil, err
		}
		got[fmt.Sprintf("%s@%d", y.ParseKey(it.Key()), version)] = string(value)
	}
	return got, it.Err()
}

// tryReadAll reads everything through chunks.
func tryReadAll(l *Log) error {
	c := new(Chunk)
	for !c.AtEnd {
		if err := l.ReadChunkInto(c, c.Next, 1000); err != nil {
			return err
		}
	}
	return nil
}

// readAll reads everything through chunks.
func readAll(t testing.TB, l *Log, maxBytes int64) []Entry {
	t.Helper()
	var all []Entry
	for from := (Position{}); ; {
		c, err := l.ReadChunk(from, maxBytes)
		require.NoError(t, err)
		all = append(all, c.Entries...)
		from = c.Next
		if c.AtEnd {
			return all
		}
	}
}

// snapshot reads every file of a directory.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the background has renamed or removed it
		}
		require.NoError(t, err)
		got[e.Name()] = string(b)
	}
	return got
}

func restore(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for name, b := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(b), 0o600))
	}
}

// crash copies the directory of an open log: what a killed process would leave.
func crash(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "crashed")
	restore(t, to, snapshot(t, dir))
	return to
}

func segmentFiles(t testing.TB, dir string) []string {
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

func randomValue(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func requireSame(t testing.TB, want, got map[string]string) {
	t.Helper()
	require.Equal(t, len(want), len(got))
	for k, v := range want {
		require.True(t, bytes.Equal([]byte(v), []byte(got[k])), "%s", k)
	}
}

func modeOf(t testing.TB, path string) fs.FileMode {
	t.Helper()
	fi, err := os.Stat(path)
	require.NoError(t, err)
	return fi.Mode().Perm()
}

// waitFor polls a condition that another goroutine brings about, in tests without a fake clock.
func waitFor(cond func() bool) bool {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if cond() {
			return true
		}
	}
	return false
}

// bounded requires that f allocates at most perByte bytes for each byte of the input, beside what
// any input takes.
func bounded(t *testing.T, input, perByte int, f func()) {
	const fixed = 8 << 20 // pools, buffers of fixed size, and what other goroutines do
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(fixed+perByte*input), "bytes allocated for an input of %d", input)
}
