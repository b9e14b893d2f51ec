package integration_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
)

func (tr *transcript) drop(db side, prefixes ...string) {
	var bs [][]byte
	for _, p := range prefixes {
		bs = append(bs, []byte(p))
	}
	tr.err(fmt.Sprintf("drop %q", prefixes), func() error { return db.(mover).DropPrefix(bs...) })
}

// living is now without the versions and tombstones that compaction, a part of a drop, may take at
// a moment of its own.
func (tr *transcript) living(db side, managed bool, what string) {
	tr.note(what)
	read(db, managed, func(txn sideTxn) {
		if !managed {
			tr.note("read timestamp", txn.ReadTs())
		}
		tr.all(txn, badger.DefaultIteratorOptions, nil)
	})
}

func dropRow(managed bool) func(tr *transcript, db side) {
	return func(tr *transcript, db side) {
		ts := uint64(500)
		commit := func(k string) { ts++; tr.commit(db, managed, k, ts) }
		history(tr.t, db, managed)
		tr.drop(db)
		tr.drop(db, "none")
		tr.living(db, managed, "nothing dropped")
		tr.drop(db, "k000002", "other/1", "none")
		tr.living(db, managed, "two")
		commit("k000002")
		commit("other/1")
		commit("other/")
		tr.living(db, managed, "written again")
		tr.drop(db, "other/")
		tr.living(db, managed, "one")
		commit("z")
		tr.drop(db, "k", "k000001", "k")
		tr.living(db, managed, "overlapping")
		commit("k000001")
		tr.drop(db, "k", "z", "")
		tr.living(db, managed, "the empty prefix")
		commit("after")
		tr.living(db, managed, "after")
	}
}

func dropAllRow(managed bool) func(tr *transcript, db side) {
	return func(tr *transcript, db side) {
		ts := uint64(500)
		commit := func(k string) { ts++; tr.commit(db, managed, k, ts) }
		tr.err("drop of nothing", db.(mover).DropAll)
		history(tr.t, db, managed)
		tr.err("drop", db.(mover).DropAll)
		tr.now(db, managed, "dropped")
		tr.err("drop again", db.(mover).DropAll)
		commit("a")
		commit("k000001")
		tr.now(db, managed, "written again")
		history(tr.t, db, managed)
		tr.now(db, managed, "all again")
	}
}

var drops = []situation{
	{name: "drop prefixes", play: dropRow(false)},
	{name: "drop prefixes, managed", managed: true, play: dropRow(true)},
	{name: "drop all", play: dropAllRow(false)},
	{name: "drop all, managed", managed: true, play: dropAllRow(true)},
	{name: "drop all, and nothing more", closes: true, play: func(tr *transcript, db side) {
		history(tr.t, db, false)
		tr.err("drop", db.(mover).DropAll)
		tr.err("close", db.Close)
	}},
	{name: "transactions begun before a drop", play: func(tr *transcript, db side) {
		for _, drop := range []func() error{
			func() error { return db.(mover).DropPrefix([]byte("a")) },
			func() error { return db.(mover).DropAll() },
		} {
			put(tr, db, "a", "1", "b", "1")
			blind, reader := db.Begin(true), db.Begin(true)
			tr.get(reader, "a")
			tr.err("set", func() error { return reader.Set([]byte("b"), []byte("2")) })
			tr.err("set", func() error { return blind.Set([]byte("a"), []byte("2")) })
			tr.err("drop", drop)
			tr.err("commit", blind.Commit)
			tr.err("commit", reader.Commit)
			tr.now(db, false, "committed")
			tr.err("drop", drop)
			tr.living(db, false, "dropped again")
		}
		put(tr, db, "after", "1")
	}},
	{name: "drop when closed", closes: true, play: func(tr *transcript, db side) {
		put(tr, db, "a", "1")
		tr.err("close", db.Close)
		tr.err("drop", db.(mover).DropAll)
		tr.drop(db, "a")
		tr.drop(db)
	}},
	{name: "ban", opt: func(o badger.Options) badger.Options { return o.WithNamespaceOffset(1) }, play: func(tr *transcript, db side) {
		for n := range byte(4) {
			put(tr, db, namespaced(n, ""), "1", namespaced(n, "a"), "1", namespaced(n, "b"), "2")
		}
		tr.err("ban", func() error { return db.(mover).BanNamespace(1) })
		tr.err("ban again", func() error { return db.(mover).BanNamespace(1) })
		tr.err("ban what holds nothing", func() error { return db.(mover).BanNamespace(200) })
		for n := range byte(3) {
			put(tr, db, namespaced(n, "a"), "3")
			txn := db.Begin(true)
			tr.get(txn, namespaced(n, "b"))
			tr.err("delete", func() error { return txn.Delete([]byte(namespaced(n, "b"))) })
			txn.Discard()
		}
		tr.now(db, false, "banned")
		tr.drop(db, "n")
		put(tr, db, namespaced(1, "a"), "4")
		put(tr, db, "x", "1")
		tr.living(db, false, "dropped")
	}},
	{name: "a write before a ban, committed after it", opt: func(o badger.Options) badger.Options { return o.WithNamespaceOffset(1) }, play: func(tr *transcript, db side) {
		txn := db.Begin(true)
		tr.err("set", func() error { return txn.Set([]byte(namespaced(1, "pending")), nil) })
		tr.err("set", func() error { return txn.Set([]byte(namespaced(2, "allowed")), nil) })
		tr.err("ban", func() error { return db.(mover).BanNamespace(1) })
		tr.err("commit", txn.Commit)
		tr.now(db, false, "committed")
	}},
	{name: "ban without namespaces", play: func(tr *transcript, db side) {
		tr.err("ban", func() error { return db.(mover).BanNamespace(1) })
	}},
}

