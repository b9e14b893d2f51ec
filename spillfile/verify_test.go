package spillfile

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// An index whose checksums are right and which is not that of its segment all the same: a read
// would miss an entry, or take another. The tests of package index have what cannot be made here.
func TestVerifyComparesIndexes(t *testing.T) {
	const victim = 150 // of 300 entries, in the middle of a leaf
	for name, forge := range map[string]func(i int, vs *y.ValueStruct) bool{
		"as it is":                  func(int, *y.ValueStruct) bool { return true },
		"an entry is missing":       func(i int, _ *y.ValueStruct) bool { return i != victim },
		"the last entry is missing": func(i int, _ *y.ValueStruct) bool { return i != 299 },
		"another entry's place": func(i int, vs *y.ValueStruct) bool {
			if at, _, _ := index.ParseLocation(vs.Value); i == victim {
				at.Block = block.SegmentHeaderSize
				vs.Value = index.AppendLocation(nil, at)
			}
			return true
		},
		"another meta": func(i int, vs *y.ValueStruct) bool {
			if i == victim {
				vs.Meta = MetaDelete
			}
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := Source{Dir: t.TempDir()}
			l := mustOpen(t, testOptions(src.Dir))
			for i := range uint64(300) {
				mustPut(t, l, i+1, fmt.Sprintf("key%03d", i), "value")
			}
			mem := l.w.active.mem()
			require.NoError(t, l.Close())
			path := filepath.Join(src.Dir, index.Name(1))
			whole, err := os.ReadFile(path)
			require.NoError(t, err)
			entries := 0
			forged := forgedIndex(t, mem, footerOf(t, whole), func(i int, _ []byte, vs *y.ValueStruct) bool {
				entries++
				return forge(i, vs)
			})
			require.Equal(t, 300, entries)
			require.NoError(t, os.WriteFile(path, forged, 0o600))

			v, err := Verify(t.Context(), src, nil)
			require.NoError(t, err)
			require.False(t, v.Damaged())
			if name == "as it is" {
				require.Equal(t, string(whole), string(forged))
				require.Empty(t, v.Faults)
				return
			}
			require.Len(t, v.Faults, 1)
			require.Equal(t, IndexDamage, v.Faults[0].Kind)
			require.Equal(t, path, v.Faults[0].File)
		})
	}
}

func TestVerifyTellsItsProgress(t *testing.T) {
	src, _ := smallSpill(t, nil, 40)
	var last, total int64
	v, err := Verify(t.Context(), src, func(done, all int64) {
		require.Greater(t, done, last)
		last, total = done, all
	})
	require.NoError(t, err)
	require.Equal(t, total, last)
	require.Equal(t, v.Bytes, total)
}
