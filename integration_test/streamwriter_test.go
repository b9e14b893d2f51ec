package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
)

// streamCase is one stream, to be run over either database.
type streamCase struct {
	name   string
	prefix string
	since  uint64
	readTs uint64 // managed mode only
	choose func(key []byte, version uint64) bool
	// made of all versions of a key; nil: the default
	lists func(key []byte, kvs []*pb.KV) (*pb.KVList, error)
	// lists is called with the thread, and each thread counts its keys
	threads bool
	done    bool // done markers
	maxSize uint64
	send    func() error
	ctx     func() context.Context
}

// streamed is what came out: all of it but what the layout of the tables decides.
type streamed struct {
	entries  []string
	finished int // what FinishThread counted: keys
	err      error
}

type iterator[I sideItem] interface {
	Item() I
	Next()
	Valid() bool
}

// versions moves itr past key and returns its versions, tombstones included.
func versions[I sideItem](key []byte, itr iterator[I]) (out []*pb.KV) {
	for ; itr.Valid() && bytes.Equal(itr.Item().Key(), key); itr.Next() {
		it := itr.Item()
		kv := &pb.KV{Key: it.KeyCopy(nil), Version: it.Version(), ExpiresAt: it.ExpiresAt(), UserMeta: []byte{it.UserMeta()}}
		if it.IsDeletedOrExpired() {
			kv.Meta = []byte{1}
		} else {
			kv.Value, _ = it.ValueCopy(nil)
		}
		out = append(out, kv)
	}
	return out
}

// threadCounter checks that calls with one thread are not concurrent.
type threadCounter struct {
	t       *testing.T
	mu      sync.Mutex
	busy    map[int]bool
	pending map[int]int // keys since the last FinishThread
}

func (c *threadCounter) enter(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[id] {
		c.t.Errorf("thread %d is called concurrently", id)
	}
	c.busy[id] = true
}

func (c *threadCounter) leave(id, keys int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[id] = false
	c.pending[id] += keys
}

func (c *threadCounter) finish(id int) (*pb.KVList, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.pending[id]
	delete(c.pending, id)
	return &pb.KVList{Kv: []*pb.KV{{Key: []byte("finished"), Version: uint64(n)}}}, nil
}

// goroutines are few: each takes 32 MiB.
func (c streamCase) goroutines() int {
	if c.threads {
		return 3
	}
	return 1
}

