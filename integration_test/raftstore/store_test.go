package raftstore

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
)

// options of a database whose transactions hold about 600 KB, and that turns to the spill and back
// all the time.
func options(dir string) badgerspill.Options {
	o := badgerspill.OptionsFrom(badger.DefaultOptions(dir).WithLogger(nil).WithMetricsEnabled(false).WithSyncWrites(true).
		WithMemTableSize(4 << 20).WithValueThreshold(512 << 10).WithValueLogFileSize(1 << 20).WithBlockCacheSize(1 << 20).WithNumCompactors(2))
	return o.WithStallThreshold(time.Nanosecond).WithQuiet(1e12, time.Millisecond).WithSegmentSize(64 << 10)
}

// opened is a Store and the database under it, which can be closed and opened again.
type opened struct {
	*Store
	t   *testing.T
	opt badgerspill.Options
}

func open(t *testing.T, opt badgerspill.Options) *opened {
	before := kit.CurrentGoroutines()
	o := &opened{t: t, opt: opt}
	o.open()
	t.Cleanup(func() {
		require.NoError(t, o.db.Close())
		require.NoError(t, before.Gone())
	})
	return o
}

func (o *opened) open() {
	db, err := badgerspill.Open(o.opt)
	require.NoError(o.t, err)
	o.Store, err = New(db)
	require.NoError(o.t, err)
}

func (o *opened) reopen() {
	require.NoError(o.t, o.db.Close())
	o.open()
}

func entry(index, term uint64) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "entry %d of term %d", index, term),
		AppendedAt: time.Unix(int64(index), int64(term))}
}

func entries(from, to, term uint64) (logs []*raft.Log) {
	for i := from; i <= to; i++ {
		logs = append(logs, entry(i, term))
	}
	return logs
}

// indexes returns what is in the database, which the Store's own bounds must agree with.
func (o *opened) indexes() (found []uint64) {
	o.t.Helper()
	require.NoError(o.t, o.scan(0, false, func(index uint64) bool { found = append(found, index); return true }))
	var ends [2]uint64
	if len(found) > 0 {
		ends = [2]uint64{found[0], found[len(found)-1]}
	}
	first, err := o.FirstIndex()
	require.NoError(o.t, err)
	last, err := o.LastIndex()
	require.NoError(o.t, err)
	require.Equal(o.t, ends, [2]uint64{first, last})
	return found
}

func span(from, to uint64) (indexes []uint64) {
	for i := from; i <= to; i++ {
		indexes = append(indexes, i)
	}
	return indexes
}