func namespaced(n byte, rest string) string {
	return string([]byte{'n', 0, 0, 0, 0, 0, 0, 0, n}) + rest
}

func TestBehaviourOfDrops(t *testing.T) { compareAll(t, drops) }

func TestMaxVersionBehindADrop(t *testing.T) {
	compareAll(t, []situation{{name: "drop", play: func(tr *transcript, db side) {
		history(tr.t, db, false)
		tr.drop(db, "k")
		tr.note("max version", db.MaxVersion())
		tr.err("drop", db.(mover).DropAll)
		tr.note("max version", db.MaxVersion())
		put(tr, db, "a", "1")
		tr.note("max version", db.MaxVersion())
	}}})
}

func TestDropsOfAReadOnlyDatabase(t *testing.T) {
	o := layer(t.TempDir())
	require.NoError(t, openSpill(t, o).Close())
	o.ReadOnly = true
	p := openPlain(t, o.Badger(), false)
	want := []any{panicOf(func() { _ = p.DropAll() }), panicOf(func() { _ = p.DropPrefix([]byte("a")) }), panicOf(func() { _ = p.NewStreamWriter().Prepare() })}
	require.NoError(t, p.Close())
	l := openLayer(t, o, false)
	require.Equal(t, want, []any{panicOf(func() { _ = l.DropAll() }), panicOf(func() { _ = l.DropPrefix([]byte("a")) }),
		panicOf(func() { _ = l.NewStreamWriter().Prepare() })})
	require.NoError(t, l.Close())
}

// acked is one acknowledged commit of a writer beside a drop.
type acked struct {
	w, i          int
	before, after bool // acknowledged before the drop began; begun after it ended
}

// beside runs 8 writers, does drop in the middle, and returns what they committed.
func beside(t *testing.T, commit func(w, i int) error, drop func() error) (out []acked) {
	t.Helper()
	const enough = 300
	var (
		phase, count atomic.Int64
		wg           kit.WaitGroup
		mu           sync.Mutex
		stop         = make(chan struct{})
		reached      = make(chan struct{}, 1)
	)
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				began := phase.Load()
				err := commit(w, i)
				for errors.Is(err, badgerspill.ErrBlockedWrites) {
					runtime.Gosched()
					began = phase.Load()
					err = commit(w, i)
				}
				if err != nil {
					t.Errorf("writer %d, commit %d: %v", w, i, err)
					return
				}
				ended := phase.Load()
				mu.Lock()
				out = append(out, acked{w, i, ended == 0, began == 2})
				mu.Unlock()
				if count.Add(1) == enough {
					reached <- struct{}{}
				}
			}
		})
	}
	in(t, followLimit, "a writer before the drop", func() { <-reached })
	phase.Store(1)
	err := drop()
	phase.Store(2)
	count.Store(0)
	in(t, followLimit, "a writer after the drop", func() { <-reached })
	close(stop)
	wg.Wait()
	require.NoError(t, err)
	return out
}

// settled closes the database and requires that layer and plain Badger find got in the directory.
func settled(t *testing.T, db spillSide, o badgerspill.Options, got map[string]string) {
	t.Helper()
	require.NoError(t, db.Close())
	db = openLayer(t, o, false)
	require.Equal(t, got, live(t, db, false))
	require.NoError(t, db.Drain(context.Background()))
	require.Equal(t, got, live(t, db, false))
	require.NoError(t, db.Close())
	requirePlain(t, o.Badger(), got)
}

