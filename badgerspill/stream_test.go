package badgerspill

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/stretchr/testify/require"
)

// TestStreamThatCannotRun is an error of the call. In Badger it ends the process, in a goroutine
// that nobody can catch, or the stream is empty.
func TestStreamThatCannotRun(t *testing.T) {
	f := open(t)
	for i := range 100 {
		f.put(key(i), "v")
	}
	send := func(*z.Buffer) error { return nil }
	toList := func(_ []byte, _ *Iterator, _ int) (*pb.KVList, error) { return nil, nil }
	for field, change := range map[string]func(st *Stream){
		"Stream.NumGo is 0":           func(st *Stream) { st.NumGo = 0 },
		"Stream.NumGo is -1":          func(st *Stream) { st.NumGo = -1 },
		"Stream.Send":                 func(st *Stream) { st.Send = nil },
		"needs KeyToListWithThreadId": func(st *Stream) { st.UseKeyToListWithThreadId = true },
		"and FinishThread":            func(st *Stream) { st.UseKeyToListWithThreadId, st.KeyToListWithThreadId = true, toList },
	} {
		t.Run(field, func(t *testing.T) {
			st := f.NewStream()
			st.Send = send
			change(st)
			require.ErrorContains(t, st.Orchestrate(t.Context()), field)
		})
	}
	g := open(t, func(opt *Options) { opt.NumGoroutines = 0 })
	_, err := g.Backup(io.Discard, 0)
	require.ErrorContains(t, err, "NumGoroutines")
}

// TestFinishThreadMayHaveNothing: in Badger a nil list ends the process.
func TestFinishThreadMayHaveNothing(t *testing.T) {
	f := open(t)
	f.put("k", "v")
	sent := 0
	st := f.NewStream()
	st.UseKeyToListWithThreadId = true
	st.KeyToListWithThreadId = func(key []byte, it *Iterator, _ int) (*pb.KVList, error) { return st.ToList(key, it) }
	st.FinishThread = func(int) (*pb.KVList, error) { return nil, nil }
	st.Send = func(buf *z.Buffer) error {
		list, err := BufferToKVList(buf)
		sent += len(list.Kv)
		return err
	}
	require.NoError(t, st.Orchestrate(t.Context()))
	require.Equal(t, 1, sent)
}

// openDamaged opens a database with three keys whose values are in the value log, and damages the
// entry of the second.
func openDamaged(t *testing.T, damage func(entry []byte), changes ...func(*Options)) *fixture {
	changes = append(changes, noSpill, inValues)
	f := open(t, changes...)
	for i := range 3 {
		f.put(key(i), incompressible(2<<10, i))
	}
	path := filepath.Join(f.opt.ValueDir, "000001.vlog")
	for range 2 { // Badger looks at the newest file when it opens
		require.NoError(t, f.Close())
		f = openAt(t, f.opt.Dir, changes...)
	}
	require.NoError(t, f.Close())
	log, err := os.ReadFile(path)
	require.NoError(t, err)
	at := bytes.Index(log, []byte(key(1)))
	require.Positive(t, at)
	damage(log[at-5:])
	require.NoError(t, os.WriteFile(path, log, 0o600))
	return openAt(t, f.opt.Dir, changes...)
}

// TestValuesThatBadgerCannotRead are errors. Badger has empty values, and no error.
func TestValuesThatBadgerCannotRead(t *testing.T) {
	f := openDamaged(t, func(entry []byte) { entry[100] ^= 1 }, func(opt *Options) { opt.VerifyValueChecksum = true })
	const said = "could not read the value of key \"key/0001\""
	require.NoError(t, f.View(func(txn *Txn) error {
		item, err := txn.Get([]byte(key(1)))
		require.NoError(t, err)
		_, err = item.ValueCopy(nil)
		require.ErrorContains(t, err, said)
		require.ErrorContains(t, item.Value(nil), said)
		require.ErrorContains(t, item.Value(func([]byte) error { t.Error("called"); return nil }), said)
		for _, prefetch := range []bool{false, true} {
			it := txn.NewIterator(IteratorOptions{PrefetchValues: prefetch, PrefetchSize: 10})
			defer it.Close()
			n := 0
			for it.Rewind(); it.Valid(); it.Next() {
				_, err := it.Item().ValueCopy(nil)
				if n == 1 {
					require.ErrorContains(t, err, said)
				} else {
					require.NoError(t, err)
				}
				n++
			}
			require.Equal(t, 3, n)
		}
		return nil
	}))
	var backup bytes.Buffer
	_, err := f.Backup(&backup, 0)
	require.ErrorContains(t, err, said)
	restored := openAt(t, t.TempDir())
	require.NoError(t, restored.Load(&backup, 1))
	require.Equal(t, incompressible(2<<10, 2), restored.get(key(2)))
	st := f.NewStream()
	st.Send = func(*z.Buffer) error { return nil }
	require.ErrorContains(t, st.Orchestrate(t.Context()), said)
	st.ChooseKey = func(item *Item) bool { return string(item.Key()) != key(1) }
	require.NoError(t, st.Orchestrate(t.Context()))
}

// TestDamagedHeaderKeepsNoLock: in Badger it does, and Close waits for that for ever.
func TestDamagedHeaderKeepsNoLock(t *testing.T) {
	f := openDamaged(t, func(entry []byte) { // of meta, and so on: length of the value
		n, used := binary.Uvarint(entry[2:])
		require.Equal(t, 1, used-1, n)
		entry[3] ^= 0x20
	})
	require.NoError(t, f.View(func(txn *Txn) error {
		item, err := txn.Get([]byte(key(1)))
		require.NoError(t, err)
		_, err = item.ValueCopy(nil)
		require.ErrorContains(t, err, "could not read")
		return nil
	}))
	require.NoError(t, receive(t, "Close", async(f.Close)))
}

// TestEmptyValuesInTheValueLog are no values that cannot be read.
func TestEmptyValuesInTheValueLog(t *testing.T) {
	f := open(t, noSpill, func(opt *Options) { opt.ValueThreshold = 0 })
	f.put("k", "")
	require.NoError(t, f.Update(func(txn *Txn) error {
		return txn.SetEntry(NewEntry([]byte("expires"), nil).WithMeta(255).WithTTL(1 << 40))
	}))
	for _, k := range []string{"k", "expires"} {
		require.Empty(t, f.get(k))
	}
	_, err := f.Backup(io.Discard, 0)
	require.NoError(t, err)
}
