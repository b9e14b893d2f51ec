package spillfile

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

func TestEntriesReadBack(t *testing.T) {
	r := newRand(t)
	for _, key := range [][]byte{nil, randomValue(r, 16), randomValue(r, 32)} {
		t.Run(fmt.Sprintf("key of %d bytes", len(key)), func(t *testing.T) {
			o := testOptions(filepath.Join(t.TempDir(), "spill"))
			o.EncryptionKey = key
			l := mustOpen(t, o)
			want := map[string]string{}
			var order []Entry
			ts := uint64(0)
			for range 60 {
				ts++
				var es []Entry
				for j := range r.IntN(40) {
					e := Entry{
						Key:       fmt.Appendf(nil, "key-%d-%d", r.IntN(50), j),
						Value:     bytes.Repeat(randomValue(r, 1+r.IntN(64)), r.IntN(40)),
						ExpiresAt: uint64(r.IntN(2)) * uint64(r.Uint32()),
						Meta:      byte(r.IntN(2)) * MetaMerge, UserMeta: byte(r.IntN(256)),
					}
					if r.IntN(4) == 0 {
						e.Version = 1000 + ts
					}
					es = append(es, e)
				}
				if r.IntN(10) == 0 {
					es = append(es, Entry{Key: []byte("large"), Value: randomValue(r, 100_000)})
				}
				b := newBatch(es...)
				size, index := b.Size(), b.IndexSize()
				raw, keys := int64(0), int64(0)
				for _, e := range es {
					raw += int64(len(e.Key) + len(e.Value))
					keys += int64(len(e.Key))
				}
				require.GreaterOrEqual(t, EstimateSize(len(es), raw), size)
				require.GreaterOrEqual(t, EstimateIndexSize(len(es), keys, raw), index)
				before := l.State()
				l.Enqueue(b, ts)
				require.NoError(t, l.Commit(b))
				require.Equal(t, uint64(ts), b.Seq())
				after := l.State()
				require.LessOrEqual(t, after.LiveBytes-before.LiveBytes, size)
				for _, e := range es {
					if e.Version == 0 {
						e.Version = ts
					}
					want[fmt.Sprintf("%s@%d", e.Key, e.Version)] = string(e.Value)
					order = append(order, e)
				}
				b.Free()
			}
			check := func(l *Log) {
				t.Helper()
				requireSame(t, want, dump(t, l))
				for _, maxBytes := range []int64{1, 5000, 1 << 30} {
					got := readAll(t, l, maxBytes)
					require.Equal(t, len(order), len(got))
					for i, g := range got {
						w := order[i]
						if !bytes.Equal(w.Key, g.Key) || !bytes.Equal(w.Value, g.Value) || w.Version != g.Version ||
							w.ExpiresAt != g.ExpiresAt || w.Meta != g.Meta || w.UserMeta != g.UserMeta {
							t.Fatalf("entry %d is %q@%d, want %q@%d", i, g.Key, g.Version, w.Key, w.Version)
						}
					}
				}
				v := l.Acquire()
				defer v.Release()
				for _, e := range order {
					ref, ok, err := v.Get(e.Key, e.Version, true)
					require.NoError(t, err)
					if !ok || ref.Version != e.Version || ref.UserMeta != e.UserMeta || ref.ExpiresAt != e.ExpiresAt {
						t.Fatalf("%q@%d: found %v, %+v", e.Key, e.Version, ok, ref)
					}
				}
			}
			check(l)
			st := l.State()
			require.Greater(t, st.LiveSegments, 1)
			require.Equal(t, ts, st.NewestTs)
			require.Equal(t, uint64(1), st.OldestTs)
			require.Equal(t, int64(60), st.LiveBatches)
			crashed := crash(t, o.Dir)
			require.NoError(t, l.Close())
			require.NoError(t, l.Close())

			l = mustOpen(t, o)
			check(l)
			again := l.State()
			require.True(t, again.CleanClose)
			require.Equal(t, st.LastSeq, again.LastSeq)
			require.Equal(t, st.LiveBytes, again.LiveBytes)
			require.Equal(t, st.MaxVersion, again.MaxVersion)
			require.Zero(t, again.TruncatedBytes)
			require.NoError(t, l.Close())

			o.Dir = crashed
			l = mustOpen(t, o)
			check(l)
			require.False(t, l.State().CleanClose)
			require.NoError(t, l.Close())
		})
	}
}

