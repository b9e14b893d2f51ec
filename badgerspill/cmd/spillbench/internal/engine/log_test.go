package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

func openTestLog(t *testing.T, dir string, opt Options) *bareLog {
	t.Helper()
	e, err := Open(Log, dir, opt)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return e.(*bareLog)
}

// writeAll makes every writer write n keys of its own, all writers at once.
func writeAll(t *testing.T, l *bareLog, writers, n int) (want map[string]string) {
	t.Helper()
	want = map[string]string{}
	var all sync.WaitGroup
	for w := range writers {
		for i := range n {
			want[fmt.Sprintf("key/%03d/%03d", w, i)] = fmt.Sprintf("%*d", i, w)
		}
		all.Go(func() {
			write := l.Writer()
			for i := range n {
				if err := write(fmt.Appendf(nil, "key/%03d/%03d", w, i), fmt.Appendf(nil, "%*d", i, w)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	return want
}

func requireHolds(t *testing.T, e Engine, want map[string]string) {
	t.Helper()
	got, last := map[string]string{}, ""
	require.NoError(t, e.Scan(func(key, value []byte) bool {
		require.Less(t, last, string(key))
		last = string(key)
		got[last] = string(value)
		return true
	}))
	require.Equal(t, want, got)
	n := 0
	require.NoError(t, e.ScanKeys(func(key []byte) bool {
		n++
		require.Contains(t, want, string(key))
		return n < 2
	}))
	require.Equal(t, min(2, len(want)), n)
	for key, value := range want {
		got, err := e.Get([]byte(key), []byte("before "))
		require.NoError(t, err)
		require.Equal(t, "before "+value, string(got))
	}
	_, err := e.Get([]byte("another"), nil)
	require.ErrorIs(t, err, openloop.ErrNotFound)
}

func TestLogHoldsWhatWasAcknowledged(t *testing.T) {
	for _, sync := range []bool{false, true} {
		t.Run(fmt.Sprintf("sync %t", sync), func(t *testing.T) {
			dir := t.TempDir()
			l := openTestLog(t, dir, Options{SyncWrites: sync})
			want := writeAll(t, l, 8, 40)
			requireHolds(t, l, want)
			// What is written after a read is found, too, and replaces what was there.
			b := l.Batch()
			require.NoError(t, b.Set([]byte("key/000/000"), []byte("anew")))
			require.NoError(t, b.Flush())
			want["key/000/000"] = "anew"
			requireHolds(t, l, want)
			require.NoError(t, l.Close())
			requireHolds(t, openTestLog(t, dir, Options{Checking: true}), want)
		})
	}
}

// A leader that waits for the group before takes with it all that come meanwhile.
func TestLogWritesAGroupAtOnce(t *testing.T) {
	l := openTestLog(t, t.TempDir(), Options{})
	const writers, size = 10, logHead + 3 + 5
	l.writing.Lock()
	var all sync.WaitGroup
	var acknowledged atomic.Int64
	for i := range writers {
		all.Go(func() {
			if err := l.Writer()(fmt.Appendf(nil, "k%02d", i), []byte("value")); err != nil {
				t.Error(err)
			}
			if l.written.Load() == writers*size {
				acknowledged.Add(1)
			}
		})
	}
	gathered := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.gathering.records)
	}
	for deadline := time.Now().Add(time.Minute); gathered() < writers*size; runtime.Gosched() {
		require.True(t, time.Now().Before(deadline), "%d bytes in the group", gathered())
	}
	require.Zero(t, l.written.Load())
	l.writing.Unlock()
	all.Wait()
	require.EqualValues(t, writers, acknowledged.Load(), "after their group was written")
	require.EqualValues(t, writers*size, l.written.Load())
	require.Zero(t, gathered())
}

func TestLogThatCannotBeWrittenStaysBroken(t *testing.T) {
	l := openTestLog(t, t.TempDir(), Options{})
	healthy := l.file
	readOnly, err := os.Open(healthy.Name())
	require.NoError(t, err)
	defer readOnly.Close()
	l.file = readOnly
	write := l.Writer()
	require.ErrorContains(t, write([]byte("a"), []byte("1")), "log is broken, make a new one: write ")
	l.file = healthy
	require.ErrorContains(t, write([]byte("b"), []byte("2")), "log is broken", "half a group may be before it")
	requireHolds(t, l, map[string]string{})
}

func TestDamagedLogNamesTheRecord(t *testing.T) {
	const first = logHead + 1 + 5
	for _, row := range []struct {
		name   string
		damage func(file []byte) []byte
		want   string
	}{
		{"bit of a value flipped", func(b []byte) []byte { b[first+logHead+3] ^= 1; return b }, "record at 18: CRC32C is 0x"},
		{"length flipped", func(b []byte) []byte { b[first+4] ^= 1; return b }, "record at 18: CRC32C is 0x"},
		{"length without bounds", func(b []byte) []byte { b[first+3] = 0xff; return b }, "do not fit into what is left, 18"},
		{"half a record at the end", func(b []byte) []byte { return b[:first+logHead+2] }, "do not fit into what is left, 14"},
		{"half a head at the end", func(b []byte) []byte { return b[:first+5] }, "record at 18: unexpected EOF"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			l := openTestLog(t, dir, Options{})
			write := l.Writer()
			require.NoError(t, write([]byte("a"), []byte("first")))
			require.NoError(t, write([]byte("b"), []byte("other")))
			require.NoError(t, l.Close())
			file := filepath.Join(dir, logFile)
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(file, row.damage(raw), 0o600))

			l = openTestLog(t, dir, Options{Checking: true})
			err = l.Scan(func(_, _ []byte) bool { return true })
			require.ErrorContains(t, err, row.want)
			require.ErrorContains(t, err, file)
			_, err = l.Get([]byte("a"), nil)
			require.ErrorContains(t, err, row.want, "whoever looks, until the end")
		})
	}
}

func TestEveryEngineIsOpenedByItsName(t *testing.T) {
	for _, name := range Names() {
		e, err := Open(name, t.TempDir(), Options{})
		if _, mended := Mended(name); mended && badgerspill.BadgerBuild().Mends == "" {
			require.ErrorIs(t, err, errReleased, name)
			continue
		}
		require.NoError(t, err, name)
		require.NoError(t, e.Close(), name)
	}
	_, err := Open("another", t.TempDir(), Options{})
	require.EqualError(t, err, `unknown engine "another"`)
}
