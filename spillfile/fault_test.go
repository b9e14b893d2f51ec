package spillfile

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

type fate int

const (
	failed fate = iota + 1
	acked
)

// history is what a workload was told.
type history struct {
	value  map[string]string // by "key@version"
	seq    map[string]uint64
	fate   map[string]fate
	tried  uint64 // highest sequence that MarkReplayed was called with
	marked uint64 // highest that it returned nil for
	mu     sync.Mutex
	told   string // what calls, events and the log said of failures
}

func (h *history) note(err error) error {
	if err != nil {
		h.mu.Lock()
		h.told += err.Error() + "\n"
		h.mu.Unlock()
	}
	return err
}

// listen makes o tell h.
func (h *history) listen(o Options) Options {
	o.OnEvent = func(e Event) { _ = h.note(e.Err) }
	o.Logf = func(format string, args ...any) { _ = h.note(fmt.Errorf(format, args...)) }
	return o
}

func newHistory() *history {
	return &history{value: map[string]string{}, seq: map[string]uint64{}, fate: map[string]fate{}}
}

// commit enqueues a few batches and commits them as one group, the last of them detached before.
func (h *history) commit(l *Log, ts uint64, n, size int) {
	var batches []*Batch
	var names [][]string
	for i := range n {
		b := NewBatch()
		var mine []string
		for j := range 3 {
			e := Entry{Key: fmt.Appendf(nil, "key-%d", (int(ts)+i+j)%17), Value: []byte(strings.Repeat(fmt.Sprintf("%d.%d.", ts, j), size))}
			b.Add(&e)
			name := fmt.Sprintf("%s@%d", e.Key, ts+uint64(i))
			h.value[name] = string(e.Value)
			mine = append(mine, name)
		}
		l.Enqueue(b, ts+uint64(i))
		for _, name := range mine {
			h.seq[name] = b.Seq()
		}
		batches, names = append(batches, b), append(names, mine)
	}
	for i, b := range batches {
		err := h.note(l.Commit(b))
		for _, name := range names[i] {
			if err == nil {
				h.fate[name] = acked
			} else {
				h.fate[name] = failed
			}
		}
		b.Free()
	}
}

func (h *history) mark(l *Log, seq uint64) {
	seq = min(seq, l.State().LastSeq)
	h.tried = max(h.tried, seq)
	if h.note(l.MarkReplayed(seq)) == nil {
		h.marked = max(h.marked, seq)
	}
}