func TestReverseIteratorAndOverwrite(t *testing.T) {
	l := mustOpen(t, testOptions(t.TempDir()))
	defer l.Close()
	mustPut(t, l, 5, "a", "old")
	require.NoError(t, l.Seal())
	mustPut(t, l, 5, "a", "new")
	mustPut(t, l, 6, "b", "b")
	mustPut(t, l, 4, "a", "four")
	v := l.Acquire()
	defer v.Release()
	for _, reverse := range []bool{false, true} {
		var got []string
		it := v.NewIterator(reverse)
		for it.Rewind(); it.Valid(); it.Next() {
			ref := it.Ref()
			value, err := v.Value(ref, nil)
			require.NoError(t, err)
			got = append(got, string(value))
		}
		require.NoError(t, it.Close())
		if reverse {
			require.Equal(t, []string{"b", "four", "new"}, got)
		} else {
			require.Equal(t, []string{"new", "four", "b"}, got)
		}
	}
	ref, ok, err := v.Get([]byte("a"), math.MaxUint64, false)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, uint64(5), ref.Version)
	_, ok, err = v.Get([]byte("a"), 3, false)
	require.NoError(t, err)
	require.False(t, ok)
}

func TestHighestVersionOverAllSegments(t *testing.T) {
	l := mustOpen(t, testOptions(t.TempDir()))
	defer l.Close()
	mustPut(t, l, 9, "k", "nine")
	require.NoError(t, l.Seal())
	mustPut(t, l, 3, "k", "three")
	v := l.Acquire()
	defer v.Release()
	newest, _, _ := v.Get([]byte("k"), 10, false)
	require.Equal(t, uint64(3), newest.Version)
	highest, _, _ := v.Get([]byte("k"), 10, true)
	require.Equal(t, uint64(9), highest.Version)
	require.Equal(t, uint64(9), l.State().NewestTs)
	require.Equal(t, uint64(3), l.State().OldestTs)
}

func TestManyWriters(t *testing.T) {
	for _, key := range [][]byte{nil, bytes.Repeat([]byte{7}, 32)} {
		o := testOptions(t.TempDir())
		o.EncryptionKey = key
		var order []uint64
		var groups int
		o.OnCommit = func(batches []*Batch, err error) {
			groups++
			for _, b := range batches {
				order = append(order, b.Seq())
				if b.Owner != nil {
					b.Owner.(*committed).told = true
				}
			}
		}
		l := mustOpen(t, o)
		var mu sync.Mutex
		var wg kit.WaitGroup
		ts := uint64(0)
		const writers, each = 16, 100
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					b := newBatch(Entry{Key: fmt.Appendf(nil, "%d-%d", w, i), Value: fmt.Appendf(nil, "value-%d-%d", w, i)})
					c := &committed{}
					b.Owner = c
					mu.Lock()
					if i%10 == 0 {
						d := newBatch(Entry{Key: fmt.Appendf(nil, "detached-%d-%d", w, i), Value: []byte("d")})
						ts++
						l.EnqueueAll([]*Batch{d}, func(int) uint64 { return ts }, true)
					}
					ts++
					l.Enqueue(b, ts)
					mu.Unlock()
					if err := l.Commit(b); err != nil || !c.told {
						t.Errorf("commit: %v, told before return: %v", err, c.told)
					}
					b.Free()
					if got, ok := get(t, l, fmt.Sprintf("%d-%d", w, i)); !ok || got != fmt.Sprintf("value-%d-%d", w, i) {
						t.Errorf("acknowledged %d-%d reads %q %v", w, i, got, ok)
					}
				}
			})
		}
		wg.Wait()
		require.Equal(t, int(ts), len(order))
		for i, seq := range order {
			require.Equal(t, uint64(i+1), seq)
		}
		last := uint64(0)
		for _, e := range readAll(t, l, 1<<16) {
			require.Greater(t, e.Version, last)
			last = e.Version
		}
		require.Equal(t, ts, last)
		require.LessOrEqual(t, groups, int(ts))
		require.Zero(t, l.State().Queued)
		require.NoError(t, l.Close())
	}
}