func (c streamCase) run(t *testing.T, db side, managed bool) (out streamed) {
	var (
		kvs     []*pb.KV
		sending sync.Mutex
		counter = &threadCounter{t: t, busy: map[int]bool{}, pending: map[int]int{}}
	)
	send := func(buf *z.Buffer) error {
		if !sending.TryLock() {
			t.Error("Send is called concurrently")
			return nil
		}
		defer sending.Unlock()
		list, err := badger.BufferToKVList(buf)
		if err != nil {
			return err
		}
		kvs = append(kvs, list.Kv...)
		if c.send != nil {
			return c.send()
		}
		return nil
	}
	ctx := context.Background()
	if c.ctx != nil {
		ctx = c.ctx()
	}
	switch d := db.(type) {
	case plainSide:
		var st *badger.Stream
		if managed {
			st = d.NewStreamAt(c.readTs)
		} else {
			st = d.NewStream()
		}
		st.Prefix, st.SinceTs, st.Send, st.LogPrefix = []byte(c.prefix), c.since, send, "test"
		st.NumGo = c.goroutines()
		st.SendDoneMarkers(c.done)
		if c.maxSize > 0 {
			st.MaxSize = c.maxSize
		}
		if c.choose != nil {
			st.ChooseKey = func(i *badger.Item) bool { return c.choose(i.Key(), i.Version()) }
		}
		if c.lists != nil && !c.threads {
			st.KeyToList = func(key []byte, itr *badger.Iterator) (*pb.KVList, error) { return c.lists(key, versions(key, itr)) }
		}
		if c.threads {
			st.UseKeyToListWithThreadId, st.FinishThread = true, counter.finish
			st.KeyToListWithThreadId = func(key []byte, itr *badger.Iterator, id int) (*pb.KVList, error) {
				counter.enter(id)
				defer counter.leave(id, 1)
				require.Equal(t, id, itr.ThreadId)
				return c.lists(key, versions(key, itr))
			}
		}
		out.err = st.Orchestrate(ctx)
	case spillSide:
		var st *badgerspill.Stream
		if managed {
			st = d.NewStreamAt(c.readTs)
		} else {
			st = d.NewStream()
		}
		st.Prefix, st.SinceTs, st.Send, st.LogPrefix = []byte(c.prefix), c.since, send, "test"
		st.NumGo = c.goroutines()
		st.SendDoneMarkers(c.done)
		if c.maxSize > 0 {
			st.MaxSize = c.maxSize
		}
		if c.choose != nil {
			st.ChooseKey = func(i *badgerspill.Item) bool { return c.choose(i.Key(), i.Version()) }
		}
		if c.lists != nil && !c.threads {
			st.KeyToList = func(key []byte, itr *badgerspill.Iterator) (*pb.KVList, error) {
				return c.lists(key, versions(key, itr))
			}
		}
		if c.threads {
			st.UseKeyToListWithThreadId, st.FinishThread = true, counter.finish
			st.KeyToListWithThreadId = func(key []byte, itr *badgerspill.Iterator, id int) (*pb.KVList, error) {
				counter.enter(id)
				defer counter.leave(id, 1)
				require.Equal(t, id, itr.ThreadId)
				return c.lists(key, versions(key, itr))
			}
		}
		out.err = st.Orchestrate(ctx)
	}
	if out.err != nil {
		return out
	}
	streams, ended := map[uint32]bool{}, map[uint32]bool{}
	var plain []*pb.KV
	for _, kv := range kvs {
		require.NotZero(t, kv.StreamId)
		streams[kv.StreamId] = true
		switch {
		case kv.StreamDone:
			require.True(t, c.done)
			require.False(t, ended[kv.StreamId], "two done markers")
			ended[kv.StreamId] = true
		case string(kv.Key) == "finished":
			out.finished += int(kv.Version)
		default:
			require.False(t, ended[kv.StreamId], "behind its done marker")
			plain = append(plain, kv)
		}
	}
	if c.done {
		require.Equal(t, len(streams), len(ended), "each stream ends")
	}
	out.entries = describe(plain)
	return out
}

func allVersions(key []byte, kvs []*pb.KV) (*pb.KVList, error) { return &pb.KVList{Kv: kvs}, nil }

var errSend = errors.New("send failed")

var streamCases = []streamCase{
	{name: "default"},
	{name: "prefix", prefix: "k00000"},
	{name: "prefix that nothing has", prefix: "none"},
	{name: "since", since: 20},
	{name: "since all", since: 1 << 40},
	{name: "chosen keys", choose: func(k []byte, _ uint64) bool { return k[len(k)-1]%2 == 0 }},
	{name: "chosen by version", choose: func(_ []byte, version uint64) bool { return version%3 > 0 }},
	{name: "lists of all versions", lists: allVersions},
	{name: "lists since a version", lists: allVersions, since: 30, prefix: "k"},
	{name: "lists that are empty, nil, or an error", lists: func(key []byte, kvs []*pb.KV) (*pb.KVList, error) {
		switch key[len(key)-1] % 4 {
		case 0:
			return nil, nil
		case 1:
			return &pb.KVList{}, nil
		case 2:
			return nil, errors.New("no list")
		}
		return &pb.KVList{Kv: kvs}, nil
	}},
	{name: "threads", lists: allVersions, threads: true},
	{name: "done markers", done: true},
	{name: "done markers and threads", done: true, threads: true, lists: allVersions, since: 3},
	{name: "small batches", maxSize: 1},
	{name: "send fails", send: func() error { return errSend }},
}

// requireStreamed compares; where Badger leaves it to chance which error is first, any of them will
// do.
func requireStreamed(t *testing.T, want, got streamed) {
	t.Helper()
	if want.err == nil {
		require.NoError(t, got.err)
	} else {
		require.True(t, errors.Is(got.err, errSend) || errors.Is(got.err, context.Canceled), "%v", got.err)
	}
	require.Equal(t, want.entries, got.entries)
	require.Equal(t, want.finished, got.finished)
}

