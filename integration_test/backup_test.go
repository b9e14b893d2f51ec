package integration_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
)

// mover is a side with the calls that move, drop and watch data.
type mover interface {
	side
	Backup(w io.Writer, since uint64) (uint64, error)
	Load(r io.Reader, maxPendingWrites int) error
	DropAll() error
	DropPrefix(prefixes ...[]byte) error
	BanNamespace(ns uint64) error
	Subscribe(ctx context.Context, cb func(*badger.KVList) error, matches []pb.Match) error
	Flatten(workers int) error
	VerifyChecksum() error
	PrintHistogram(prefix []byte)
	EstimateSize(prefix []byte) (onDisk, uncompressed uint64)
	Size() (lsm, vlog int64)
}

var (
	_ mover = plainSide{}
	_ mover = spillSide{}
)

type loader interface {
	Set(*pb.KV) error
	Finish() error
}

func newLoader(db side, pending int) loader {
	if p, ok := db.(plainSide); ok {
		return p.NewKVLoader(pending)
	}
	return db.(spillSide).NewKVLoader(pending)
}

// moveModes are sideModes and one in which the spill is replayed while it is written.
var moveModes = append(slices.Clip(sideModes), sideMode{"always replaying", func(o badgerspill.Options) badgerspill.Options {
	return o.WithSpillPolicy(badgerspill.Always).WithSegmentSize(4<<10).WithQuiet(1e12, time.Millisecond)
}})

func openPlain(t *testing.T, o badger.Options, managed bool) plainSide {
	t.Helper()
	open := badger.Open
	if managed {
		open = badger.OpenManaged
	}
	db, err := open(o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return plainSide{db}
}

// A transaction from before everything keeps replay from leaving out what nobody can see any more:
// plain Badger, which has not compacted, still has it.
func openLayer(t *testing.T, o badgerspill.Options, managed bool) spillSide {
	t.Helper()
	open := badgerspill.Open
	if managed {
		open = badgerspill.OpenManaged
	}
	db, err := open(o)
	require.NoError(t, err)
	if !managed {
		t.Cleanup(db.NewTransaction(false).Discard) // after Close, which replays
	}
	t.Cleanup(func() { _ = db.Close() })
	return spillSide{db}
}

// read is View, at the highest timestamp in managed mode.
func read(db side, managed bool, fn func(sideTxn)) {
	var txn sideTxn
	if managed {
		txn = db.BeginAt(math.MaxUint64, false)
	} else {
		txn = db.Begin(false)
	}
	defer txn.Discard()
	fn(txn)
}

// stateOf observes all versions of all keys.
func stateOf(t *testing.T, db side, managed bool) *transcript {
	tr := &transcript{t: t}
	read(db, managed, tr.state)
	return tr
}

// versionsOf returns "key@version" of all versions, newest first.
func versionsOf(db side, managed bool) (out []string) {
	read(db, managed, func(txn sideTxn) {
		opt := badger.DefaultIteratorOptions
		opt.AllVersions = true
		it := txn.Iter(opt)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			out = append(out, fmt.Sprintf("%s@%d", it.Head().Key(), it.Head().Version()))
		}
	})
	return out
}

// live returns what the database holds now.
func live(t *testing.T, db side, managed bool) map[string]string {
	t.Helper()
	out := map[string]string{}
	read(db, managed, func(txn sideTxn) {
		it := txn.Iter(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			v, err := it.Head().ValueCopy(nil)
			require.NoError(t, err)
			out[string(it.Head().Key())] = string(v)
		}
	})
	return out
}

// parseBackup returns the entries of a backup.
func parseBackup(t *testing.T, b []byte) (kvs []*pb.KV) {
	t.Helper()
	for len(b) > 0 {
		n := binary.LittleEndian.Uint64(b)
		require.LessOrEqual(t, n, uint64(len(b)-8))
		var list pb.KVList
		require.NoError(t, proto.Unmarshal(b[8:8+n], &list))
		kvs = append(kvs, list.Kv...)
		b = b[8+n:]
	}
	return kvs
}

