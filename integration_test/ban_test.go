package integration_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
)

func namespaced(n byte, rest string) string {
	return string([]byte{'n', 0, 0, 0, 0, 0, 0, 0, n}) + rest
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