// streamData is history, part of it in tables, and keys enough for several lists.
func streamData(t *testing.T, db mover, managed bool) {
	t.Helper()
	history(t, db, managed)
	require.NoError(t, db.Flatten(2))
	var ts uint64 = 5000
	for i := range 300 {
		txn := sideTxn(nil)
		if managed {
			txn = db.BeginAt(math.MaxUint64, true)
		} else {
			txn = db.Begin(true)
		}
		require.NoError(t, txn.Set(fmt.Appendf(nil, "m%04d", i*7%300), bytes.Repeat([]byte{byte(i)}, i)))
		require.NoError(t, txn.Put(write{Key: key(i % 10), Value: fmt.Append(nil, i), UserMeta: byte(i), Delete: i%17 == 0}))
		if managed {
			ts--
			require.NoError(t, txn.CommitAt(ts, nil))
		} else {
			require.NoError(t, txn.Commit())
		}
	}
}

// streamMore commits what no stream has seen.
func streamMore(t *testing.T, db side, managed bool, n int) {
	t.Helper()
	tr := &transcript{t: t}
	for i := range 3 {
		tr.commit(db, managed, fmt.Sprintf("more/%d", i), uint64(6000+3*n+i))
		tr.commit(db, managed, fmt.Sprintf("k00000%d", i), uint64(9000-3*n-i))
	}
	for _, line := range tr.lines {
		require.Equal(t, []any{nil}, line.values)
	}
}

func TestStreams(t *testing.T) {
	for _, managed := range []bool{false, true} {
		t.Run(fmt.Sprint("managed ", managed), func(t *testing.T) {
			p := openPlain(t, small(t.TempDir()), managed)
			streamData(t, p, managed)
			cases := slices.Clone(streamCases)
			for i := range cases {
				cases[i].readTs = math.MaxUint64
			}
			if managed {
				for _, ts := range []uint64{1, 333, 4800, 4801} {
					cases = append(cases, streamCase{name: fmt.Sprint("at ", ts), readTs: ts, lists: allVersions})
				}
			}
			want := map[string]streamed{}
			for i, c := range cases {
				streamMore(t, p, managed, i)
				want[c.name] = c.run(t, p, managed)
			}
			require.NotEmpty(t, want["default"].entries)
			require.Positive(t, want["threads"].finished)
			for _, m := range moveModes {
				t.Run(m.name, func(t *testing.T) {
					o := m.change(layer(t.TempDir()))
					db := openLayer(t, o, managed)
					streamData(t, db, managed)
					if m.name == "all spilled" {
						require.Positive(t, db.SpillStats().SpillPending)
					}
					for i, c := range cases {
						t.Run(c.name, func(t *testing.T) {
							// what was spilled is replayed by the stream before
							streamMore(t, db, managed, i)
							requireStreamed(t, want[c.name], c.run(t, db, managed))
						})
					}
					require.NoError(t, db.Close())
				})
			}
		})
	}
	t.Run("wrong mode", func(t *testing.T) {
		for _, managed := range []bool{false, true} {
			p, l := openPlain(t, small(t.TempDir()), managed), openLayer(t, layer(t.TempDir()), managed)
			if managed {
				require.PanicsWithValue(t, panicOf(func() { p.NewStream() }), func() { l.NewStream() })
			} else {
				require.PanicsWithValue(t, panicOf(func() { p.NewStreamAt(1) }), func() { l.NewStreamAt(1) })
			}
		}
	})
}

func panicOf(fn func()) (v any) {
	defer func() { v = recover() }()
	fn()
	return nil
}