// TestAgainstRaftsOwnStore applies random calls, those that raft makes, to a Store and to raft's
// store in memory.
func TestAgainstRaftsOwnStore(t *testing.T) {
	rng := seed.Random(t)
	s, model := open(t, options(t.TempDir())), raft.NewInmemStore()
	s.deleteBatch = 7
	term := uint64(1)
	bounds := func() (first, last uint64) {
		first, err := model.FirstIndex()
		require.NoError(t, err)
		last, err = model.LastIndex()
		require.NoError(t, err)
		got, err := s.FirstIndex()
		require.NoError(t, err)
		require.Equal(t, first, got)
		got, err = s.LastIndex()
		require.NoError(t, err)
		require.Equal(t, last, got)
		return first, last
	}
	next := uint64(1) // of an empty log
	spilled := int64(0)
	for range 400 {
		first, last := bounds()
		switch op := rng.IntN(10); {
		case op < 5 || first == 0:
			if first > 0 {
				next = last + 1
			}
			var logs []*raft.Log
			for range 1 + rng.IntN(40) {
				l := entry(next, term)
				l.Type, l.Data = raft.LogType(rng.IntN(6)), make([]byte, rng.IntN(4000))
				if rng.IntN(3) == 0 {
					l.Extensions = fmt.Append(nil, rng.Uint64())
				}
				logs = append(logs, l)
				next++
			}
			require.NoError(t, model.StoreLogs(logs))
			require.NoError(t, s.StoreLogs(logs))
		case op == 5: // a leader disagrees
			from := first + uint64(rng.IntN(int(last-first)+1))
			next = from
			term++
			require.NoError(t, model.DeleteRange(from, last))
			require.NoError(t, s.DeleteRange(from, last))
		case op == 6: // a snapshot was taken
			through := first + uint64(rng.IntN(int(last-first)+1))
			next = last + 1
			require.NoError(t, model.DeleteRange(first, through))
			require.NoError(t, s.DeleteRange(first, through))
		case op == 7 && rng.IntN(5) == 0:
			spilled += s.db.SpillStats().CommitsSpilled
			s.reopen()
		default:
			index := max(first, 3) - 3 + uint64(rng.IntN(int(last-first)+7))
			var want, got raft.Log
			err := model.GetLog(index, &want)
			require.Equal(t, err, s.GetLog(index, &got), "entry %d of %d to %d", index, first, last)
			if len(want.Data) == 0 {
				want.Data = nil
			}
			require.True(t, want.AppendedAt.Equal(got.AppendedAt))
			want.AppendedAt = got.AppendedAt
			require.Equal(t, want, got)
		}
	}
	bounds()
	st := s.db.SpillStats()
	require.Positive(t, spilled+st.CommitsSpilled, "nothing was spilled")

	key := func() []byte { return fmt.Append(nil, "key ", rng.IntN(5)) }
	for range 60 {
		k, v := key(), rng.Uint64()
		require.NoError(t, model.Set(k, fmt.Append(nil, v)))
		require.NoError(t, s.Set(k, fmt.Append(nil, v)))
		k = key()
		want, wantErr := model.Get(k)
		got, err := s.Get(k)
		require.Equal(t, want, got)
		require.Equal(t, wantErr == nil, err == nil)
		if err != nil {
			require.Equal(t, wantErr.Error(), err.Error())
		}
	}
}

// TestRangesAndGaps: the log may have gaps, as in raft's other stores that are not monotonic, and a
// range may be any.
func TestRangesAndGaps(t *testing.T) {
	log := [][2]uint64{{3, 7}, {100, 103}}
	for _, c := range []struct {
		name             string
		minimum, maximum uint64
		want             []uint64
	}{
		{"all of it", 3, 103, nil},
		{"all numbers", 0, math.MaxUint64, nil},
		{"below the log", 0, 2, append(span(3, 7), span(100, 103)...)},
		{"above the log", 104, 200, append(span(3, 7), span(100, 103)...)},
		{"begin after end", 6, 5, append(span(3, 7), span(100, 103)...)},
		{"in the gap", 50, 60, append(span(3, 7), span(100, 103)...)},
		{"first entries, from below", 1, 5, append(span(6, 7), span(100, 103)...)},
		{"first entries into the gap", 3, 50, span(100, 103)},
		{"last entries", 102, 103, append(span(3, 7), span(100, 101)...)},
		{"last entries from the gap, to above", 50, 900, span(3, 7)},
		{"last entries over the gap", 5, 103, span(3, 4)},
		{"the middle", 5, 101, append(span(3, 4), span(102, 103)...)},
		{"one entry of the middle", 5, 5, append(append(span(3, 4), span(6, 7)...), span(100, 103)...)},
	} {
		for _, batch := range []int{1, 2, 100} {
			t.Run(fmt.Sprintf("%s, %d a transaction", c.name, batch), func(t *testing.T) {
				s := open(t, options(t.TempDir()))
				s.deleteBatch = batch
				for _, part := range log {
					require.NoError(t, s.StoreLogs(entries(part[0], part[1], 1)))
				}
				require.NoError(t, s.DeleteRange(c.minimum, c.maximum))
				require.Equal(t, c.want, s.indexes())
				s.reopen()
				require.Equal(t, c.want, s.indexes())
				require.NoError(t, s.StoreLog(entry(104, 2)))
				require.Equal(t, append(slices.Clone(c.want), 104), s.indexes())
			})
		}
	}
}