// describe says all of the entries, in one order; where the value lies is Badger's own business.
func describe(kvs []*pb.KV) (out []string) {
	for _, kv := range kvs {
		meta := slices.Clone(kv.Meta)
		for i := range meta {
			meta[i] &^= 1 << 1
		}
		out = append(out, fmt.Sprintf("%q@%d = %s, user meta %x, meta %x, expires at %d", kv.Key, kv.Version, short(kv.Value), kv.UserMeta,
			meta, kv.ExpiresAt))
	}
	slices.Sort(out)
	return out
}

func backup(t *testing.T, db mover, since uint64) ([]byte, uint64) {
	t.Helper()
	var buf bytes.Buffer
	version, err := db.Backup(&buf, since)
	require.NoError(t, err)
	return buf.Bytes(), version
}

// history commits something of every kind: several versions, tombstones, expiry past and future,
// user metadata, discard marks, empty values, values of the value log. In managed mode timestamps
// are odd and neither rise nor fall.
func history(t *testing.T, db side, managed bool) {
	t.Helper()
	order := []int{5, 1, 3, 0, 2, 4, 7, 6}
	for round := range 5 {
		for i := range 8 {
			n := order[i]
			ts := uint64(100*round + 10*n + 1)
			ws := []write{{key: key(n), value: fmt.Appendf(nil, "%d/%d", round, n), userMeta: byte(round)}}
			switch {
			case n == 1 && round == 3:
				ws[0] = write{key: key(n), del: true}
			case n == 2 && round == 4:
				ws[0] = write{key: key(n), del: true}
			case n == 3:
				ws[0].expiresAt = started + 100_000 + uint64(round)
			case n == 4 && round >= 3:
				ws[0].expiresAt = started - 10
			case n == 5 && round == 2:
				ws[0].discard = true
			case n == 6:
				ws[0].value = bytes.Repeat([]byte{byte('a' + round)}, 1000)
			case n == 7:
				ws[0].value = nil
			}
			ws = append(ws, write{key: fmt.Appendf(nil, "other/%d", n%3), value: fmt.Append(nil, ts)})
			var txn sideTxn
			if managed {
				txn = db.BeginAt(math.MaxUint64, true)
			} else {
				txn = db.Begin(true)
			}
			for _, w := range ws {
				require.NoError(t, txn.Put(w))
			}
			if managed {
				require.NoError(t, txn.CommitAt(ts, nil))
			} else {
				require.NoError(t, txn.Commit())
			}
		}
	}
}

func (tr *transcript) backup(db side, since uint64) []byte {
	var buf bytes.Buffer
	version, err := db.(mover).Backup(&buf, since)
	tr.note(fmt.Sprint("backup since ", since), version, err)
	for _, s := range describe(parseBackup(tr.t, buf.Bytes())) {
		tr.note(s)
	}
	return buf.Bytes()
}

func (tr *transcript) loadAll(db side, kvs ...*pb.KV) {
	l := newLoader(db, 4)
	for _, kv := range kvs {
		tr.err("load", func() error { return l.Set(kv) })
	}
	tr.err("finish", l.Finish)
}

func fiveVersions(o badger.Options) badger.Options { return o.WithNumVersionsToKeep(5) }

// firstDiscarded is a backup of a database whose first commit has a discard mark: it says "deleted
// at 0".
func firstDiscarded() []*pb.KV {
	return []*pb.KV{
		{Key: []byte("first"), Value: []byte("1"), UserMeta: []byte{0}, Meta: []byte{4}, Version: 1},
		{Key: []byte("first"), Version: 0, Meta: []byte{1}},
		{Key: []byte("second"), Value: []byte("2"), UserMeta: []byte{7}, Meta: []byte{0}, Version: 2},
	}
}

