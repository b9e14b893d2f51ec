package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
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
	return plainSideOf(db)
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
	return spillSideOf(db)
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
			ws := []write{{Key: key(n), Value: fmt.Appendf(nil, "%d/%d", round, n), UserMeta: byte(round)}}
			switch {
			case n == 1 && round == 3:
				ws[0] = write{Key: key(n), Delete: true}
			case n == 2 && round == 4:
				ws[0] = write{Key: key(n), Delete: true}
			case n == 3:
				ws[0].ExpiresAt = started + 100_000 + uint64(round)
			case n == 4 && round >= 3:
				ws[0].ExpiresAt = started - 10
			case n == 5 && round == 2:
				ws[0].Discard = true
			case n == 6:
				ws[0].Value = bytes.Repeat([]byte{byte('a' + round)}, 1000)
			case n == 7:
				ws[0].Value = nil
			}
			ws = append(ws, write{Key: fmt.Appendf(nil, "other/%d", n%3), Value: fmt.Append(nil, ts)})
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

func fiveVersions(o badger.Options) badger.Options { return o.WithNumVersionsToKeep(5) }
