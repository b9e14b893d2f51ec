package spillfile

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// seedIndex is a log with one indexed segment, its files and the bytes of the index.
func seedIndex(tb testing.TB) (files map[string]string, file []byte) {
	m := vfstest.NewDisk()
	l, err := Open(faultOptions(m, true, nil))
	require.NoError(tb, err)
	b := NewBatch()
	for i := range 120 {
		b.Add(&Entry{Key: fmt.Appendf(nil, "a long common prefix/%03d", i/3), Version: uint64(i%3 + 1), Value: []byte("v"), ExpiresAt: uint64(i % 2)})
	}
	l.Enqueue(b, 7)
	require.NoError(tb, l.Commit(b))
	b.Free()
	require.NoError(tb, l.Seal())
	require.NoError(tb, put(l, 8, "z", "last"))
	require.NoError(tb, l.syncAll(false))
	require.NoError(tb, l.indexSealed())
	files = m.Files()
	require.NoError(tb, l.Close())
	file = []byte(files[index.Name(1)])
	require.NotEmpty(tb, file)
	return files, file
}

// FuzzIndexFile: whatever the file holds, a log that finds it beside its segment never answers
// otherwise than the segment does. Who can forge checksums can make an index that leaves entries
// out, and only encryption prevents that: then there is an answer, or an error that matches
// ErrCorrupt.
func FuzzIndexFile(f *testing.F) {
	files, file := seedIndex(f)
	f.Add(file, false)
	f.Add(file, true)
	f.Add(file[len(file)-forgery.IndexFooterBytes:], true)
	f.Add(file[:100], false)
	f.Add([]byte{}, true)
	for _, at := range []int{0, 8, 12, 20, 200, len(file) / 2, len(file) - forgery.IndexFooterBytes - 20, len(file) - 100, len(file) - 80} {
		f.Add([]byte(forgery.Flip(string(file), at, 0xff)), true)
	}
	whole := vfstest.DiskOf("/spill", files)
	l, err := Open(faultOptions(whole, true, nil))
	require.NoError(f, err)
	want := dump(f, l)
	require.NoError(f, l.Close())
	f.Fuzz(func(t *testing.T, b []byte, stamped bool) {
		b = bytes.Clone(b)
		if stamped {
			forgery.RestampIndex(b)
		}
		disk := clone(files)
		disk[index.Name(1)] = string(b)
		l, err := Open(faultOptions(vfstest.DiskOf("/spill", disk), true, nil))
		if stamped && err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.NoError(t, err)
		defer l.Close()
		if !stamped {
			requireSame(t, want, dump(t, l))
			return
		}
		bounded(t, len(b), 40, func() {
			if _, err := tryDump(l); err != nil {
				require.ErrorIs(t, err, ErrCorrupt)
			}
			answers(t, l, "a long common prefix/007")
		})
	})
}

// answers requires that reads of a key by each version that it has end with an answer, or with an
// error that matches ErrCorrupt.
func answers(t *testing.T, l *Log, key string) {
	t.Helper()
	v := l.Acquire()
	require.NotNil(t, v)
	defer v.Release()
	for ts := range uint64(5) {
		ref, ok, err := v.Get([]byte(key), ts, true)
		if err == nil && ok {
			_, err = v.Value(ref, nil)
		}
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
		}
	}
}