func TestDropsBesideWriters(t *testing.T) {
	for _, m := range moveModes {
		for _, what := range []string{"prefixes", "all"} {
			t.Run(m.name+", "+what, func(t *testing.T) {
				o := m.change(layer(t.TempDir()))
				db := openLayer(t, o, false)
				k := func(prefix string, c acked) string { return fmt.Sprintf("%s/%d/%d", prefix, c.w, c.i) }
				commits := beside(t, func(w, i int) error {
					return db.DB.Update(func(txn *badgerspill.Txn) error {
						c := acked{w: w, i: i}
						return errors.Join(txn.Set([]byte(k("drop", c)), fmt.Append(nil, i)), txn.Set([]byte(k("keep", c)), bytes.Repeat([]byte{1}, i)),
							txn.Set([]byte(k("gone", c)), nil))
					})
				}, func() error {
					if what == "all" {
						return db.DropAll()
					}
					return db.DropPrefix([]byte("drop/"), []byte("gone/"), []byte("none"))
				})
				got := live(t, db, false)
				for _, c := range commits {
					for _, prefix := range []string{"drop", "gone", "keep"} {
						_, there := got[k(prefix, c)]
						switch {
						case c.after || (what == "prefixes" && prefix == "keep"):
							require.True(t, there, "%s is lost", k(prefix, c))
						case c.before:
							require.False(t, there, "%s is still there", k(prefix, c))
						case there: // beside the drop: all of the transaction or nothing
							require.Contains(t, got, k("keep", c))
							require.Contains(t, got, k("drop", c))
							require.Contains(t, got, k("gone", c))
						}
					}
				}
				settled(t, db, o, got)
			})
		}
	}
}

func TestBanBesideWriters(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			o := m.change(badgerspill.OptionsFrom(small(t.TempDir()).WithNamespaceOffset(1)))
			db := openLayer(t, o, false)
			k := func(n byte, w, i int) []byte { return []byte(namespaced(n, fmt.Sprintf("/%d/%d", w, i))) }
			var refused atomic.Int64
			commits := beside(t, func(w, i int) error {
				err := db.DB.Update(func(txn *badgerspill.Txn) error {
					return errors.Join(txn.Set(k(8, w, i), nil), txn.Set(k(7, w, i), nil))
				})
				if errors.Is(err, badgerspill.ErrBannedKey) {
					refused.Add(1)
					err = db.DB.Update(func(txn *badgerspill.Txn) error { return txn.Set(k(8, w, i), nil) })
				}
				return err
			}, func() error { return db.BanNamespace(7) })
			require.Positive(t, refused.Load())
			want := map[string]string{}
			for _, c := range commits {
				want[string(k(8, c.w, c.i))] = ""
			}
			check := func(db side) {
				require.Equal(t, want, live(t, db, false))
				read(db, false, func(txn sideTxn) {
					for _, c := range commits {
						_, err := txn.Read(k(7, c.w, c.i))
						require.ErrorIs(t, err, badger.ErrBannedKey)
					}
				})
			}
			check(db)
			settled(t, db, o, want)
			check(openLayer(t, o, false))
		})
	}
}

// Several ban at once: all of it counts.
func TestBansAtOnce(t *testing.T) {
	const goroutines, each = 8, 25
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(badgerspill.OptionsFrom(small(t.TempDir()).WithNamespaceOffset(0))), false)
			var wg kit.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					for i := range each {
						if err := db.BanNamespace(uint64(g*each + i)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			txn := db.NewTransaction(true)
			defer txn.Discard()
			for n := range uint64(goroutines*each + 1) {
				err := txn.Set(append(binary.BigEndian.AppendUint64(nil, n), 'x'), nil)
				if n < goroutines*each {
					require.ErrorIs(t, err, badgerspill.ErrBannedKey, "namespace %d", n)
				} else {
					require.NoError(t, err)
				}
			}
		})
	}
}

// Two drops at once, and a drop beside a stream writer: one at a time, the other is refused.
func TestOneDropAtATime(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())), false)
			set(t, db.DB, "a", "1")
			w := db.NewStreamWriter()
			require.NoError(t, w.Prepare())
			require.ErrorIs(t, db.DropAll(), badgerspill.ErrBlockedWrites)
			require.ErrorIs(t, db.DropPrefix([]byte("a")), badgerspill.ErrBlockedWrites)
			require.ErrorIs(t, db.NewStreamWriter().Prepare(), badgerspill.ErrBlockedWrites)
			w.Cancel()
			var wg kit.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					var err error
					if i%2 == 0 {
						err = db.DropAll()
					} else {
						err = db.DropPrefix([]byte("a"))
					}
					if err != nil && !errors.Is(err, badgerspill.ErrBlockedWrites) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			set(t, db.DB, "b", "1")
			requireAll(t, db.DB, map[string]string{"b": "1"})
		})
	}
}

