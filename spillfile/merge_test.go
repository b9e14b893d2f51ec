package spillfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// retained is the rule again, over all versions of one key, newest first.
func retained(versions []Entry, r Retention) (kept []Entry) {
	n, covered := 0, false
	for _, e := range versions {
		if covered {
			continue
		}
		kept = append(kept, e)
		if e.Version > r.DiscardTs || e.Meta&MetaMerge != 0 {
			continue
		}
		n++
		covered = n == r.Versions || e.Meta&(MetaDelete|MetaDiscardEarlier) != 0 || e.ExpiresAt == 1
	}
	return kept
}

func collect(t testing.TB, m *Merge, maxBytes int64, r Retention) (all []Entry, coalesced int64) {
	t.Helper()
	var c Chunk
	for {
		n, err := m.Next(&c, maxBytes, r)
		require.NoError(t, err)
		coalesced += n
		if len(c.Entries) == 0 {
			return all, coalesced
		}
		for _, e := range c.Entries { // the chunk's memory is reused
			e.Key, e.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
			all = append(all, e)
		}
	}
}

// A merge gives every version that somebody may see once, by key, oldest first, whatever lies
// where.
func TestMerge(t *testing.T) {
	r := newRand(t)
	defer func(was int) { maxVersions = was }(maxVersions)
	for round := range 12 {
		maxVersions = []int{4 << 10, 1, 3}[round%3] // of a key with more they are not gathered
		o := testOptions(t.TempDir())
		o.SegmentSize, o.CacheSize = 64<<10, int64(round%2)<<20
		if round%3 == 0 {
			o.EncryptionKey = bytes.Repeat([]byte{1}, 32)
		}
		l := mustOpen(t, o)
		byKey := map[string][]Entry{}
		keys := 1 + r.IntN(400)
		for ts := uint64(1); ts <= 500; ts++ {
			var es []Entry
			for range 1 + r.IntN(4) {
				key := fmt.Sprintf("%s%d", strings.Repeat("p", r.IntN(3)), r.IntN(keys))
				if slices.ContainsFunc(es, func(e Entry) bool { return string(e.Key) == key }) {
					continue
				}
				e := Entry{Key: []byte(key), Value: randomValue(r, r.IntN(2_000)), UserMeta: byte(r.Uint32()), Version: ts,
					Meta: []byte{0, 0, 0, MetaDelete, MetaDiscardEarlier, MetaMerge}[r.IntN(6)], ExpiresAt: []uint64{0, 0, 1, math.MaxInt64}[r.IntN(4)]}
				byKey[key] = append(byKey[key], e)
				e.Version = 0
				es = append(es, e)
			}
			mustPutEntries(t, l, ts, es...)
		}
		require.NoError(t, l.Seal())
		rule := Retention{DiscardTs: uint64(r.IntN(600)), Versions: []int{1, 1, 2, math.MaxInt}[r.IntN(4)]}
		var want []Entry
		total := 0
		for _, key := range slices.Sorted(func(yield func(string) bool) {
			for k := range byKey {
				if !yield(k) {
					return
				}
			}
		}) {
			versions := byKey[key]
			total += len(versions)
			slices.SortFunc(versions, func(a, b Entry) int { return cmp.Compare(b.Version, a.Version) })
			kept := retained(versions, rule)
			slices.Reverse(kept)
			want = append(want, kept...)
		}
		m := l.NewMerge(Position{}, math.MaxInt64)
		require.NotNil(t, m)
		require.Equal(t, l.State().LastSeq, m.LastSeq())
		got, coalesced := collect(t, m, int64(1+r.IntN(100_000)), rule)
		m.Close()
		require.EqualValues(t, total-len(want), coalesced)
		require.Len(t, got, len(want))
		for i := range want {
			w, g := want[i], got[i]
			require.Equal(t, fmt.Sprintf("%s@%d", w.Key, w.Version), fmt.Sprintf("%s@%d", g.Key, g.Version), "entry %d, %+v", i, rule)
			require.True(t, bytes.Equal(w.Value, g.Value))
			require.Equal(t, []any{w.Meta, w.UserMeta, w.ExpiresAt}, []any{g.Meta, g.UserMeta, g.ExpiresAt})
		}
		require.NoError(t, l.Close())
	}
}