// TestCrashBetweenTransactionsOfADeletion: what a crash leaves has no hole, and the end that raft
// did not touch.
func TestCrashBetweenTransactionsOfADeletion(t *testing.T) {
	for _, c := range []struct {
		name             string
		minimum, maximum uint64
		want             func(step uint64) []uint64
	}{
		{"first entries", 1, 20, func(step uint64) []uint64 { return span(1+min(3*step, 20), 30) }},
		{"last entries", 11, 30, func(step uint64) []uint64 { return span(1, 30-min(3*step, 20)) }},
		{"all entries", 1, 30, func(step uint64) []uint64 { return span(1+3*step, 30) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, options(t.TempDir()))
			s.deleteBatch = 3
			require.NoError(t, s.StoreLogs(entries(1, 30, 1)))
			minimum, maximum := c.minimum, c.maximum
			for step := uint64(1); ; step++ {
				var more bool
				var err error
				minimum, maximum, more, err = s.deleteSome(minimum, maximum)
				require.NoError(t, err)
				if !more {
					break
				}
				require.Equal(t, c.want(step), s.indexes())
				after, err := New(s.db) // as after a crash
				require.NoError(t, err)
				require.Equal(t, [2]uint64{s.first, s.last}, [2]uint64{after.first, after.last})
			}
			require.Equal(t, c.want(30), s.indexes())
		})
	}
}

// TestEntriesOfManyTransactions: what does not fit into one transaction takes several, in order; an
// entry that fits into none fails, those before it are there, and the next call removes them.
func TestEntriesOfManyTransactions(t *testing.T) {
	s := open(t, options(t.TempDir()))
	require.NoError(t, s.StoreLogs(entries(1, 4, 1)))
	before := s.db.MaxVersion()
	logs := entries(5, 14, 1)
	for i, l := range logs {
		l.Data = bytes.Repeat([]byte{byte(i)}, 200<<10) // a transaction takes 600 KB
	}
	require.NoError(t, s.StoreLogs(logs))
	require.Equal(t, span(1, 14), s.indexes())
	require.Greater(t, s.db.MaxVersion(), before+3, "it was one transaction")
	for _, l := range logs {
		var got raft.Log
		require.NoError(t, s.GetLog(l.Index, &got))
		require.Equal(t, l.Data, got.Data)
	}

	logs = entries(15, 24, 2)
	for _, l := range logs[:5] {
		l.Data = make([]byte, 200<<10)
	}
	logs[7].Data = make([]byte, 1<<20+1) // above ValueLogFileSize
	err := s.StoreLogs(logs)
	require.ErrorContains(t, err, "store entries 18 to 24: entry 22: ")
	require.Equal(t, span(1, 17), s.indexes())

	// Raft has been told that none of them was stored.
	require.NoError(t, s.StoreLog(entry(15, 3)))
	require.Equal(t, span(1, 15), s.indexes())
	s.reopen()
	require.Equal(t, span(1, 15), s.indexes())
	var got raft.Log
	require.NoError(t, s.GetLog(15, &got))
	require.EqualValues(t, 3, got.Term)
}

// TestDeletionOfMoreThanATransactionTakes: the bound of the transaction, not the number of entries,
// ends it.
func TestDeletionOfMoreThanATransactionTakes(t *testing.T) {
	opt := options(t.TempDir()).WithSegmentSize(1 << 20)
	opt = opt.WithMemTableSize(256 << 10).WithValueThreshold(1 << 10)
	s := open(t, opt)
	s.deleteBatch = math.MaxInt
	const n = 5000
	require.NoError(t, s.StoreLogs(entries(1, n, 1)))
	before := s.db.MaxVersion()
	require.NoError(t, s.DeleteRange(1, n-1))
	require.Greater(t, s.db.MaxVersion(), before+1, "it was one transaction")
	require.Equal(t, []uint64{n}, s.indexes())
	require.NoError(t, s.StoreLogs(entries(n+1, 2*n, 1)))
	require.NoError(t, s.DeleteRange(n+1, 2*n))
	require.Equal(t, []uint64{n}, s.indexes())
}