type committed struct{ told bool }

func TestFollowersShareOneWrite(t *testing.T) {
	o := testOptions(t.TempDir())
	var sizes []int
	o.OnCommit = func(batches []*Batch, err error) { sizes = append(sizes, len(batches)) }
	l := mustOpen(t, o)
	defer l.Close()
	var batches []*Batch
	for i := range 10 {
		b := newBatch(Entry{Key: fmt.Appendf(nil, "%d", i)})
		l.Enqueue(b, uint64(i+1))
		batches = append(batches, b)
	}
	var wg kit.WaitGroup
	for _, b := range batches {
		wg.Go(func() {
			if err := l.Commit(b); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, []int{10}, sizes)
}

func TestDetachedBatchesBehindTheLeaderAreWritten(t *testing.T) {
	l := mustOpen(t, testOptions(t.TempDir()))
	defer l.Close()
	// every batch is a group
	l.sizes.Store(&sizes{segment: DefaultSegmentSize, arena: 1 << 20, groupBytes: 100, groupIndex: 1 << 20})
	own := newBatch(Entry{Key: []byte("own")})
	l.Enqueue(own, 1)
	for i := range 5 {
		l.EnqueueAll([]*Batch{newBatch(Entry{Key: fmt.Appendf(nil, "detached-%d", i)})}, func(int) uint64 { return uint64(2 + i) }, true)
	}
	require.NoError(t, l.Commit(own))
	require.Len(t, dump(t, l), 6)
	require.Zero(t, l.State().Queued)
}

// A batch whose owner has not called Commit yet must not stop those that wait behind it.
func TestSleepingOwnerDoesNotHoldUpTheOthers(t *testing.T) {
	o := testOptions(t.TempDir())
	entered, release := make(chan struct{}), make(chan struct{})
	first := true
	o.OnCommit = func([]*Batch, error) {
		if first {
			first = false
			close(entered)
			<-release
		}
	}
	l := mustOpen(t, o)
	defer l.Close()
	leader, asleep, waiter := newBatch(Entry{Key: []byte("1")}), newBatch(Entry{Key: []byte("2")}), newBatch(Entry{Key: []byte("3")})
	var wg kit.WaitGroup
	commit := func(b *Batch) {
		wg.Go(func() {
			if err := l.Commit(b); err != nil {
				t.Error(err)
			}
		})
	}
	l.Enqueue(leader, 1)
	commit(leader)
	<-entered
	l.Enqueue(asleep, 2)
	l.Enqueue(waiter, 3)
	commit(waiter)
	require.True(t, waitFor(func() bool {
		l.queue.mu.Lock()
		defer l.queue.mu.Unlock()
		return waiter.waiting
	}))
	close(release)
	wg.Wait()
	require.NoError(t, l.Commit(asleep))
	require.Len(t, dump(t, l), 3)
}

// Callbacks may use the log.
func TestCallbacksRunWithoutLocks(t *testing.T) {
	o := testOptions(t.TempDir())
	var l *Log
	var mu sync.Mutex // the background has events of its own
	kinds := map[EventKind]int{}
	use := func() {
		if l != nil {
			_ = l.State()
			_ = l.Empty()
			_ = l.Seal()
			_ = l.Sync()
			_ = l.MarkReplayed(0)
		}
	}
	o.OnEvent = func(e Event) {
		mu.Lock()
		kinds[e.Kind]++
		mu.Unlock()
		if e.Kind != SegmentSealed { // Seal would answer with another one
			use()
		}
	}
	o.OnFirst = func() error { use(); return nil }
	o.OnCommit = func([]*Batch, error) { use() }
	l = mustOpen(t, o)
	mustPut(t, l, 1, "a", "1")
	mustPut(t, l, 2, "b", "2")
	require.NoError(t, l.MarkReplayed(1))
	ok, err := l.MarkReplayedIfLast(2)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, l.Close())
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 2, kinds[SegmentCreated])
	require.Equal(t, 2, kinds[SegmentSealed])
	require.Equal(t, 2, kinds[SegmentDropped])
}

