package integration_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
)

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