var movings = []situation{
	{name: "backups, full and incremental", opt: fiveVersions, play: func(tr *transcript, db side) {
		history(tr.t, db, false)
		tr.backup(db, 0)
		for _, since := range []uint64{1, 17, 39, 40, 41, 1000} {
			tr.backup(db, since)
		}
		put(tr, db, "k000000", "new", "k000002", "again")
		tr.backup(db, 40)
		put(tr, db, "k000000", "-")
		tr.backup(db, 41)
		tr.backup(db, 0)
	}},
	{name: "backup, drop, load", opt: fiveVersions, play: func(tr *transcript, db side) {
		history(tr.t, db, false)
		b := tr.backup(db, 0)
		tr.err("drop", db.(mover).DropAll)
		read(db, false, tr.state)
		tr.err("load", func() error { return db.(mover).Load(bytes.NewReader(b), 4) })
		read(db, false, func(txn sideTxn) { tr.note("read timestamp", txn.ReadTs()); tr.state(txn) })
		put(tr, db, "after", "1", "k000001", "new", "k000005", "-")
		read(db, false, func(txn sideTxn) { tr.note("read timestamp", txn.ReadTs()); tr.state(txn) })
		tr.backup(db, 0)
	}},
	{name: "load on top of newer and older data", play: func(tr *transcript, db side) {
		history(tr.t, db, false)
		b := tr.backup(db, 0)
		for i := range 4 {
			put(tr, db, string(key(i)), "newer", string(key(i+4)), "-")
		}
		tr.err("load again", func() error { return db.(mover).Load(bytes.NewReader(b), 4) })
		read(db, false, tr.state)
		put(tr, db, "after", "1")
		tr.note("max version", db.MaxVersion())
	}},
	{name: "load of versions above all commits", play: func(tr *transcript, db side) {
		put(tr, db, "a", "1")
		list := &pb.KVList{Kv: []*pb.KV{
			{Key: []byte("a"), Value: []byte("far"), Version: 700, UserMeta: []byte{9}, Meta: []byte{0}},
			{Key: []byte("b"), Value: []byte("near"), Version: 1, Meta: []byte{0}, ExpiresAt: started + 5000},
			{Key: []byte("c"), Value: []byte("gone"), Version: 650, Meta: []byte{1}},
		}}
		tr.err("load", func() error { return db.(mover).Load(bytes.NewReader(encodeBackup(tr.t, list)), 1) })
		read(db, false, func(txn sideTxn) { tr.note("read timestamp", txn.ReadTs()); tr.state(txn) })
		put(tr, db, "a", "2", "d", "4")
		read(db, false, func(txn sideTxn) { tr.note("read timestamp", txn.ReadTs()); tr.state(txn) })
		tr.note("max version", db.MaxVersion())
		x := db.Begin(true)
		tr.get(x, "a")
		tr.err("set", func() error { return x.Set([]byte("a"), []byte("3")) })
		put(tr, db, "a", "4")
		tr.err("conflict", x.Commit)
	}},
	{name: "load of a first commit with a discard mark", play: func(tr *transcript, db side) {
		for i := range 5 {
			put(tr, db, "mine", fmt.Sprint(i))
		}
		b := encodeBackup(tr.t, &pb.KVList{Kv: firstDiscarded()})
		tr.err("load", func() error { return db.(mover).Load(bytes.NewReader(b), 4) })
		read(db, false, func(txn sideTxn) {
			tr.get(txn, "first")
			tr.get(txn, "second")
			tr.state(txn)
		})
	}},
	{name: "loader: versions in any order, some older than what is there", play: func(tr *transcript, db side) {
		for i := range 6 {
			put(tr, db, "a", fmt.Sprint(i), "b", fmt.Sprint(i))
		}
		put(tr, db, "b", "-")
		loaderRow(tr, db)
		put(tr, db, "x", "1")
		read(db, false, tr.state)
	}},
	{name: "loader, managed", managed: true, play: func(tr *transcript, db side) {
		history(tr.t, db, true)
		loaderRow(tr, db)
		read(db, true, tr.state)
		for _, ts := range []uint64{1, 2, 3, 9, 10, 11, 400} {
			txn := db.BeginAt(ts, false)
			tr.state(txn)
			txn.Discard()
		}
	}},
	{name: "load, managed", managed: true, play: func(tr *transcript, db side) {
		list := &pb.KVList{Kv: firstDiscarded()}
		tr.try("backup", func() any { _, err := db.(mover).Backup(io.Discard, 0); return err })
		tr.err("load", func() error { return db.(mover).Load(bytes.NewReader(encodeBackup(tr.t, list)), 1) })
		read(db, true, tr.state)
		history(tr.t, db, true)
		tr.err("load", func() error { return db.(mover).Load(bytes.NewReader(encodeBackup(tr.t, list)), 1) })
		read(db, true, tr.state)
		tr.note("max version", db.MaxVersion())
	}},
	{name: "loader: largest keys", play: func(tr *transcript, db side) {
		long := bytes.Repeat([]byte{0xFF}, 65000)
		tr.loadAll(db, &pb.KV{Key: long, Value: []byte("v"), Version: 3}, &pb.KV{Key: long[:64999], Value: make([]byte, 5000), Version: 2})
		tr.loadAll(db)
		put(tr, db, "a", "1", "b", "2")
		put(tr, db, "a", "2")
		put(tr, db, "a", "3")
		read(db, false, func(txn sideTxn) {
			tr.get(txn, string(long))
			tr.get(txn, string(long[:64999]))
		})
	}},
	{name: "loader: more than one batch", play: func(tr *transcript, db side) {
		var kvs []*pb.KV
		for i := range int(2*db.MaxBatchCount() + 10) {
			kvs = append(kvs, &pb.KV{Key: key(i % 1000), Value: fmt.Append(nil, i), Version: uint64(5000 - i), UserMeta: []byte{byte(i)}})
		}
		l := newLoader(db, 1)
		for _, kv := range kvs {
			require.NoError(tr.t, l.Set(kv))
		}
		tr.err("finish", l.Finish)
		tr.err("load", func() error { // so that all of it is visible
			b := encodeBackup(tr.t, &pb.KVList{Kv: []*pb.KV{{Key: []byte("z"), Version: 6000}}})
			return db.(mover).Load(bytes.NewReader(b), 1)
		})
		read(db, false, tr.state)
	}},
}