func TestIndexesMustRise(t *testing.T) {
	s := open(t, options(t.TempDir()))
	require.NoError(t, s.StoreLogs(nil))
	for _, logs := range [][]*raft.Log{
		{entry(0, 1)},
		{entry(1, 1), entry(1, 1)},
		{entry(5, 1), entry(6, 1), entry(4, 1)},
	} {
		require.ErrorContains(t, s.StoreLogs(logs), "indexes must rise")
	}
	require.Empty(t, s.indexes())
}

// TestStableStore: what raft asks of it, and how it tells a key that is missing.
func TestStableStore(t *testing.T) {
	s := open(t, options(t.TempDir()))
	has, err := raft.HasExistingState(s, s, raft.NewInmemSnapshotStore())
	require.NoError(t, err, "raft knows a missing key by the text of the error")
	require.False(t, has)
	_, err = s.Get([]byte("no key"))
	require.Equal(t, ErrNotFound, err)
	_, err = s.GetUint64([]byte("no key"))
	require.Equal(t, ErrNotFound, err)

	require.NoError(t, s.SetUint64([]byte("CurrentTerm"), math.MaxUint64-1))
	require.NoError(t, s.Set([]byte("LastVoteCand"), []byte("n1")))
	require.NoError(t, s.Set([]byte("empty"), nil))
	require.NoError(t, s.SetUint64(nil, 7))
	s.reopen()
	n, err := s.GetUint64([]byte("CurrentTerm"))
	require.NoError(t, err)
	require.EqualValues(t, uint64(math.MaxUint64-1), n)
	val, err := s.Get([]byte("LastVoteCand"))
	require.NoError(t, err)
	require.Equal(t, "n1", string(val))
	val, err = s.Get([]byte("empty"))
	require.NoError(t, err)
	require.NotNil(t, val)
	require.Empty(t, val)
	n, err = s.GetUint64(nil)
	require.NoError(t, err)
	require.EqualValues(t, 7, n)
	_, err = s.GetUint64([]byte("LastVoteCand"))
	require.ErrorContains(t, err, "2 bytes")
	has, err = raft.HasExistingState(s, s, raft.NewInmemSnapshotStore())
	require.NoError(t, err)
	require.True(t, has)
	require.Empty(t, s.indexes(), "log and stable store are apart")
}

// TestKeysOfOthersAreLeftAlone: a state machine may keep its keys in the same database, next to the
// log's.
func TestKeysOfOthersAreLeftAlone(t *testing.T) {
	s := open(t, options(t.TempDir()))
	others := []string{"a", "raft/log.", "raft/log0", "raft/", "z"}
	require.NoError(t, s.db.Update(func(txn *badgerspill.Txn) error {
		for _, k := range others {
			if err := txn.Set([]byte(k), []byte("mine")); err != nil {
				return err
			}
		}
		return nil
	}))
	s.reopen()
	require.Empty(t, s.indexes())
	require.NoError(t, s.StoreLogs(entries(1, 9, 1)))
	require.NoError(t, s.DeleteRange(0, math.MaxUint64))
	require.NoError(t, s.db.View(func(txn *badgerspill.Txn) error {
		for _, k := range others {
			_, err := txn.Get([]byte(k))
			require.NoError(t, err, k)
		}
		return nil
	}))

	require.NoError(t, s.db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte("raft/log/x"), nil) }))
	_, err := New(s.db)
	require.ErrorContains(t, err, `"raft/log/x"`)
}

func TestSyncWritesIsAskedFor(t *testing.T) {
	opt := options(t.TempDir())
	opt.SyncWrites = false
	db, err := badgerspill.Open(opt)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = New(db)
	require.ErrorContains(t, err, "SyncWrites")
}