// A context that has ended: Badger sees it sooner or later, so not every stream fails; but one of
// several does, and nothing stays behind.
func TestStreamsEndWithTheContext(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	c := streamCase{ctx: func() context.Context { return ended }}
	for _, m := range append([]sideMode{{name: "plain Badger"}}, moveModes...) {
		t.Run(m.name, func(t *testing.T) {
			var db mover
			if m.change == nil {
				db = openPlain(t, small(t.TempDir()), false)
			} else {
				db = openLayer(t, m.change(layer(t.TempDir())), false)
			}
			streamData(t, db, false)
			failed := 0
			for range 8 {
				put(&transcript{t: t}, db, "one", "more")
				if err := c.run(t, db, false).err; err != nil {
					require.ErrorIs(t, err, context.Canceled)
					failed++
				}
			}
			require.Positive(t, failed)
			require.NoError(t, streamCase{}.run(t, db, false).err)
			in(t, followLimit, "Close", func() { require.NoError(t, db.Close()) })
		})
	}
}

// A stream is one moment: of two keys that change together it never shows two versions.
func TestStreamBesideWriters(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())), false)
			tokens := make(chan struct{}, 1000) // one a commit
			var wg kit.WaitGroup
			commit := func(w, i int) error {
				return db.DB.Update(func(txn *badgerspill.Txn) error {
					return errors.Join(txn.Set(fmt.Appendf(nil, "a/%d", w), fmt.Append(nil, i)), txn.Set(fmt.Appendf(nil, "z/%d", w), fmt.Append(nil, i)))
				})
			}
			for w := range 4 {
				require.NoError(t, commit(w, 0))
				wg.Go(func() {
					i := 0
					for range tokens {
						i++
						if err := commit(w, i); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			newest := streamCase{lists: func(_ []byte, kvs []*pb.KV) (*pb.KVList, error) { return &pb.KVList{Kv: kvs[:1]}, nil }}
			for range 5 {
				for range 200 {
					tokens <- struct{}{}
				}
				out := newest.run(t, db, false)
				require.NoError(t, out.err)
				require.Len(t, out.entries, 8)
				for w := range 4 {
					require.Equal(t, out.entries[w][len("\"a/0\"@"):], out.entries[w+4][len("\"z/0\"@"):])
				}
			}
			close(tokens)
			wg.Wait()
		})
	}
}

func TestStreamDB(t *testing.T) {
	p := openPlain(t, small(t.TempDir()), true)
	streamData(t, p, true)
	outDir := t.TempDir()
	require.NoError(t, p.StreamDB(small(outDir)))
	copied := openPlain(t, small(outDir), true)
	want, wantMax := stateOf(t, copied, true), copied.MaxVersion()
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())), true)
			streamData(t, db, true)
			o := m.change(layer(t.TempDir()))
			require.NoError(t, db.StreamDB(o))
			out := openLayer(t, o, true)
			stateOf(t, out, true).equal(want)
			require.Equal(t, wantMax, out.MaxVersion())
			require.NoError(t, out.Close())
			plain := openPlain(t, o.Badger(), true)
			stateOf(t, plain, true).equal(want)
			require.NoError(t, plain.Close())

			// Into a directory that cannot be one.
			require.Error(t, db.StreamDB(layer("/proc/nowhere")))
			require.NoError(t, db.Close())
		})
	}
	t.Run("unmanaged", func(t *testing.T) {
		l := openLayer(t, layer(t.TempDir()), false)
		require.Panics(t, func() { _ = l.StreamDB(layer(t.TempDir())) })
	})
}

type streamWriter interface {
	Prepare() error
	PrepareIncremental() error
	Write(buf *z.Buffer) error
	Flush() error
	Cancel()
}

func newStreamWriter(db side) streamWriter {
	if p, ok := db.(plainSide); ok {
		return p.NewStreamWriter()
	}
	return db.(spillSide).NewStreamWriter()
}

func buffer(t *testing.T, kvs ...*pb.KV) *z.Buffer {
	buf := z.NewBuffer(1<<12, "test")
	t.Cleanup(func() { _ = buf.Release() })
	for _, kv := range kvs {
		badger.KVToBuffer(kv, buf)
	}
	return buf
}