// The crash test: a child process fills the database and drops a part of it, or all, and is killed
// at a random moment.

var dropRounds = flag.Int("droprounds", 10, "rounds of the kill test of drops")

const dropKeys = 150

var dropGroups = []string{"drop/", "gone/", "keep/"}

type dropArg struct {
	Dir         string
	Mode        int
	What, Round string
}

func TestDropChild(t *testing.T) {
	arg := childproc.Arg[dropArg](t)
	db := openLayer(t, moveModes[arg.Mode].change(layer(arg.Dir)), false)
	for i := range dropKeys {
		require.NoError(t, db.DB.Update(func(txn *badgerspill.Txn) error {
			for _, g := range dropGroups {
				if err := txn.Set(fmt.Appendf(nil, "%s%d", g, i), []byte(dropValue(arg.Round, i))); err != nil {
					return err
				}
			}
			return nil
		}))
		if i == dropKeys/2 {
			require.NoError(t, db.Drain(context.Background())) // one half is in Badger
		}
	}
	fmt.Println("dropping")
	var err error
	if arg.What == "all" {
		err = db.DropAll()
	} else {
		err = db.DropPrefix([]byte("drop/"), []byte("gone/"))
	}
	if err != nil {
		fmt.Println("error", err)
	} else {
		fmt.Println("dropped")
	}
	childproc.UntilTheInputEnds() // to be killed
}

// dropValue lies in the value log for one key in three.
func dropValue(round string, i int) string {
	return strings.Repeat(fmt.Sprintf("%s/%d ", round, i), 1+60*(1-min(i%3, 1)))
}

func TestKillDuringADrop(t *testing.T) {
	rng := random(t)
	base := t.TempDir()
	outcomes := map[string]int{}
	for round := range *dropRounds {
		mode := round % len(moveModes)
		what := []string{"prefixes", "all"}[round/len(moveModes)%2]
		dir := filepath.Join(base, strconv.Itoa(mode))
		name := strconv.Itoa(round)

		child := childproc.Start(t, "TestDropChild", dropArg{dir, mode, what, name})
		_, dropping := child.WaitFor("dropping")
		dropped := false
		u := rng.Float64()
		// rather early
		kill := time.AfterFunc(time.Duration(u*u*u*float64(30*time.Millisecond)), func() { _ = child.Kill() })
		for line := range child.Lines() {
			dropped = dropped || line == "dropped"
			if strings.HasPrefix(line, "error") {
				t.Error("child: ", line)
			}
		}
		_ = child.Wait()
		kill.Stop()
		require.True(t, dropping)

		o := moveModes[mode].change(layer(dir))
		db := openLayer(t, o, false)
		got := live(t, db, false)
		want := map[string]string{}
		for i := range dropKeys {
			for _, g := range dropGroups {
				want[fmt.Sprintf("%s%d", g, i)] = dropValue(name, i)
			}
		}
		_, there := got["drop/0"]
		require.False(t, dropped && there, "round %d, %s, %s: dropped, and there again", round, moveModes[mode].name, what)
		if !there {
			maps.DeleteFunc(want, func(k, _ string) bool { return what == "all" || !strings.HasPrefix(k, "keep/") })
		}
		require.Equal(t, want, got, "round %d, %s, %s", round, moveModes[mode].name, what)
		require.NoFileExists(t, filepath.Join(dir, "BADGERSPILL-DROP"))
		outcomes[fmt.Sprintf("there %v, acknowledged %v", there, dropped)]++
		settled(t, db, o, got)
	}
	t.Log(outcomes)
}

// Badger truncates a log before it removes it, and creates one before it gives it its size. A kill
// in between, in a drop or at any other time, leaves an empty file, which Badger refuses to open.
// It holds nothing, so it must not keep the database from being opened.
func TestEmptyLogsThatAKillHasLeft(t *testing.T) {
	for _, m := range moveModes {
		for _, name := range []string{"00009.mem", "000009.vlog"} {
			t.Run(m.name+", "+name, func(t *testing.T) {
				o := m.change(layer(t.TempDir())).WithDrainOnClose(false)
				db := openLayer(t, o, false)
				set(t, db.DB, "a", strings.Repeat("1", 300))
				require.NoError(t, db.Close())
				require.NoError(t, os.WriteFile(filepath.Join(o.Dir, name), nil, 0o600))
				requireAll(t, openSpill(t, o), map[string]string{"a": strings.Repeat("1", 300)})
			})
		}
	}
}

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