func loaderRow(tr *transcript, db side) {
	tr.loadAll(db,
		&pb.KV{Key: []byte("a"), Value: []byte("at 3"), Version: 3, UserMeta: []byte{3}},
		&pb.KV{Key: []byte("a"), Value: []byte("at 1"), Version: 1},
		&pb.KV{Key: []byte("a"), Value: []byte("at 2"), Version: 2, ExpiresAt: started - 5},
		&pb.KV{Key: []byte("b"), Value: []byte("old"), Version: 2, Meta: []byte{4}},
		&pb.KV{Key: []byte("new"), Value: []byte("2"), Version: 2},
		&pb.KV{Key: []byte("new"), Value: []byte("1"), Version: 1, UserMeta: []byte{1}},
		&pb.KV{Key: []byte("gone"), Value: []byte("was"), Version: 1},
		&pb.KV{Key: []byte("gone"), Version: 4, Meta: []byte{1}},
		&pb.KV{Key: []byte("back"), Version: 2, Meta: []byte{1}},
		&pb.KV{Key: []byte("back"), Value: bytes.Repeat([]byte("x"), 999), Version: 3, Meta: []byte{2}},
		&pb.KV{Key: []byte("soon"), Value: nil, Version: 3, ExpiresAt: started + 9999},
	)
}

func encodeBackup(t *testing.T, lists ...*pb.KVList) (out []byte) {
	for _, list := range lists {
		b, err := proto.Marshal(list)
		require.NoError(t, err)
		out = append(binary.LittleEndian.AppendUint64(out, uint64(len(b))), b...)
	}
	return out
}