// read reads all there is in every way, by point and backward too. What an operation that fails
// leaves is an error, not something else.
func (h *history) read(l *Log) (err error) {
	v := l.Acquire()
	if v == nil {
		return nil
	}
	defer v.Release()
	same := func(ref Ref, key []byte) error {
		value, err := v.Value(ref, nil)
		name := fmt.Sprintf("%s@%d", key, ref.Version)
		if want, ok := h.value[name]; err == nil && (!ok || want != string(value)) {
			panic(name + " has another value")
		}
		return err
	}
	for _, reverse := range []bool{false, true} {
		it := v.NewIterator(reverse)
		n := 0
		for it.Rewind(); it.Valid() && err == nil; it.Next() {
			n++
			err = same(it.Ref(), y.ParseKey(it.Key()))
		}
		if err = errors.Join(err, it.Err(), it.Close()); err != nil {
			return err
		}
	}
	for i := range 18 {
		key := fmt.Appendf(nil, "key-%d", i)
		ref, ok, err := v.Get(key, math.MaxUint64, false)
		if ok && err == nil {
			err = same(ref, key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// merge reads all sealed segments in the order of keys, as replay does, and marks them replayed if
// it should.
func (h *history) merge(l *Log, mark bool) error {
	m := l.NewMerge(Position{}, math.MaxInt64)
	if m == nil {
		return nil
	}
	defer m.Close()
	for c := new(Chunk); ; {
		if _, err := m.Next(c, 500, Retention{Versions: math.MaxInt}); err != nil {
			return err
		}
		for _, e := range c.Entries {
			name := fmt.Sprintf("%s@%d", e.Key, e.Version)
			if h.value[name] != string(e.Value) {
				panic(name + " has another value")
			}
		}
		if len(c.Entries) == 0 {
			break
		}
	}
	if mark {
		h.mark(l, m.LastSeq())
	}
	return nil
}

// work drives a log through everything that it does to files.
func (h *history) work(l *Log) {
	size := 30
	h.commit(l, 10, 2, size)
	h.commit(l, 20, 1, size)
	_ = h.note(l.Seal())
	_ = h.note(h.merge(l, false))
	_ = h.note(h.read(l))
	h.commit(l, 30, 3, size)
	l.Rotate(33)
	h.commit(l, 40, 1, 300)
	h.mark(l, 2)
	_ = h.note(l.Sync())
	h.commit(l, 50, 2, size)
	h.mark(l, 5)
	for i := range 4 {
		h.commit(l, 60+10*uint64(i), 1, 200)
	}
	h.mark(l, 9)
	_ = h.note(h.read(l))
	_ = h.note(h.merge(l, true))
	h.commit(l, 100, 2, size)
	if r := l.State().LastSeq; r > h.tried {
		h.tried = r
		if h.note(l.DiscardAll()) == nil {
			h.marked = r
		}
	}
	for i := range 3 {
		h.commit(l, 110+10*uint64(i), 1, 250)
	}
}

// check compares a log with the history. sure: a batch that failed must not be there.
func (h *history) check(t *testing.T, l *Log, sure bool) {
	t.Helper()
	got := dump(t, l)
	for name, value := range got {
		want, ok := h.value[name]
		require.True(t, ok, "%s was never written", name)
		require.True(t, want == value, "%s has another value", name)
		if sure {
			require.NotEqual(t, failed, h.fate[name], "%s failed and came back", name)
		}
	}
	for name, f := range h.fate {
		if f == acked && h.seq[name] > h.tried {
			_, ok := got[name]
			require.True(t, ok, "%s was acknowledged and is gone", name)
		}
	}
	last := uint64(0)
	for _, e := range readAll(t, l, 1<<20) {
		seq := h.seq[fmt.Sprintf("%s@%d", e.Key, e.Version)]
		require.GreaterOrEqual(t, seq, last)
		require.Greater(t, seq, h.marked, "%s came back after replay", e.Key)
		last = seq
	}
}

var errInjected = errors.New("injected")

// takesRoom are the operations that a full disk fails.
func takesRoom(op string) bool {
	return op == "create" || op == "write" || op == "sync" || op == "rename" || op == "syncdir" || op == "mkdir"
}

var faultModes = []struct {
	name string
	sync bool
	key  []byte
}{
	{"no sync", false, nil},
	{"sync", true, nil},
	{"sync, encrypted", true, make([]byte, 32)},
}

func faultOptions(m *vfstest.Disk, sync bool, key []byte) Options {
	return Options{Dir: "/spill", FS: m, DatabaseID: testID, SegmentSize: MinSegmentSize, SyncWrites: sync, EncryptionKey: key}
}

// Whatever one operation fails, wherever: what was acknowledged is there at once and at the next
// open, what failed is not.
func TestEveryOperationFailsOnce(t *testing.T) {
	for _, mode := range faultModes {
		for _, op := range []string{"any", "short write", "two in a row", "no space"} {
			if mode.key != nil && op != "any" || op == "two in a row" && !mode.sync {
				continue // nothing new
			}
			t.Run(mode.name+"/"+op, func(t *testing.T) {
				before := kit.CurrentGoroutines()
				for k := 1; ; k++ {
					m := vfstest.NewDisk()
					n, hit, what := 0, false, []string(nil)
					if op == "short write" || op == "no space" {
						m.ShortWrite = 70
					}
					// A second failure may be that of the truncation after the first.
					sure, last := true, k
					if op == "two in a row" {
						sure, last = false, k+1
					}
					if op == "no space" {
						last = k + 7
					}
					m.SetFault(func(got, path string) error {
						if op == "short write" && got != "write" || op == "no space" && !takesRoom(got) {
							return nil
						}
						if n++; n >= k && n <= last {
							hit = true
							what = append(what, got+" "+filepath.Base(path))
							return errInjected
						}
						return nil
					})
					h := newHistory()
					o := h.listen(faultOptions(m, mode.sync, mode.key))
					for range 2 { // the second round works on recovered segments
						l, err := Open(o)
						if h.note(err) != nil {
							require.True(t, errors.Is(err, errInjected), "%v", err)
							m.SetFault(nil)
							l = mustOpen(t, o)
						}
						if h.marked == 0 {
							h.work(l)
						} else {
							_ = h.note(h.read(l))
							h.commit(l, 1000, 2, 40)
							_ = h.note(h.merge(l, false))
						}
						fault := m.SetFault(nil)
						h.check(t, l, sure)
						m.SetFault(fault)
						if err := h.note(l.Close()); err != nil {
							require.True(t, errors.Is(err, errInjected) || errors.Is(err, ErrPoisoned), "%v", err)
						}
					}
					m.SetFault(nil)
					l := mustOpen(t, o)
					h.check(t, l, sure)
					h.commit(l, 2000, 1, 1)
					h.check(t, l, sure)
					require.NoError(t, l.Close())
					if !hit {
						t.Logf("%d operations", k)
						require.NoError(t, before.Gone())
						return
					}
					require.Contains(t, h.told, errInjected.Error(), "nobody was told of operation %d: %s", k, what)
				}
			})
		}
	}
}

// The process is killed, or the power cut, at every operation, Close's included. Of what was not
// synced a power cut leaves nothing, or any part.
func TestCrashAtEveryOperation(t *testing.T) {
	r := newRand(t)
	for _, mode := range faultModes {
		t.Run(mode.name, func(t *testing.T) {
			indexes := map[string]int{} // index files that cuts left
			for k := 1; ; k++ {
				m := vfstest.NewDisk()
				m.SetFault(func(_, _ string) error {
					if m.Ops() >= k {
						return errInjected
					}
					return nil
				})
				h := newHistory()
				l, err := Open(faultOptions(m, mode.sync, mode.key))
				if err == nil {
					h.work(l)
					_ = l.Close() // with commits, which the next Open finds
				}
				left := m.Killed()
				cuts := map[string]*vfstest.Disk{"only what was synced": m.OnlySynced(), "a part": m.PowerCut(r), "another part": m.PowerCut(r)}
				reached := left.Ops() >= k

				for name, cut := range cuts {
					for file := range cut.Files() {
						if _, ok := index.ParseName(file); ok {
							indexes[name]++
						}
					}
					l, err = Open(faultOptions(cut, mode.sync, mode.key))
					require.NoError(t, err, "power cut at %d, %s", k, name)
					checkAfterPowerCut(t, h, l, mode.sync)
					require.NoError(t, h.read(l), "power cut at %d, %s", k, name)
					require.NoError(t, l.Close())
				}

				l, err = Open(faultOptions(left, mode.sync, mode.key))
				require.NoError(t, err, "killed at %d", k)
				h.check(t, l, false)
				h.commit(l, 3000, 1, 1)
				require.NoError(t, l.Close())
				l = mustOpen(t, faultOptions(left, mode.sync, mode.key))
				require.True(t, l.State().CleanClose)
				h.check(t, l, false)
				require.NoError(t, h.read(l))
				require.NoError(t, l.Close())
				if !reached {
					require.Len(t, indexes, len(cuts), "cuts with index files: %v", indexes)
					t.Logf("%d operations; index files that cuts left: %v", k, indexes)
					return
				}
			}
		})
	}
}

// Random work, random moment, power cut, several times over one history.
func TestPowerCutsInARow(t *testing.T) {
	r := newRand(t)
	for _, mode := range faultModes {
		t.Run(mode.name, func(t *testing.T) {
			for range 30 {
				m := vfstest.NewDisk()
				h := newHistory()
				for round := range 3 {
					l, err := Open(faultOptions(m, mode.sync, mode.key))
					require.NoError(t, err, "round %d", round)
					for i := range r.IntN(12) {
						h.commit(l, uint64(10_000*(round+1)+100*i), 1+r.IntN(3), 1+r.IntN(100))
						switch r.IntN(8) {
						case 0:
							_ = l.Seal()
						case 1:
							_ = l.Sync()
						case 2:
							h.mark(l, h.marked+uint64(r.IntN(4)))
						case 3:
							require.NoError(t, h.merge(l, r.IntN(2) == 0))
						}
					}
					m = m.PowerCut(r)
					_ = l.Close()
					l, err = Open(faultOptions(m, mode.sync, mode.key))
					require.NoError(t, err, "round %d", round)
					checkAfterPowerCut(t, h, l, mode.sync)
					got := dump(t, l)
					for name := range h.fate {
						if _, ok := got[name]; !ok {
							delete(h.fate, name)
						}
					}
					m = m.Killed()
					_ = l.Close()
				}
			}
		})
	}
}

// checkAfterPowerCut: under sync nothing acknowledged is lost; without it, what is lost is a
// suffix.
func checkAfterPowerCut(t *testing.T, h *history, l *Log, sync bool) {
	t.Helper()
	if sync {
		h.check(t, l, false)
		return
	}
	got := dump(t, l)
	highest := uint64(0)
	for name := range got {
		require.True(t, h.value[name] == got[name], "%s", name)
		require.Greater(t, h.seq[name], h.marked, "%s came back after replay", name)
		highest = max(highest, h.seq[name])
	}
	for name, f := range h.fate {
		if f == acked && h.seq[name] > h.tried && h.seq[name] < highest {
			_, ok := got[name]
			require.True(t, ok, "%s was lost from the middle", name)
		}
	}
}

func TestDiskFullIsAnErrorThatGoesAway(t *testing.T) {
	m := vfstest.NewDisk()
	l := mustOpen(t, faultOptions(m, false, nil))
	mustPut(t, l, 1, "before", "1")
	m.ShortWrite = 10
	full := func(op, _ string) error {
		if op == "write" || op == "create" {
			return syscall.ENOSPC
		}
		return nil
	}
	m.SetFault(full)
	for i := range 5 {
		err := put(l, uint64(2+i), "during", "2")
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.Contains(t, err.Error(), "/spill/")
	}
	got, ok := get(t, l, "before")
	require.True(t, ok)
	require.Equal(t, "1", got)
	m.SetFault(nil)
	mustPut(t, l, 10, "after", "3")
	require.NoError(t, l.Close())
	l = mustOpen(t, faultOptions(m, false, nil))
	require.Equal(t, map[string]string{"before@1": "1", "after@10": "3"}, dump(t, l))
	require.NoError(t, l.Close())
}

// The batch that failed lies intact behind the end of its segment, and is cut off, or can not be.
func TestFailedBatchDoesNotComeBack(t *testing.T) {
	for name, after := range map[string]func(*Log){
		"cut off at once":             nil,
		"followed by another segment": func(l *Log) { mustPut(t, l, 3, "next", "3") },
		"followed by a close":         func(l *Log) { require.NoError(t, l.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			m := vfstest.NewDisk()
			l := mustOpen(t, faultOptions(m, true, nil))
			mustPut(t, l, 1, "good", "1")
			m.SetFault(func(op, path string) error {
				if (op == "sync" || op == "truncate" && after != nil) && strings.HasSuffix(path, "1.seg") {
					return errInjected
				}
				return nil
			})
			require.ErrorIs(t, put(l, 2, "bad", "2"), errInjected)
			if after != nil {
				after(l)
			}
			m.SetFault(nil)
			got := dump(t, mustOpen(t, faultOptions(m.Killed(), true, nil)))
			require.Contains(t, got, "good@1")
			require.NotContains(t, got, "bad@2")
		})
	}
}

func TestAFailedSyncIsNeverRepeated(t *testing.T) {
	m := vfstest.NewDisk()
	o := faultOptions(m, false, nil)
	var poisoned []string
	o.OnEvent = func(e Event) {
		if e.Kind == SegmentPoisoned {
			poisoned = append(poisoned, e.File)
		}
	}
	l := mustOpen(t, o)
	mustPut(t, l, 1, "a", "1")
	syncs := 0
	m.SetFault(func(op, path string) error {
		if op == "sync" && strings.HasSuffix(path, "1.seg") {
			if syncs++; syncs == 1 {
				return syscall.EIO
			}
		}
		return nil
	})
	require.ErrorIs(t, l.Sync(), syscall.EIO)
	err := l.Sync()
	require.ErrorIs(t, err, ErrPoisoned)
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, 1, syncs)
	require.Len(t, poisoned, 1)
	mustPut(t, l, 2, "b", "2")
	require.ErrorIs(t, l.Sync(), ErrPoisoned)
	require.Equal(t, 2, l.State().LiveSegments)
	require.Len(t, dump(t, l), 2)
	require.Zero(t, l.State().Synced, "the second segment is synced, the first is not")
	require.NoError(t, l.MarkReplayed(1))
	require.Equal(t, uint64(2), l.State().Synced.Segment)
	require.NoError(t, l.Sync())
	require.Equal(t, 1, syncs)
	require.NoError(t, l.Close())
}

// beforeSync returns what runs a function before each sync of a segment.
func beforeSync(do func()) vfstest.Fault {
	return func(op, path string) error {
		if op == "sync" && strings.HasSuffix(path, block.SegmentSuffix) {
			do()
		}
		return nil
	}
}

// What is written while a sync runs is not known to be durable.
func TestSyncedMarkExcludesWhatCameDuringTheSync(t *testing.T) {
	disk := vfstest.NewFaults(vfstest.NewDisk(), nil)
	o := faultOptions(nil, false, nil)
	o.FS = disk
	l := mustOpen(t, o)
	mustPut(t, l, 1, "a", "1")
	end := l.w.active.end.Load()
	disk.Set(beforeSync(func() {
		disk.Set(nil)
		mustPut(t, l, 2, "b", "2")
	}))
	require.NoError(t, l.Sync())
	require.Equal(t, Position{Segment: 1, Offset: end}, l.State().Synced)
	require.Greater(t, l.w.active.end.Load(), end)
	require.NoError(t, l.Sync())
	require.Equal(t, Position{Segment: 1, Offset: l.w.active.end.Load()}, l.State().Synced)
	require.NoError(t, l.Close())
}

// A batch that was written, never synced, and recovered after a kill must not vanish under later
// synced ones.
func TestRecoveredTailIsSyncedBeforeNewBatches(t *testing.T) {
	m := vfstest.NewDisk()
	l := mustOpen(t, faultOptions(m, true, nil))
	mustPut(t, l, 1, "a", "1")
	var image *vfstest.Disk
	m.SetFault(beforeSync(func() { image = m.Killed() }))
	mustPut(t, l, 2, "b", "2")
	require.NoError(t, l.Close())

	l = mustOpen(t, faultOptions(image, true, nil))
	require.Len(t, dump(t, l), 2)
	mustPut(t, l, 3, "c", "3")
	after := image.OnlySynced()
	require.NoError(t, l.Close())
	l = mustOpen(t, faultOptions(after, true, nil))
	require.Len(t, dump(t, l), 3)
	require.NoError(t, l.Close())
}

func TestSealedSegmentIsSyncedInTheBackground(t *testing.T) {
	m := vfstest.NewDisk()
	l := mustOpen(t, faultOptions(m, false, nil))
	defer l.Close()
	mustPut(t, l, 1, "a", "1")
	require.Zero(t, l.State().Synced)
	require.NoError(t, l.Seal())
	require.True(t, waitFor(func() bool { return l.State().Synced.Segment == 1 }))
	mustPut(t, l, 2, "b", "2")
	mustPut(t, l, 3, "c", "3")
	require.Equal(t, uint64(1), l.State().Synced.Segment)
	require.NoError(t, l.Sync())
	require.Equal(t, uint64(2), l.State().Synced.Segment)
}

func TestRemovalThatFailedIsRepeated(t *testing.T) {
	m := vfstest.NewDisk()
	l := mustOpen(t, faultOptions(m, false, nil))
	mustPut(t, l, 1, "a", "1")
	m.SetFault(func(op, _ string) error {
		if op == "remove" {
			return errInjected
		}
		return nil
	})
	require.ErrorIs(t, l.MarkReplayed(1), errInjected)
	require.True(t, l.Empty())
	require.Positive(t, l.State().DiskBytes)
	m.SetFault(nil)
	require.NoError(t, l.MarkReplayed(1))
	require.Zero(t, l.State().DiskBytes)
	require.NoError(t, l.Close())
}

// A merge reads values by several readers at once. If any of their reads fails, that is the merge's
// error, at once or with the next window.
func TestAnyReadOfAMergeFails(t *testing.T) {
	m := vfstest.NewDisk()
	o := faultOptions(m, false, nil)
	o.SegmentSize, o.IndexArena = 1<<20, 1<<20
	l := mustOpen(t, o)
	defer l.Close()
	for i := range 600 { // each in a block of its own, in an order that is not that of keys
		mustPut(t, l, uint64(i+1), fmt.Sprintf("%04d", i*311%600), strings.Repeat(fmt.Sprint(i), 20))
	}
	require.NoError(t, l.Seal())
	require.NoError(t, l.syncAll(false))
	require.NoError(t, l.indexSealed())
	for k := 1; ; k++ {
		n, hit := 0, false
		m.SetFault(func(op, path string) error {
			if op != "read" || !strings.HasSuffix(path, block.SegmentSuffix) {
				return nil
			}
			if n++; n == k {
				hit = true
				return errInjected
			}
			return nil
		})
		merge := l.NewMerge(Position{}, math.MaxInt64)
		var c Chunk
		var err error
		entries := 0
		for {
			if _, err = merge.Next(&c, 8<<20, Retention{Versions: 1}); err != nil || len(c.Entries) == 0 {
				break
			}
			entries += len(c.Entries)
		}
		merge.Close()
		m.SetFault(nil)
		if !hit {
			require.NoError(t, err)
			require.Equal(t, 600, entries)
			require.Greater(t, k, 4, "one reader did it all")
			return
		}
		require.ErrorIs(t, err, errInjected, "read %d", k)
	}
}