// streamKVs are sorted, in two streams.
func streamKVs(prefix string, version uint64) (out []*pb.KV) {
	for i := range 200 {
		kv := &pb.KV{Key: fmt.Appendf(nil, "%s%d/%04d", prefix, i/100, i), Value: bytes.Repeat([]byte{byte(i)}, 3*i), Version: version + uint64(i%5),
			UserMeta: []byte{byte(i)}, StreamId: uint32(1 + i/100)}
		if i%10 == 0 {
			kv.ExpiresAt = started + 10_000
		}
		out = append(out, kv)
		if i%7 == 0 {
			out = append(out, &pb.KV{Key: kv.Key, Value: []byte("older"), Version: kv.Version - 1, StreamId: kv.StreamId})
		}
	}
	return out
}

// now notes what a commit finds and gets.
func (tr *transcript) now(db side, managed bool, what string) {
	tr.note(what)
	read(db, managed, func(txn sideTxn) {
		if !managed {
			tr.note("read timestamp", txn.ReadTs())
		}
		tr.state(txn)
	})
}

// blocked notes that commits are refused. Plain Badger is not asked where it hands out the
// timestamps: such a commit uses up one, and the Flush that follows may wait for it for ever.
func (tr *transcript) blocked(db side, managed bool) {
	if _, plain := db.(plainSide); plain && !managed {
		tr.note("commit", true, true)
		return
	}
	commit := func() error {
		if managed {
			txn := db.BeginAt(1<<40, true)
			defer txn.Discard()
			return errors.Join(txn.Set([]byte("blocked"), nil), txn.CommitAt(77, nil))
		}
		return db.Update(func(txn sideTxn) error { return txn.Set([]byte("blocked"), nil) })
	}
	err := commit()
	tr.note("commit", errors.Is(err, badger.ErrBlockedWrites), err != nil)
}

func (tr *transcript) commit(db side, managed bool, k string, ts uint64) {
	if !managed {
		put(tr, db, k, "later")
		return
	}
	txn := db.BeginAt(1<<40, true)
	tr.err("set", func() error { return txn.Set([]byte(k), []byte("later")) })
	tr.err("commit", func() error { return txn.CommitAt(ts, nil) })
}

func streamWriterRow(managed bool) func(tr *transcript, db side) {
	return func(tr *transcript, db side) {
		history(tr.t, db, managed)
		sw := newStreamWriter(db)
		tr.err("prepare", sw.Prepare)
		tr.blocked(db, managed)
		tr.err("drop", db.(mover).DropAll)
		kvs := streamKVs("s", 2000)
		tr.err("write", func() error { return sw.Write(buffer(tr.t, kvs[:50]...)) })
		tr.err("write", func() error { return sw.Write(buffer(tr.t, kvs[50:]...)) })
		tr.err("write the end", func() error {
			return sw.Write(buffer(tr.t, &pb.KV{StreamId: 1, StreamDone: true}, &pb.KV{StreamId: 2, StreamDone: true}))
		})
		tr.err("write nothing", func() error { return sw.Write(buffer(tr.t)) })
		tr.blocked(db, managed)
		tr.err("flush", sw.Flush)
		sw.Cancel()
		tr.now(db, managed, "flushed")
		tr.commit(db, managed, "later", 2500)
		tr.now(db, managed, "a commit later")

		// One that is given up: commits go on.
		sw = newStreamWriter(db)
		tr.err("prepare", sw.Prepare)
		tr.err("write", func() error { return sw.Write(buffer(tr.t, kvs[:50]...)) })
		sw.Cancel()
		tr.err("drop", db.(mover).DropAll)
		tr.commit(db, managed, "after cancel", 2600)
		tr.now(db, managed, "cancelled")

		// One that was not prepared.
		newStreamWriter(db).Cancel()
		tr.commit(db, managed, "after nothing", 2700)

		// With data in memtables nothing can be added below them.
		sw = newStreamWriter(db)
		tr.err("incremental", sw.PrepareIncremental)
		sw.Cancel()
		tr.commit(db, managed, "at last", 2800)
	}
}