// A merge begins where replay has come, takes sealed segments only, and as many as it may.
func TestMergeTakesWhatItMay(t *testing.T) {
	o := testOptions(t.TempDir())
	l := mustOpen(t, o)
	defer l.Close()
	require.Nil(t, l.NewMerge(Position{}, math.MaxInt64), "of an empty log")
	mustPut(t, l, 1, "b", "1")
	require.Nil(t, l.NewMerge(Position{}, math.MaxInt64), "of a segment that is being written")
	mustPut(t, l, 2, "a", "2")
	c, err := l.ReadChunk(Position{}, 1)
	require.NoError(t, err)
	require.EqualValues(t, 1, c.LastSeq)
	require.NoError(t, l.Seal())
	mustPut(t, l, 3, "a", "3")
	mustPut(t, l, 4, "c", "4")
	require.NoError(t, l.Seal())
	mustPut(t, l, 5, "d", "5")
	names := func(m *Merge) (s string) {
		all, _ := collect(t, m, 1, Retention{Versions: 1})
		m.Close()
		for _, e := range all {
			s += fmt.Sprintf("%s%d ", e.Key, e.Version)
		}
		return s
	}
	require.Equal(t, "a2 a3 b1 c4 ", names(l.NewMerge(Position{}, math.MaxInt64)))
	require.Equal(t, "a2 a3 c4 ", names(l.NewMerge(c.Next, math.MaxInt64)), "from the middle of a segment")
	m := l.NewMerge(c.Next, 1)
	require.EqualValues(t, 2, m.LastSeq())
	end := m.End()
	require.Equal(t, "a2 ", names(m), "one segment at least")
	m = l.NewMerge(end, 1)
	require.EqualValues(t, 4, m.LastSeq())
	end = m.End()
	require.Equal(t, "a3 c4 ", names(m))
	require.Nil(t, l.NewMerge(end, 1))
	c, err = l.ReadChunk(end, math.MaxInt64)
	require.NoError(t, err)
	require.Len(t, c.Entries, 1)
	require.True(t, c.AtEnd)
}

// A merge outlives the drop of its segments, and damage ends it with an error.
func TestMergeOfWhatIsGoneOrDamaged(t *testing.T) {
	m := vfstest.NewDisk()
	o := faultOptions(m, false, nil)
	o.SegmentSize, o.IndexArena = 1<<20, 1<<20
	l := mustOpen(t, o)
	defer l.Close()
	r := newRand(t)
	for i := range 200 {
		mustPut(t, l, uint64(i+1), fmt.Sprint(i), string(randomValue(r, 1_000)))
	}
	require.NoError(t, l.Seal())
	merge := l.NewMerge(Position{}, math.MaxInt64)
	require.NoError(t, l.MarkReplayed(200))
	all, _ := collect(t, merge, 10_000, Retention{Versions: 1})
	merge.Close()
	require.Len(t, all, 200)

	for i := range 200 {
		mustPut(t, l, uint64(i+201), fmt.Sprint(i), string(randomValue(r, 1_000)))
	}
	require.NoError(t, l.Seal())
	broken := errors.New("broken disk")
	for name, fault := range map[string]vfstest.Fault{
		"read fails": func(op, name string) error {
			if op == "read" && strings.HasSuffix(name, block.SegmentSuffix) {
				return broken
			}
			return nil
		},
	} {
		merge = l.NewMerge(Position{}, math.MaxInt64)
		m.SetFault(fault)
		var c Chunk
		_, err := merge.Next(&c, 10_000, Retention{Versions: 1})
		require.ErrorIs(t, err, broken, name)
		merge.Close()
		m.SetFault(nil)
	}
	m.Alter(block.SegmentSuffix, func(b string) string { return forgery.Flip(b, len(b)/2, 1) })
	merge = l.NewMerge(Position{}, math.MaxInt64)
	defer merge.Close()
	var c Chunk
	var err error
	for err == nil {
		if _, err = merge.Next(&c, 10_000, Retention{Versions: 1}); err == nil && len(c.Entries) == 0 {
			break
		}
	}
	require.ErrorIs(t, err, ErrCorrupt)
}

func BenchmarkMerge(b *testing.B) {
	o := testOptions(b.TempDir())
	o.SegmentSize, o.IndexArena = 16<<20, 8<<20
	l := mustOpen(b, o)
	defer l.Close()
	r := rand.New(rand.NewPCG(1, 2))
	const entries = 100_000
	for i := range entries {
		mustPut(b, l, uint64(i+1), fmt.Sprintf("%016x", r.Uint64()), string(randomValue(r, 1_000)))
	}
	require.NoError(b, l.Seal())
	require.NoError(b, l.syncAll(false))
	for b.Loop() {
		m := l.NewMerge(Position{}, math.MaxInt64)
		var c Chunk
		n := 0
		for {
			_, err := m.Next(&c, 1<<20, Retention{DiscardTs: 1 << 60, Versions: 1})
			require.NoError(b, err)
			if len(c.Entries) == 0 {
				break
			}
			n += len(c.Entries)
		}
		m.Close()
		require.Equal(b, entries, n)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/entries, "ns/entry")
}
