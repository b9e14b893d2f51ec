package badgerspill

import (
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/stretchr/testify/require"
)

// TestStreamWriterRefusesDisorder, and goes on after that. In Badger it ends the process, in a
// goroutine that nobody can catch.
func TestStreamWriterRefusesDisorder(t *testing.T) {
	f := open(t)
	sw := f.NewStreamWriter()
	require.NoError(t, sw.Prepare())
	kv := func(stream uint32, key string, version uint64) *pb.KV {
		return &pb.KV{StreamId: stream, Key: []byte(key), Value: []byte("1"), Version: version, UserMeta: []byte{0}}
	}
	write := func(kvs ...*pb.KV) error {
		buf := z.NewBuffer(1<<10, "test")
		defer func() { _ = buf.Release() }()
		for _, kv := range kvs {
			badger.KVToBuffer(kv, buf)
		}
		return sw.Write(buf)
	}
	require.NoError(t, write())
	require.NoError(t, write(kv(1, "b", 5), kv(1, "c", 5), kv(1, "c", 4), kv(2, "m", 1)))
	for name, row := range map[string][]*pb.KV{
		"a key that comes earlier":                {kv(1, "a", 5)},
		"the same key again":                      {kv(1, "c", 4)},
		"a higher version of the same key":        {kv(1, "c", 6)},
		"within a buffer, after what is in order": {kv(1, "d", 5), kv(2, "n", 5), kv(1, "cc", 5)},
		"behind the end of a stream":              {kv(1, "d", 5), {StreamId: 1, StreamDone: true}, kv(1, "e", 5)},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, write(row...), "stream 1")
		})
	}
	require.NoError(t, write(kv(2, "n", 5), kv(1, "d", 5)), "nothing of them counts")
	require.NoError(t, write(&pb.KV{StreamId: 1, StreamDone: true}))
	require.ErrorContains(t, write(kv(1, "e", 5)), "the end of stream 1")
	require.ErrorContains(t, write(&pb.KV{StreamId: 1, StreamDone: true}), "the end of stream 1")
	require.NoError(t, sw.Flush())
	for _, k := range []string{"b", "c", "d", "m", "n"} {
		require.Equal(t, "1", f.get(k))
	}
	require.Equal(t, absent, f.get("e"))
}

// TestStreamWriterTakesWhatBadgerTakes: the end of a stream counts once the stream has something,
// and twice within a buffer. So it is if two databases are streamed into one, and a part of the
// first is empty.
func TestStreamWriterTakesWhatBadgerTakes(t *testing.T) {
	f := open(t)
	sw := f.NewStreamWriter()
	require.NoError(t, sw.Prepare())
	kv := func(key string) *pb.KV {
		return &pb.KV{StreamId: 1, Key: []byte(key), Value: []byte("1"), Version: 1, UserMeta: []byte{0}}
	}
	done := &pb.KV{StreamId: 1, StreamDone: true}
	write := func(kvs ...*pb.KV) error {
		buf := z.NewBuffer(1<<10, "test")
		defer func() { _ = buf.Release() }()
		for _, kv := range kvs {
			badger.KVToBuffer(kv, buf)
		}
		return sw.Write(buf)
	}
	require.NoError(t, write(done))
	require.NoError(t, write(done, done))
	require.ErrorContains(t, write(done, kv("a")), "the end of stream 1")
	require.NoError(t, write(kv("a")))
	require.NoError(t, write(kv("b"), done, done))
	require.ErrorContains(t, write(done), "the end of stream 1")
	require.ErrorContains(t, write(kv("c")), "the end of stream 1")
	require.NoError(t, sw.Flush())
	require.Equal(t, "1", f.get("a"))
	require.Equal(t, "1", f.get("b"))
}

// TestStreamWriterEmptyKey: it is a key like another, and comes once.
func TestStreamWriterEmptyKey(t *testing.T) {
	f := open(t)
	sw := f.NewStreamWriter()
	require.NoError(t, sw.Prepare())
	defer sw.Cancel()
	buf := z.NewBuffer(1<<10, "test")
	defer func() { _ = buf.Release() }()
	for range 2 {
		badger.KVToBuffer(&pb.KV{StreamId: 1, Value: []byte("1"), Version: 1}, buf)
	}
	require.ErrorContains(t, sw.Write(buf), "not in order")
}
