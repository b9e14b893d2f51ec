package integration_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
)

func TestEstimateSizeSeesTheSpill(t *testing.T) {
	const n, size = 500, 1000
	fill := func(t *testing.T, db side) {
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range n {
			v := make([]byte, size)
			for j := range v {
				v[j] = byte(rng.Uint32())
			}
			require.NoError(t, db.Update(func(txn sideTxn) error {
				return errors.Join(txn.Set(fmt.Appendf(nil, "a/%d", i), v), txn.Set(fmt.Appendf(nil, "b/%d", i), v[:100]))
			}))
		}
	}
	options := func(dir string) badger.Options { return small(dir).WithValueThreshold(1 << 20).WithCompression(0) }
	near := func(t *testing.T, want, got uint64) {
		t.Helper()
		require.InDelta(t, float64(want), float64(got), 0.2*float64(want)+1)
	}
	po := options(t.TempDir())
	p := openPlain(t, po, false)
	fill(t, p)
	require.NoError(t, p.Close())
	p = openPlain(t, po, false)
	_, plainAll := p.EstimateSize(nil)
	require.Positive(t, plainAll)

	o := spilled(badgerspill.OptionsFrom(options(t.TempDir())))
	db := openLayer(t, o, false)
	lsm, vlog := db.Size()
	fill(t, db)
	for _, c := range []struct {
		prefix string
		want   uint64
	}{{"a/", n * size}, {"b/", n * 100}, {"a/1", 111 * size}, {"", n * (size + 100)}, {"none", 0}} {
		onDisk, uncompressed := db.EstimateSize([]byte(c.prefix))
		near(t, c.want, onDisk)
		near(t, c.want, uncompressed)
	}
	lsmNow, vlogNow := db.Size()
	require.Equal(t, lsm, lsmNow)
	require.GreaterOrEqual(t, vlogNow-vlog, int64(n*(size+100)), "the spill counts")
	require.NoError(t, db.Close()) // all is in tables
	db = openLayer(t, o, false)
	_, all := db.EstimateSize(nil)
	near(t, plainAll, all)
}

func TestVerifyChecksumOfAnOpenDatabase(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())).WithSegmentSize(8<<10), false)
			require.NoError(t, db.VerifyChecksum())
			var wg kit.WaitGroup
			wg.Go(func() {
				for i := range 300 {
					set(t, db.DB, string(key(i)), strings.Repeat("v", i))
				}
			})
			for range 5 { // beside writers and replay
				require.NoError(t, db.VerifyChecksum())
			}
			wg.Wait()
			require.NoError(t, db.VerifyChecksum())
			require.NoError(t, db.Close())
		})
	}
	t.Run("damage", func(t *testing.T) {
		rng := random(t)
		o := spilled(layer(t.TempDir())).WithSegmentSize(8 << 10).WithDrainOnClose(false)
		db := openLayer(t, o, false)
		for i := range 200 {
			v := make([]byte, 300)
			for j := range v {
				v[j] = byte(rng.Uint32())
			}
			set(t, db.DB, string(key(i)), string(v))
		}
		require.NoError(t, db.VerifyChecksum())
		files, err := filepath.Glob(filepath.Join(o.Dir, "spill", "*.seg"))
		require.NoError(t, err)
		if len(files) == 0 {
			files = spillFiles(t, filepath.Join(o.Dir, "spill"))
		}
		tried := 0
		for _, file := range files {
			info, err := os.Stat(file)
			require.NoError(t, err)
			if info.Size() < 4<<10 {
				continue
			}
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			require.NoError(t, err)
			for range 3 {
				at := 1<<10 + rng.Int64N(2<<10) // among the entries
				b := make([]byte, 1)
				_, err = f.ReadAt(b, at)
				require.NoError(t, err)
				_, err = f.WriteAt([]byte{b[0] ^ 0x10}, at)
				require.NoError(t, err)
				require.ErrorIs(t, db.VerifyChecksum(), badgerspill.ErrCorrupt, "%s at %d", file, at)
				_, err = f.WriteAt(b, at)
				require.NoError(t, err)
				tried++
			}
			require.NoError(t, f.Close())
		}
		require.Positive(t, tried)
		require.NoError(t, db.VerifyChecksum())
	})
}

func TestFlatten(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			o := m.change(layer(t.TempDir()))
			for round := range 3 { // each leaves a table in level 0
				db := openLayer(t, o, false)
				history(t, db, false)
				set(t, db.DB, fmt.Sprint("round", round), "1")
				require.NoError(t, db.Close())
			}
			db := openLayer(t, o, false)
			history(t, db, false)
			want := live(t, db, false)
			stop := make(chan struct{})
			var wg kit.WaitGroup
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						if err := db.DB.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte("beside"), fmt.Append(nil, i)) }); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
			require.NoError(t, db.Flatten(3))
			close(stop)
			wg.Wait()
			require.NoError(t, db.DropPrefix([]byte("beside")))
			require.Equal(t, want, live(t, db, false))
			if m.name == "all spilled" {
				require.Zero(t, db.SpillStats().SpillPending)
			}
		})
	}
}

// printed returns what fn prints to standard output.
func printed(t *testing.T, fn func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	real := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = real }()
	text := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		text <- string(b)
	}()
	fn()
	require.NoError(t, w.Close())
	return <-text
}

func TestPrintHistogram(t *testing.T) {
	fill := func(db side) {
		for i := range 300 {
			put(&transcript{t: t}, db, string(key(i)), strings.Repeat("v", i*i%255), strings.Repeat("k", i+1), fmt.Sprint(i))
		}
		put(&transcript{t: t}, db, "k000003", "-", "empty", "")
	}
	all := func(db mover) (out []string) {
		for _, prefix := range []string{"", "k", "k0000", "kkkkkk", "k000007", "none", "empty", "zzz"} {
			out = append(out, printed(t, func() { db.PrintHistogram([]byte(prefix)) }))
		}
		return out
	}
	p := openPlain(t, small(t.TempDir()), false)
	wantEmpty := all(p)
	fill(p)
	want := all(p)
	require.Contains(t, want[0], "Histogram of value sizes")
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())), false)
			require.Equal(t, wantEmpty, all(db))
			fill(db)
			require.Equal(t, want, all(db))
		})
	}
	t.Run("no database", func(t *testing.T) {
		require.Equal(t, printed(t, func() { (*badger.DB)(nil).PrintHistogram(nil) }), printed(t, func() { (*badgerspill.DB)(nil).PrintHistogram(nil) }))
	})
	t.Run("values of the value log", func(t *testing.T) { // whose size Badger estimates
		p, l := openPlain(t, small(t.TempDir()), false), openLayer(t, spilled(layer(t.TempDir())), false)
		for i := range 30 {
			k, v := string(key(i)), strings.Repeat("v", 260+i)
			put(&transcript{t: t}, p, k, v)
			put(&transcript{t: t}, l, k, v)
		}
		sizes := func(s string) string { return s[strings.Index(s, "Range"):] }
		require.Equal(t, sizes(printed(t, func() { p.PrintHistogram(nil) })), sizes(printed(t, func() { l.PrintHistogram(nil) })))
	})
	t.Run("managed", func(t *testing.T) {
		l := openLayer(t, spilled(layer(t.TempDir())), true)
		history(t, l, true)
		require.Contains(t, printed(t, func() { l.PrintHistogram([]byte("other")) }), "Total count: 3\n")
	})
}
