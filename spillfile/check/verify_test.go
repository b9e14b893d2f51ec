package check_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
	"github.com/badgerspill/badgerspill/spillfile/internal/spilltest"
)

// An index whose checksums are right and which is not that of its segment all the same: a read
// would miss an entry, or take another. forge makes another index of the entries, change another
// file of the index.
func TestVerifyComparesIndexes(t *testing.T) {
	const victim = 150 // of 300 entries, in the middle of a leaf
	for name, row := range map[string]struct {
		forge  func(i int, vs *y.ValueStruct) bool
		change func(t *testing.T, b []byte)
		reason string
	}{
		"as it is":                  {},
		"an entry is missing":       {forge: func(i int, _ *y.ValueStruct) bool { return i != victim }, reason: "is not the next of the segment"},
		"the last entry is missing": {forge: func(i int, _ *y.ValueStruct) bool { return i != 299 }, reason: "an entry of the segment is missing"},
		"another entry's place": {forge: func(i int, vs *y.ValueStruct) bool {
			if at, _, _ := index.ParseLocation(vs.Value); i == victim {
				at.Block = block.SegmentHeaderSize
				vs.Value = index.AppendLocation(nil, at)
			}
			return true
		}, reason: "is not as in the segment"},
		"another meta": {forge: func(i int, vs *y.ValueStruct) bool {
			if i == victim {
				vs.Meta = spillfile.MetaDelete
			}
			return true
		}, reason: "is not as in the segment"},
		"a filter that does not know a key": {change: func(t *testing.T, b []byte) {
			at, table := forgery.IndexParts(b)
			filter, hash := index.Filter(b[at+forgery.IndexBlockHeader:table]), index.Hash(fmt.Appendf(nil, "key%03d", victim))
			require.True(t, filter.MayContain(hash))
			for i, was := range filter { // one of the bytes that have a bit of it
				if filter[i] = 0; !filter.MayContain(hash) {
					return
				}
				filter[i] = was
			}
		}, reason: "the filter does not know the key of entry"},
		"a table that leads past a leaf": {change: func(t *testing.T, b []byte) {
			keys := forgery.TableKeys(b)
			require.Greater(t, len(keys), 2, "more than one leaf")
			keys[1][0] = 0xff
		}, reason: "the table has a key for it that does not lead to it"},
		"a last key that is none": {change: func(_ *testing.T, b []byte) {
			keys := forgery.TableKeys(b)
			keys[len(keys)-1][0]++
		}, reason: "the table has another last key than the leaves"},
	} {
		t.Run(name, func(t *testing.T) {
			src := check.Source{Dir: t.TempDir()}
			l := spilltest.MustOpen(t, spilltest.Options(src.Dir))
			for i := range uint64(300) {
				spilltest.MustPut(t, l, i+1, fmt.Sprintf("key%03d", i), "value")
			}
			require.NoError(t, l.Close())
			mem := indexOf(t, filepath.Join(src.Dir, block.SegmentName(1)), 300)
			path := filepath.Join(src.Dir, index.Name(1))
			whole, err := os.ReadFile(path)
			require.NoError(t, err)
			entries := 0
			forged := forgery.Index(t, mem, forgery.FooterOf(t, whole), func(i int, _ []byte, vs *y.ValueStruct) bool {
				entries++
				return row.forge == nil || row.forge(i, vs)
			})
			require.Equal(t, 300, entries)
			if row.change != nil {
				row.change(t, forged)
				forgery.RestampIndex(forged)
				require.NotEqual(t, whole, forged)
			}
			require.NoError(t, os.WriteFile(path, forged, 0o600))

			v, err := check.Verify(t.Context(), src, nil)
			require.NoError(t, err)
			require.False(t, v.Damaged())
			if name == "as it is" {
				require.Equal(t, string(whole), string(forged))
				require.Empty(t, v.Faults)
				return
			}
			require.Len(t, v.Faults, 1)
			require.Equal(t, check.IndexDamage, v.Faults[0].Kind)
			require.Equal(t, path, v.Faults[0].File)
			require.Contains(t, v.Faults[0].Reason, row.reason)
		})
	}
}

// indexOf makes the index of segment 1, at path, with so many commits.
func indexOf(t *testing.T, path string, commits uint64) *index.Memory {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	rd := new(block.Reader)
	rd.Reset(bytes.NewReader(b), path, 1, nil, int64(len(b)))
	mem, _, err := recovery.ReadIndex(rd, 1, commits)
	require.NoError(t, err)
	return mem
}

func TestVerifyTellsItsProgress(t *testing.T) {
	src, _ := spilltest.Small(t, nil, 40)
	var last, total int64
	v, err := check.Verify(t.Context(), src, func(done, all int64) {
		require.Greater(t, done, last)
		last, total = done, all
	})
	require.NoError(t, err)
	require.Equal(t, total, last)
	require.Equal(t, v.Bytes, total)
}
