package integration_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
)

const (
	bankAccounts = 40
	bankStart    = 1000
)

func account(i int) []byte { return fmt.Appendf(nil, "account/%03d", i) }

// TestBank moves money between accounts under conflict while the router is pushed to and fro. Every
// read-only transaction sees the constant total, by point reads and by iteration, and so does the
// database after a reopen.
func TestBank(t *testing.T) {
	for _, m := range modes {
		if m.managed {
			continue
		}
		t.Run(m.name, func(t *testing.T) { bank(t, m) })
	}
}

func bank(t *testing.T, m mode) {
	rng := random(t)
	dir := filepath.Join(t.TempDir(), "db")
	opt := m.change(badgerspill.OptionsFrom(small(dir)))
	db, err := badgerspill.Open(opt)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(txn *badgerspill.Txn) error {
		for i := range bankAccounts {
			if err := txn.Set(account(i), binary.BigEndian.AppendUint64(nil, bankStart)); err != nil {
				return err
			}
		}
		return nil
	}))

	transfers := 800
	if testing.Short() {
		transfers = 200
	}
	var (
		wg, readers     kit.WaitGroup
		done, conflicts atomic.Int64
		stop            = make(chan struct{})
		failures        = make(chan error, 100)
	)
	fail := func(err error) {
		select {
		case failures <- err:
		default:
		}
	}
	for w := range 6 {
		r := rand.New(rand.NewPCG(rng.Uint64(), uint64(w)))
		wg.Go(func() {
			for range transfers {
				switch err := transfer(db, r); {
				case errors.Is(err, badgerspill.ErrConflict):
					conflicts.Add(1)
				case err != nil:
					fail(err)
					return
				default:
					done.Add(1)
				}
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := checkTotal(db); err != nil {
					fail(err)
					return
				}
			}
		})
	}
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := db.Drain(context.Background()); err != nil {
					fail(err)
					return
				}
			}
		}
	})
	wg.Wait()
	close(stop)
	readers.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	st := db.SpillStats()
	t.Logf("%d transfers, %d conflicts, direct %d hedged %d spilled %d, %d hand-overs", done.Load(), conflicts.Load(),
		st.CommitsDirect, st.CommitsHedged, st.CommitsSpilled, st.HandOvers)
	require.Positive(t, done.Load())
	require.NoError(t, checkTotal(db))
	require.NoError(t, db.Close())
	db, err = badgerspill.Open(opt)
	require.NoError(t, err)
	require.NoError(t, checkTotal(db))
	require.NoError(t, db.Close())
}

func transfer(db *badgerspill.DB, r *rand.Rand) error {
	from, to := r.IntN(bankAccounts), r.IntN(bankAccounts)
	amount := uint64(r.IntN(20))
	return db.Update(func(txn *badgerspill.Txn) error {
		a, err := balance(txn, from)
		if err != nil {
			return err
		}
		if a < amount || from == to {
			return nil
		}
		b, err := balance(txn, to)
		if err != nil {
			return err
		}
		if err := txn.Set(account(from), binary.BigEndian.AppendUint64(nil, a-amount)); err != nil {
			return err
		}
		return txn.Set(account(to), binary.BigEndian.AppendUint64(nil, b+amount))
	})
}

func balance(txn *badgerspill.Txn, i int) (n uint64, err error) {
	it, err := txn.Get(account(i))
	if err != nil {
		return 0, fmt.Errorf("account %d at %d: %w", i, txn.ReadTs(), err)
	}
	err = it.Value(func(v []byte) error { n = binary.BigEndian.Uint64(v); return nil })
	return n, err
}

func checkTotal(db *badgerspill.DB) error {
	return db.View(func(txn *badgerspill.Txn) error {
		var byGet, byScan uint64
		for i := range bankAccounts {
			n, err := balance(txn, i)
			if err != nil {
				return err
			}
			byGet += n
		}
		it := txn.NewIterator(badgerspill.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := it.Item().Value(func(v []byte) error { byScan += binary.BigEndian.Uint64(v); return nil }); err != nil {
				return err
			}
		}
		if byGet != bankAccounts*bankStart || byScan != byGet {
			return fmt.Errorf("at %d the total is %d by Get and %d by iteration, want %d", txn.ReadTs(), byGet, byScan, bankAccounts*bankStart)
		}
		return nil
	})
}