func TestBehaviourOfBackupAndLoad(t *testing.T) { compareAll(t, movings) }

// From the layer to plain Badger to the layer: nothing changes on the way, and it is what plain
// Badger makes of it.
func TestBackupGoesToBadgerAndBack(t *testing.T) {
	restorePlain := func(t *testing.T, b []byte) plainSide {
		p := openPlain(t, fiveVersions(small(t.TempDir())), false)
		require.NoError(t, p.Load(bytes.NewReader(b), 16))
		return p
	}
	first := openPlain(t, fiveVersions(small(t.TempDir())), false)
	history(t, first, false)
	want, wantVersion := backup(t, first, 0)
	restored := restorePlain(t, want)
	wantState := stateOf(t, restored, false)
	again, _ := backup(t, restored, 0)
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			options := func() badgerspill.Options { return m.change(badgerspill.OptionsFrom(fiveVersions(small(t.TempDir())))) }
			db := openLayer(t, options(), false)
			history(t, db, false)
			b, version := backup(t, db, 0)
			require.Equal(t, wantVersion, version)
			require.Equal(t, describe(parseBackup(t, want)), describe(parseBackup(t, b)))

			p := restorePlain(t, b)
			stateOf(t, p, false).equal(wantState)
			b, version = backup(t, p, 0)
			require.Equal(t, wantVersion, version)
			require.Equal(t, describe(parseBackup(t, again)), describe(parseBackup(t, b)))

			o := options().WithDrainOnClose(false)
			back := openLayer(t, o, false)
			require.NoError(t, back.Load(bytes.NewReader(b), 16))
			stateOf(t, back, false).equal(wantState)
			require.NoError(t, back.Close())
			back = openLayer(t, o, false)
			stateOf(t, back, false).equal(wantState)
			set(t, back.DB, "later", "1")
			read(back, false, func(txn sideTxn) {
				it, err := txn.Read([]byte("later"))
				require.NoError(t, err)
				require.Equal(t, wantVersion+1, it.Version())
			})
			require.NoError(t, back.Drain(context.Background()))
			b, _ = backup(t, back, 0)
			later := &pb.KV{Key: []byte("later"), Value: []byte("1"), UserMeta: []byte{0}, Version: wantVersion + 1, Meta: []byte{0}}
			require.Equal(t, describe(append(parseBackup(t, again), later)), describe(parseBackup(t, b)))
		})
	}
}

// duringBackup is how many commits other writers begin at each backup.
const duringBackup = 100