func TestLoneBatchIsItsOwnGroup(t *testing.T) {
	o := testOptions(t.TempDir())
	calls := 0
	o.OnCommit = func(batches []*Batch, err error) {
		calls++
		if len(batches) != 1 || err != nil {
			t.Errorf("%d batches, %v", len(batches), err)
		}
	}
	l := mustOpen(t, o)
	defer l.Close()
	for i := range 5 {
		mustPut(t, l, uint64(i+1), "k", "v")
		require.Equal(t, i+1, calls)
	}
}

func TestSealAtSegmentSize(t *testing.T) {
	o := testOptions(t.TempDir())
	o.SegmentSize = MinSegmentSize
	l := mustOpen(t, o)
	defer l.Close()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		mustPut(t, l, uint64(i+1), fmt.Sprint(i), string(randomValue(r, 300)))
	}
	require.Greater(t, l.State().LiveSegments, 8)
	for _, s := range l.w.live {
		require.LessOrEqual(t, s.end.Load(), o.SegmentSize)
	}
	// One that is larger than a segment has its own.
	mustPut(t, l, 1000, "huge", string(randomValue(r, 10_000)))
	got, ok := get(t, l, "huge")
	require.True(t, ok)
	require.Len(t, got, 10_000)
	mustPut(t, l, 1001, "after", "x")
	require.Len(t, dump(t, l), 102)
}

func TestSealWhenIndexIsFull(t *testing.T) {
	o := testOptions(t.TempDir())
	o.SegmentSize = 1 << 20
	l := mustOpen(t, o)
	defer l.Close()
	mustPut(t, l, 1, "first", "") // the background takes the arena of an empty log away
	require.NoError(t, l.Seal())
	// A small arena stands for a segment of many tiny entries.
	l.prep.mu.Lock()
	s, err := l.createLocked()
	require.NoError(t, err)
	l.setIndex(s, &segmentIndex{mem: index.NewMemory(8<<10, 0)})
	l.prep.ready = s
	l.prep.mu.Unlock()
	for i := range 200 {
		mustPut(t, l, uint64(i+2), fmt.Sprintf("key-%03d", i), "")
	}
	require.Equal(t, 3, l.State().LiveSegments)
	// A batch that fits no usual arena gets one that it fits.
	var es []Entry
	for i := range 5_000 {
		es = append(es, Entry{Key: fmt.Appendf(nil, "batch-%0240d", i)})
	}
	b := newBatch(es...)
	require.Greater(t, b.IndexSize(), index.ArenaSize(o.SegmentSize))
	l.Enqueue(b, 500)
	require.NoError(t, l.Commit(b))
	require.Equal(t, 4, l.State().LiveSegments)
	_, ok := get(t, l, string(es[4_999].Key))
	require.True(t, ok)
}

