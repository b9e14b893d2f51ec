package index

import (
	"errors"
	"fmt"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"
)

// An index whose checksums are right and which is not that of its segment all the same: a read
// would miss an entry, or take another.
func TestCheckAndCompare(t *testing.T) {
	const entries, victim = 300, 150 // in the middle of a leaf
	keys := make([]string, entries)
	for i := range keys {
		keys[i] = fmt.Sprintf("key%03d", i)
	}
	mem := memoryOf(keys...)
	whole, footer := builtOf(t, mem)
	for name, forge := range map[string]func(b *builder, i int, key []byte, vs y.ValueStruct){
		"as it is": func(b *builder, _ int, key []byte, vs y.ValueStruct) { b.add(key, &vs) },
		"an entry is missing": func(b *builder, i int, key []byte, vs y.ValueStruct) {
			if i != victim {
				b.add(key, &vs)
			}
		},
		"another entry's place": func(b *builder, i int, key []byte, vs y.ValueStruct) {
			if at, _, _ := ParseLocation(vs.Value); i == victim {
				at.Block++
				vs.Value = AppendLocation(nil, at)
			}
			b.add(key, &vs)
		},
		"a filter that does not know a key": func(b *builder, i int, key []byte, vs y.ValueStruct) {
			b.add(key, &vs)
			if i == victim {
				b.hashes = b.hashes[:len(b.hashes)-1]
			}
		},
		"a table that leads past a leaf": func(b *builder, i int, key []byte, vs y.ValueStruct) {
			if b.add(key, &vs); b.table.len() > 1 {
				b.table.lows[b.table.lowEnd[0]] = 0xff
			}
		},
		"a last key that is none": func(b *builder, i int, key []byte, vs y.ValueStruct) {
			if b.add(key, &vs); i == entries-1 {
				b.last[0]++
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			build := &builder{seal: sealer{segment: 1}}
			it := mem.Iterator(false)
			i := 0
			for it.Rewind(); it.Valid(); it.Next() {
				forge(build, i, it.Key(), it.Value())
				i++
			}
			require.NoError(t, it.Close())
			require.Equal(t, entries, i)
			footer := footer
			forged, err := build.finish(&footer, nil, nil)
			require.NoError(t, err)

			faults := 0
			v := Check(fileOf(t, forged), "i", nil, func(*Footer) error { return nil }, func(int64, error) { faults++ })
			require.NotNil(t, v)
			if !v.Bad {
				v.Compare(mem, 0)
			}
			require.Equal(t, v.Bad, faults > 0)
			if name == "as it is" {
				require.Equal(t, string(whole), string(forged))
				require.Zero(t, faults)
				return
			}
			require.Equal(t, 1, faults)
		})
	}
}

// Of what lies before the part of the segment that counts an entry may be missing.
func TestCompareOfAPart(t *testing.T) {
	all := memoryOf("a", "b", "c")
	it := all.Iterator(false)
	defer it.Close()
	part := NewMemory(1<<20, 0)
	for it.Seek(y.KeyWithTs([]byte("b"), 9)); it.Valid(); it.Next() {
		part.Put(it.Key(), it.Value())
	}
	file, _ := builtOf(t, part)
	for live, want := range map[int64]int{0: 1, 193: 0} { // "a" lies at 192
		faults := 0
		v := Check(fileOf(t, file), "i", nil, func(*Footer) error { return nil }, func(int64, error) { faults++ })
		v.Compare(all, live)
		require.Equal(t, want, faults, "%d", live)
	}
}

// Without a footer, or with that of another segment, there is nothing to go by.
func TestCheckOfAnotherFile(t *testing.T) {
	file, _ := builtOf(t, memoryOf("a"))
	other := errors.New("of another segment")
	var told error
	tell := func(_ int64, err error) { told = err }
	require.Nil(t, Check(fileOf(t, file), "i", nil, func(*Footer) error { return other }, tell))
	require.Equal(t, other, told)
	require.Nil(t, Check(fileOf(t, file[:len(file)-1]), "i", nil, func(*Footer) error { return nil }, tell))
	require.NotEqual(t, other, told)
}