// TestLogInTheSpill: a log that is wholly in the spill is read from there, also by the next
// process.
func TestLogInTheSpill(t *testing.T) {
	s := open(t, options(t.TempDir()).WithSpillPolicy(badgerspill.Always).WithQuiet(1, time.Hour).WithMaxSpillAge(time.Hour).WithDrainOnClose(false))
	require.NoError(t, s.StoreLogs(entries(1, 500, 1)))
	require.NoError(t, s.DeleteRange(1, 100))
	require.NoError(t, s.DeleteRange(401, 500))
	require.Positive(t, s.db.SpillStats().SpillPending)
	s.reopen()
	require.Positive(t, s.db.SpillStats().SpillPending)
	require.Equal(t, span(101, 400), s.indexes())
	for _, want := range entries(101, 400, 1) {
		var got raft.Log
		require.NoError(t, s.GetLog(want.Index, &got))
		require.Equal(t, want.Data, got.Data)
	}
	require.NoError(t, s.db.Drain(t.Context()))
	require.Equal(t, span(101, 400), s.indexes())
}

// TestAppendsBesideReadersAndSnapshots: raft's goroutines. A reader finds each entry between the
// bounds that it saw before and after, since the log only moves upwards here.
func TestAppendsBesideReadersAndSnapshots(t *testing.T) {
	s := open(t, options(t.TempDir()))
	s.deleteBatch = 16
	require.NoError(t, s.StoreLog(entry(1, 1)))
	const n = 2000
	done := make(chan struct{})
	var wg kit.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := uint64(2); i <= n; i += 20 {
			if err := s.StoreLogs(entries(i, min(i+19, n), i)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	running := func() bool {
		select {
		case <-done:
			return false
		default:
			return true
		}
	}
	wg.Go(func() {
		for running() {
			if first, last := s.bounds(); last > first+50 {
				if err := s.DeleteRange(first, last-50); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			for running() {
				first, last := s.bounds()
				for i := first; i <= last; i++ {
					var l raft.Log
					err := s.GetLog(i, &l)
					if now, _ := s.bounds(); errors.Is(err, raft.ErrLogNotFound) && i < now+uint64(s.deleteBatch) {
						continue // deleted since, or about to be
					}
					if err != nil || l.Index != i {
						t.Errorf("entry %d of %d to %d: %d, %v", i, first, last, l.Index, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	found := s.indexes()
	require.Equal(t, span(found[0], n), found)
}

// TestGetLogSharesNoMemory: raft keeps what it was given.
func TestGetLogSharesNoMemory(t *testing.T) {
	s := open(t, options(t.TempDir()))
	l := entry(1, 1)
	l.Extensions = []byte("extensions")
	want := string(l.Data)
	require.NoError(t, s.StoreLog(l))
	clear(l.Data)
	clear(l.Extensions)
	var a, b raft.Log
	require.NoError(t, s.GetLog(1, &a))
	require.Equal(t, want, string(a.Data))
	require.Equal(t, "extensions", string(a.Extensions))
	clear(a.Data)
	clear(a.Extensions)
	require.NoError(t, s.GetLog(1, &b))
	require.Equal(t, want, string(b.Data))
	require.Equal(t, "extensions", string(b.Extensions))
}

func FuzzEntry(f *testing.F) {
	for _, l := range []*raft.Log{
		{},
		{Term: math.MaxUint64, Type: raft.LogConfiguration, AppendedAt: time.Unix(1<<40, 999_999_999)},
		{Term: 3, Data: []byte("data"), Extensions: []byte("extensions"), AppendedAt: time.Unix(-1, 1)},
	} {
		b := encodeEntry(l)
		var got raft.Log
		require.NoError(f, decodeEntry(b, l.Index, &got))
		require.True(f, l.AppendedAt.Equal(got.AppendedAt))
		require.Equal(f, l.AppendedAt.IsZero(), got.AppendedAt.IsZero())
		got.AppendedAt = l.AppendedAt
		require.Equal(f, l, &got)
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte{2, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := raft.Log{Index: 9}
		if err := decodeEntry(b, 7, &l); err != nil {
			require.Equal(t, raft.Log{Index: 9}, l, "a failure must leave the entry alone")
			return
		}
		var again raft.Log
		require.NoError(t, decodeEntry(encodeEntry(&l), 7, &again))
		require.Equal(t, l, again)
	})
}