func TestViewOutlivesDrop(t *testing.T) {
	o := testOptions(t.TempDir())
	dropped := 0
	o.OnEvent = func(e Event) {
		if e.Kind == SegmentDropped {
			dropped++
		}
	}
	l := mustOpen(t, o)
	defer l.Close()
	mustPut(t, l, 1, "a", "first")
	require.NoError(t, l.Seal())
	mustPut(t, l, 2, "b", "second")
	v := l.Acquire()
	require.NoError(t, l.MarkReplayed(2))
	require.Equal(t, 2, dropped)
	require.True(t, l.Empty())
	require.Nil(t, l.Acquire())
	require.Len(t, segmentFiles(t, o.Dir), 2, "a reader may have to open them again")
	require.Positive(t, l.State().DiskBytes)
	for key, want := range map[string]string{"a": "first", "b": "second"} {
		ref, ok, err := v.Get([]byte(key), 5, false)
		require.NoError(t, err)
		require.True(t, ok)
		got, err := v.Value(ref, nil)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	v.Release()
	// The background may hold a segment a little longer, to sync it.
	require.True(t, waitFor(func() bool { return l.State().DiskBytes == 0 }), "%d bytes on disk", l.State().DiskBytes)
	mustPut(t, l, 3, "c", "third")
	require.Equal(t, uint64(3), l.State().LastSeq)
}

func TestMarkReplayedPartly(t *testing.T) {
	o := testOptions(t.TempDir())
	l := mustOpen(t, o)
	for i := range 10 {
		mustPut(t, l, uint64(i+1), fmt.Sprint(i), "v")
		if i == 3 || i == 7 {
			require.NoError(t, l.Seal())
		}
	}
	c, err := l.ReadChunk(Position{}, 1)
	require.NoError(t, err)
	require.Equal(t, uint64(1), c.LastSeq)
	require.False(t, c.AtEnd)
	require.NoError(t, l.MarkReplayed(6))
	require.Equal(t, 2, l.State().LiveSegments)
	require.Equal(t, int64(4), l.State().LiveBatches)
	// The position was in a dropped segment.
	c, err = l.ReadChunk(c.Next, 1<<20)
	require.NoError(t, err)
	require.Len(t, c.Entries, 4)
	require.Equal(t, uint64(7), c.Entries[0].Version)
	require.Equal(t, uint64(10), c.LastSeq)
	require.True(t, c.AtEnd)
	require.NoError(t, l.ReadChunkInto(c, c.Next, 1<<20))
	require.Empty(t, c.Entries)
	require.True(t, c.AtEnd)

	ok, err := l.MarkReplayedIfLast(9)
	require.NoError(t, err)
	require.False(t, ok)
	b := newBatch(Entry{Key: []byte("queued")})
	l.Enqueue(b, 11)
	ok, err = l.MarkReplayedIfLast(10)
	require.NoError(t, err)
	require.False(t, ok)
	require.False(t, l.Empty())
	// What is queued goes to a new segment then.
	require.NoError(t, l.MarkReplayed(10))
	require.Zero(t, l.State().LiveSegments)
	require.Zero(t, l.State().LiveBatches)
	require.NoError(t, l.Commit(b))
	require.Equal(t, 1, l.State().LiveSegments)
	require.Equal(t, int64(1), l.State().LiveBatches)
	require.NoError(t, l.Close())

	l = mustOpen(t, o)
	require.Len(t, dump(t, l), 1)
	require.Equal(t, int64(1), l.State().LiveBatches)
	ok, err = l.MarkReplayedIfLast(11)
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, l.Empty())
	require.NoError(t, l.Close())
	require.Empty(t, segmentFiles(t, o.Dir))
	l = mustOpen(t, o)
	require.True(t, l.State().CleanClose)
	mustPut(t, l, 20, "x", "y")
	require.Equal(t, uint64(12), l.State().LastSeq)
	require.NoError(t, l.DiscardAll())
	require.True(t, l.Empty())
	require.NoError(t, l.Close())
}

func TestRotateRecordsDirectThrough(t *testing.T) {
	o := testOptions(t.TempDir())
	l := mustOpen(t, o)
	mustPut(t, l, 1, "a", "")
	require.Zero(t, l.State().DirectThrough)
	l.Rotate(77)
	mustPut(t, l, 2, "b", "")
	require.Equal(t, 2, l.State().LiveSegments)
	require.Equal(t, uint64(77), l.State().DirectThrough)
	require.NoError(t, l.Seal())
	mustPut(t, l, 3, "c", "")
	require.Equal(t, uint64(77), l.w.live[2].header.DirectThrough)
	require.NoError(t, l.Close())
	l = mustOpen(t, o)
	require.Equal(t, uint64(77), l.State().DirectThrough)
	require.NoError(t, l.Close())
}