func TestBehaviourOfStreamWriters(t *testing.T) {
	compareAll(t, []situation{
		{name: "stream writer", play: streamWriterRow(false)},
		{name: "stream writer, managed", managed: true, play: streamWriterRow(true)},
		{name: "stream writer into an empty database, incremental", play: func(tr *transcript, db side) {
			sw := newStreamWriter(db)
			tr.err("incremental", sw.PrepareIncremental)
			tr.blocked(db, false)
			tr.err("write", func() error { return sw.Write(buffer(tr.t, streamKVs("s", 10)...)) })
			tr.err("flush", sw.Flush)
			tr.now(db, false, "flushed")
			tr.commit(db, false, "later", 0)
			tr.now(db, false, "a commit later")
		}},
		{name: "stream writer, versions below those that are there", play: func(tr *transcript, db side) {
			history(tr.t, db, false)
			sw := newStreamWriter(db)
			tr.err("prepare", sw.Prepare)
			tr.err("write", func() error { return sw.Write(buffer(tr.t, streamKVs("s", 3)...)) })
			tr.err("flush", sw.Flush)
			tr.commit(db, false, "later", 0)
			read(db, false, tr.state)
		}},
	})
}

func TestMaxVersionBehindAStreamWriter(t *testing.T) {
	for _, managed := range []bool{false, true} {
		compareAll(t, []situation{{name: fmt.Sprint("managed ", managed), managed: managed, play: func(tr *transcript, db side) {
			history(tr.t, db, managed)
			tr.note("max version", db.MaxVersion())
			sw := newStreamWriter(db)
			tr.err("prepare", sw.Prepare)
			tr.err("write", func() error { return sw.Write(buffer(tr.t, streamKVs("s", 2000)...)) })
			tr.err("flush", sw.Flush)
			tr.note("max version", db.MaxVersion())
		}}})
	}
}

// Incremental streams go below what is there: data that an earlier process has written and closed.
func TestIncrementalStreamWriter(t *testing.T) {
	play := func(tr *transcript, managed bool, open func() mover) {
		db := open()
		history(tr.t, db, managed)
		require.NoError(tr.t, db.Close())
		for round := range 2 {
			db = open()
			sw := newStreamWriter(db)
			tr.err("incremental", sw.PrepareIncremental)
			tr.blocked(db, managed)
			kvs := streamKVs(fmt.Sprintf("s%d/", round), uint64(30+3000*round))
			tr.err("write", func() error { return sw.Write(buffer(tr.t, kvs...)) })
			tr.err("flush", sw.Flush)
			tr.now(db, managed, "flushed")
			require.NoError(tr.t, db.Close())
		}
		db = open()
		tr.now(db, managed, "reopened")
		tr.commit(db, managed, "later", 9000)
		tr.now(db, managed, "a commit later")
		require.NoError(tr.t, db.Close())
	}
	for _, managed := range []bool{false, true} {
		dir := t.TempDir()
		want := &transcript{t: t}
		play(want, managed, func() mover { return openPlain(t, small(dir), managed) })
		for _, m := range moveModes {
			t.Run(fmt.Sprintf("%s, managed %v", m.name, managed), func(t *testing.T) {
				dir := t.TempDir()
				got := &transcript{t: t}
				play(got, managed, func() mover { return openLayer(t, m.change(layer(dir)), managed) })
				got.equal(want)
			})
		}
	}
}

// A stream of the layer goes into a stream writer of plain Badger, and the reverse.
func TestStreamsGoEitherWay(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())), false)
			streamData(t, db, false)
			want := live(t, db, false)

			p := openPlain(t, small(t.TempDir()), false)
			pw := p.NewStreamWriter()
			require.NoError(t, pw.Prepare())
			st := db.NewStream()
			st.NumGo, st.Send = 2, pw.Write
			require.NoError(t, st.Orchestrate(context.Background()))
			require.NoError(t, pw.Flush())
			require.Equal(t, want, live(t, p, false))

			other := openLayer(t, m.change(layer(t.TempDir())), false)
			set(t, other.DB, "to be dropped", "1")
			sw := other.NewStreamWriter()
			require.NoError(t, sw.Prepare())
			ps := p.NewStream()
			ps.NumGo, ps.Send = 2, sw.Write
			require.NoError(t, ps.Orchestrate(context.Background()))
			require.NoError(t, sw.Flush())
			require.Equal(t, want, live(t, other, false))
			require.Equal(t, versionsOf(p, false), versionsOf(other, false))
		})
	}
}