// Ten rounds of writes, each followed by an incremental backup: together they are the database.
func TestIncrementalBackups(t *testing.T) {
	for _, concurrent := range []bool{false, true} {
		for _, m := range moveModes {
			t.Run(fmt.Sprintf("%s, writers during the backups %v", m.name, concurrent), func(t *testing.T) {
				rng := random(t)
				db := openLayer(t, m.change(layer(t.TempDir())), false)
				var (
					writers kit.WaitGroup
					tokens  = make(chan struct{}, 10*duringBackup) // one a commit
					errs    = make(chan error, 2)
				)
				if concurrent {
					for w := range 2 {
						writers.Go(func() {
							for i := 0; ; i++ {
								if _, ok := <-tokens; !ok {
									return
								}
								// A key is written once or often, and never deleted: all its
								// versions are to be found.
								err := db.DB.Update(func(txn *badgerspill.Txn) error {
									k := fmt.Appendf(nil, "kept/%d/%d", w, i%50)
									return txn.Set(k, fmt.Append(nil, i))
								})
								if err != nil {
									errs <- err
									return
								}
							}
						})
					}
				}
				var files [][]byte
				var since uint64
				take := func() {
					b, version := backup(t, db, since)
					for _, kv := range parseBackup(t, b) {
						require.Greater(t, kv.Version, since)
						require.LessOrEqual(t, kv.Version, version)
					}
					files = append(files, b)
					since = max(since, version)
				}
				for range 10 {
					for range 20 {
						require.NoError(t, db.DB.Update(func(txn *badgerspill.Txn) error {
							for range 1 + rng.IntN(3) {
								k, v := key(rng.IntN(60)), fmt.Append(nil, rng.Uint64())
								if rng.IntN(4) == 0 {
									if err := txn.Delete(k); err != nil {
										return err
									}
								} else if err := txn.Set(k, v); err != nil {
									return err
								}
							}
							return txn.Set(fmt.Appendf(nil, "kept/%d", rng.IntN(10)), fmt.Append(nil, rng.Uint64()))
						}))
					}
					if rng.IntN(3) == 0 {
						require.NoError(t, db.Drain(context.Background()))
					}
					for range duringBackup {
						tokens <- struct{}{}
					}
					take()
				}
				close(tokens)
				writers.Wait()
				require.Empty(t, errs)
				take()
				before := since
				take()
				require.Equal(t, before, since, "nothing is new")
				require.Empty(t, files[len(files)-1])

				seen := map[string]int{}
				for _, b := range files {
					for _, kv := range parseBackup(t, b) {
						seen[fmt.Sprintf("%s@%d", kv.Key, kv.Version)]++
					}
				}
				for k, n := range seen {
					require.Equal(t, 1, n, "%s is repeated", k)
				}
				for _, v := range versionsOf(db, false) {
					if strings.HasPrefix(v, "kept/") {
						require.Equal(t, 1, seen[v], "%s is missing", v)
					}
				}
				want := live(t, db, false)
				p := openPlain(t, small(t.TempDir()), false)
				other := openLayer(t, m.change(layer(t.TempDir())), false)
				for _, b := range files {
					require.NoError(t, p.Load(bytes.NewReader(b), 16))
					require.NoError(t, other.Load(bytes.NewReader(b), 16))
				}
				require.Equal(t, want, live(t, p, false))
				require.Equal(t, want, live(t, other, false))
			})
		}
	}
}

// Money is moved while backups are taken: each of them is one moment.
func TestBackupIsOneMoment(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			rng := random(t)
			db := openLayer(t, m.change(layer(t.TempDir())), false)
			require.NoError(t, db.DB.Update(func(txn *badgerspill.Txn) error {
				for i := range bankAccounts {
					if err := txn.Set(account(i), binary.BigEndian.AppendUint64(nil, bankStart)); err != nil {
						return err
					}
				}
				return nil
			}))
			var wg kit.WaitGroup
			stop := make(chan struct{})
			for w := range 4 {
				r := rand.New(rand.NewPCG(rng.Uint64(), uint64(w)))
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							_ = transfer(db.DB, r) // a conflict is none of ours
						}
					}
				})
			}
			var files [][]byte
			for range 4 {
				b, version := backup(t, db, 0)
				require.NotZero(t, version)
				files = append(files, b)
			}
			close(stop)
			wg.Wait()
			p := openPlain(t, small(t.TempDir()), false)
			for _, b := range files {
				require.NoError(t, p.DropAll())
				require.NoError(t, p.Load(bytes.NewReader(b), 16))
				total := uint64(0)
				accounts := live(t, p, false)
				require.Len(t, accounts, bankAccounts)
				for _, v := range accounts {
					total += binary.BigEndian.Uint64([]byte(v))
				}
				require.EqualValues(t, bankAccounts*bankStart, total)
			}
		})
	}
}