func TestRotateSurvivesAFailedGroup(t *testing.T) {
	o := testOptions(t.TempDir())
	var fail error
	o.OnFirst = func() error { return fail }
	l := mustOpen(t, o)
	defer l.Close()
	fail = errors.New("no interlock")
	l.Rotate(5)
	require.ErrorIs(t, put(l, 1, "a", ""), fail)
	require.True(t, l.Empty())
	fail = nil
	mustPut(t, l, 2, "b", "")
	require.Equal(t, uint64(5), l.State().DirectThrough)
	require.Equal(t, int64(1), l.State().LiveBatches)
}

func TestOnFirstRunsWhileNotEmptyToOthers(t *testing.T) {
	o := testOptions(t.TempDir())
	var l *Log
	calls := 0
	o.OnFirst = func() error {
		calls++
		if l.Empty() {
			t.Error("empty although a batch is on its way")
		}
		return nil
	}
	l = mustOpen(t, o)
	defer l.Close()
	mustPut(t, l, 1, "a", "")
	mustPut(t, l, 2, "b", "")
	require.Equal(t, 1, calls)
	require.NoError(t, l.MarkReplayed(2))
	mustPut(t, l, 3, "b", "")
	require.Equal(t, 2, calls)
}

func TestTooLargeKeyFailsAloneAndLaterBatchesPass(t *testing.T) {
	o := testOptions(t.TempDir())
	l := mustOpen(t, o)
	mustPut(t, l, 1, "a", "")
	require.ErrorIs(t, put(l, 2, string(make([]byte, MaxKeySize+1)), ""), ErrTooLarge)
	mustPut(t, l, 3, string(make([]byte, MaxKeySize)), "longest")
	require.NoError(t, l.Close())
	l = mustOpen(t, o)
	require.Len(t, dump(t, l), 2)
	require.Equal(t, int64(2), l.State().LiveBatches)
	require.NoError(t, l.Close())
}

func TestCloseFailsTheQueue(t *testing.T) {
	o := testOptions(t.TempDir())
	var failed int
	o.OnCommit = func(batches []*Batch, err error) {
		if errors.Is(err, ErrClosed) {
			failed += len(batches)
		}
	}
	l := mustOpen(t, o)
	mustPut(t, l, 1, "a", "")
	b := newBatch(Entry{Key: []byte("late")})
	l.Enqueue(b, 2)
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Commit(b), ErrClosed)
	require.Equal(t, 1, failed)
	require.ErrorIs(t, put(l, 3, "later", ""), ErrClosed)
	require.ErrorIs(t, l.MarkReplayed(1), ErrClosed)
	require.ErrorIs(t, l.Seal(), ErrClosed)
	require.Nil(t, l.Acquire())
	require.ErrorIs(t, l.Commit(NewBatch()), ErrNotEnqueued)
}

func TestModesWhateverTheUmask(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spill")
	o := testOptions(dir)
	l := mustOpen(t, o)
	mustPut(t, l, 1, "a", "")
	require.Equal(t, os.FileMode(0o700), modeOf(t, dir))
	for name := range snapshot(t, dir) {
		require.Equal(t, os.FileMode(0o600), modeOf(t, filepath.Join(dir, name)), name)
	}
	require.NoError(t, l.Close())
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"no directory":        {},
		"segment too small":   {Dir: "x", SegmentSize: MinSegmentSize - 1},
		"segment too large":   {Dir: "x", SegmentSize: MaxSegmentSize + 1},
		"key of a wrong size": {Dir: "x", EncryptionKey: make([]byte, 17)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(o)
			require.ErrorIs(t, err, ErrOptions)
		})
	}
}
