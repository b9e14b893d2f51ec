package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
)

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