func TestLoadOfADamagedBackup(t *testing.T) {
	p := openPlain(t, small(t.TempDir()), false)
	history(t, p, false)
	good, _ := backup(t, p, 0)
	want := live(t, p, false)
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			rng := random(t)
			open := func(t *testing.T) spillSide { return openLayer(t, m.change(layer(t.TempDir())), false) }
			try := func(t *testing.T, db spillSide, b []byte) (err error) {
				in(t, 20*time.Second, "Load", func() { err = db.Load(bytes.NewReader(b), 4) })
				return err
			}
			t.Run("cut short", func(t *testing.T) {
				db := open(t)
				for _, n := range []int{1, 7, 8, 9, 20, len(good) / 2, len(good) - 1} {
					require.Error(t, try(t, db, good[:n]), n)
				}
				// Two lists, the second one cut: the first is there.
				two := encodeBackup(t, &pb.KVList{Kv: []*pb.KV{{Key: []byte("whole"), Value: []byte("1"), Version: 1}}})
				require.ErrorIs(t, try(t, db, append(two, good[:30]...)), io.ErrUnexpectedEOF)
				require.NoError(t, try(t, db, nil))
				require.NoError(t, try(t, db, good))
				got := live(t, db, false)
				delete(got, "whole")
				require.Equal(t, want, got, "a failed load is in nobody's way")
			})
			t.Run("a bit of the length", func(t *testing.T) {
				db := open(t)
				for bit := range 64 {
					b := slices.Clone(good)
					b[bit/8] ^= 1 << (bit % 8)
					require.Error(t, try(t, db, b), "bit %d", bit)
				}
			})
			t.Run("any byte", func(t *testing.T) {
				db := open(t)
				for range 200 {
					b := slices.Clone(good)
					b[8+rng.IntN(len(b)-8)] ^= byte(1 + rng.IntN(255))
					_ = try(t, db, b) // a byte of a value tells nobody
				}
				read(db, false, func(txn sideTxn) {
					it := txn.Iter(badger.DefaultIteratorOptions)
					defer it.Close()
					for it.Rewind(); it.Valid(); it.Next() {
					}
				})
			})
			t.Run("a reader that fails", func(t *testing.T) {
				db := open(t)
				fails := io.MultiReader(bytes.NewReader(good[:len(good)/2]), failing{})
				require.ErrorIs(t, db.Load(fails, 4), errFailing)
			})
		})
	}
}

var errFailing = fmt.Errorf("a reader or writer that fails")

type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, errFailing }
func (failing) Write([]byte) (int, error) { return 0, errFailing }

func TestBackupToAWriterThatFails(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())), false)
			history(t, db, false)
			_, err := db.Backup(failing{}, 0)
			// which of them, is chance in Badger
			require.True(t, errors.Is(err, errFailing) || errors.Is(err, context.Canceled), "%v", err)
			b, _ := backup(t, db, 0)
			require.NotEmpty(t, b)
		})
	}
}

func TestLoaderRefusesKeysThatNobodyCouldWrite(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())), false)
			l := db.NewKVLoader(1)
			require.ErrorContains(t, l.Set(&pb.KV{Key: make([]byte, 65001), Version: 1}), "65000")
			require.NoError(t, l.Finish())
			require.NoError(t, db.Close())
			l = db.NewKVLoader(1)
			require.NoError(t, l.Set(&pb.KV{Key: []byte("a"), Version: 1}))
			in(t, 20*time.Second, "Finish on a closed database", func() { require.ErrorIs(t, l.Finish(), badgerspill.ErrBlockedWrites) })
		})
	}
}

// A database without a commit has nothing to back up. It is done by a child process, since what
// goes wrong may end it.
func TestEmptyBackupChild(t *testing.T) {
	dir := childproc.Arg[string](t)
	for _, m := range moveModes {
		db := openLayer(t, m.change(layer(filepath.Join(dir, m.name))), false)
		b, version := backup(t, db, 0)
		require.Empty(t, b)
		require.Zero(t, version)
		set(t, db.DB, "a", "1")
		require.NoError(t, db.DropAll())
		b, _ = backup(t, db, 0)
		require.Empty(t, b)
	}
}

func TestBackupOfAnEmptyDatabase(t *testing.T) {
	p := openPlain(t, small(t.TempDir()), false)
	b, version := backup(t, p, 0)
	require.Empty(t, b)
	require.Zero(t, version)

	out, err := childproc.Output(t.Context(), "TestEmptyBackupChild", t.TempDir())
	require.NoError(t, err, "%s", out)
}
