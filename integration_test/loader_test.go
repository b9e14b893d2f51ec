package integration_test

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

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
