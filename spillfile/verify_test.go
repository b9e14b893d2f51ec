package spillfile

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

// An index whose checksums are right and which is not that of its segment all the same: a read
// would miss an entry, or take another.
func TestVerifyComparesIndexes(t *testing.T) {
	const victim = 150 // of 300 entries, in the middle of a leaf
	for name, forge := range map[string]func(b *indexBuilder, i int, key []byte, vs y.ValueStruct){
		"as it is": func(b *indexBuilder, _ int, key []byte, vs y.ValueStruct) { b.add(key, &vs) },
		"an entry is missing": func(b *indexBuilder, i int, key []byte, vs y.ValueStruct) {
			if i != victim {
				b.add(key, &vs)
			}
		},
		"the last entry is missing": func(b *indexBuilder, i int, key []byte, vs y.ValueStruct) {
			if i != 299 {
				b.add(key, &vs)
			}
		},
		"another entry's place": func(b *indexBuilder, i int, key []byte, vs y.ValueStruct) {
			if at, _, _ := parseLocation(vs.Value); i == victim {
				at.block = block.SegmentHeaderSize
				vs.Value = appendLocation(nil, at)
			}
			b.add(key, &vs)
		},
		"another meta": func(b *indexBuilder, i int, key []byte, vs y.ValueStruct) {
			if i == victim {
				vs.Meta = MetaDelete
			}
			b.add(key, &vs)
		},
		"a filter that does not know a key": func(b *indexBuilder, i int, key []byte, vs y.ValueStruct) {
			b.add(key, &vs)
			if i == victim {
				b.hashes = b.hashes[:len(b.hashes)-1]
			}
		},
		"a table that leads past a leaf": func(b *indexBuilder, i int, key []byte, vs y.ValueStruct) {
			if b.add(key, &vs); b.table.len() > 1 {
				b.table.lows[b.table.lowEnd[0]] = 0xff
			}
		},
		"a last key that is none": func(b *indexBuilder, i int, key []byte, vs y.ValueStruct) {
			if b.add(key, &vs); i == 299 {
				b.last[0]++
			}
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
			path := filepath.Join(src.Dir, indexName(1))
			index, err := os.ReadFile(path)
			require.NoError(t, err)
			var ft indexFooter
			at := len(index) - indexFooterSize
			require.NoError(t, ft.unmarshal("", int64(at), index[at:]))
			build := &indexBuilder{seal: indexSealer{segment: 1}}
			it := mem.iterator(false)
			i := 0
			for it.Rewind(); it.Valid(); it.Next() {
				forge(build, i, it.Key(), it.Value())
				i++
			}
			require.NoError(t, it.Close())
			require.Equal(t, 300, i)
			forged, err := build.finish(&ft, nil, nil)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, forged, 0o600))

			v, err := Verify(t.Context(), src, nil)
			require.NoError(t, err)
			require.False(t, v.Damaged())
			if name == "as it is" {
				require.Equal(t, string(index), string(forged))
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
