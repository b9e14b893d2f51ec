package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/feed"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/integration_test/kit"
)

const observedKeys = 6

// sight is what an observer saw of one key, and from which moment.
type sight struct {
	value   string
	version uint64
}

// observer reads all keys in one transaction after the other, and remembers everything.
type observer struct {
	mu     sync.Mutex
	values map[string]bool
	latest map[string]sight
}

func (o *observer) look(db *DB) error {
	return db.View(func(txn *Txn) error {
		for i := range observedKeys {
			k := key(i)
			item, err := txn.Get([]byte(k))
			switch {
			case errors.Is(err, ErrKeyNotFound):
				if last, ok := o.latest[k]; ok {
					return fmt.Errorf("%s at %d is gone, it was %q at %d", k, txn.ReadTs(), last.value, last.version)
				}
				continue
			case err != nil:
				return err
			}
			v, err := item.ValueCopy(nil)
			if err != nil {
				return err
			}
			if last, ok := o.latest[k]; ok && (item.Version() < last.version || item.Version() == last.version && string(v) != last.value) {
				return fmt.Errorf("%s at %d is %q at %d, it was %q at %d", k, txn.ReadTs(), v, item.Version(), last.value, last.version)
			}
			o.mu.Lock()
			o.values[string(v)] = true
			o.latest[k] = sight{string(v), item.Version()}
			o.mu.Unlock()
		}
		return nil
	})
}

func (o *observer) snapshot() map[string]sight {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]sight{}
	for k, s := range o.latest {
		out[k] = s
	}
	return out
}

// TestNothingThatFailedWasSeen: the spill's files and Badger fail at random while commits go to and
// fro. A commit that fails is never seen, by nobody and at no time; what was seen stays, over a
// crash too, acknowledged by then or not.
func TestNothingThatFailedWasSeen(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
	}{
		{"hedged", func(opt *Options) { opt.StallThreshold = time.Nanosecond }},
		{"always", func(opt *Options) { opt.SpillPolicy = Always }},
		{"short of memory", func(opt *Options) { opt.Tuning.SoftLimitRatio, opt.Tuning.SpillLimitRatio = 1e-5, 1e-5 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := random(t)
			f := open(t, eager, c.change, func(opt *Options) { opt.Tuning.SegmentSize = 8 << 10 })
			var mu sync.Mutex
			chance := func(n int) bool { mu.Lock(); defer mu.Unlock(); return rng.IntN(n) == 0 }
			seed := func() uint64 { mu.Lock(); defer mu.Unlock(); return rng.Uint64() }
			f.hooks.set(func(op, path string) error {
				if (op == "write" || op == "create") && isSegment(path) && chance(12) || chance(40) && strings.HasPrefix(filepath.Base(path), "MANIFEST") {
					return errTest
				}
				return nil
			})
			f.stub.set(func() {
				f.stub.mu.failSend = func(*pipeline.Commit) error {
					if chance(12) {
						return errTest
					}
					return nil
				}
				f.stub.mu.onLoad = func(int, []entry) error {
					if chance(40) { // each keeps replay away for a while
						return errTest
					}
					return nil
				}
			})

			const writers, commits = 4, 120
			failed := make([]map[string]bool, writers)
			var writing, observing kit.WaitGroup
			for w := range writers {
				failed[w] = map[string]bool{}
				r := rand.New(rand.NewPCG(seed(), uint64(w)))
				writing.Go(func() {
					for n := range commits {
						v := fmt.Sprintf("%d/%d/%s", w, n, strings.Repeat("x", r.IntN(1500)))
						err := f.Update(func(txn *Txn) error {
							return errors.Join(txn.Set([]byte(key(r.IntN(observedKeys))), []byte(v)), txn.Set([]byte(key(r.IntN(observedKeys))), []byte(v)))
						})
						if err != nil {
							failed[w][v] = true
						}
						f.room.RetrySpill(0) // it is tried again at once
						if w == 0 && n%4 == 0 {
							ctx, cancel := context.WithTimeout(f.ctx, 50*time.Millisecond)
							_ = f.Drain(ctx) // to and fro
							cancel()
						}
					}
				})
			}
			stop, stopped := make(chan struct{}), make(chan struct{})
			observers := []*observer{{}, {}}
			errs := make(chan error, len(observers))
			for _, o := range observers {
				o.values, o.latest = map[string]bool{}, map[string]sight{}
				observing.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if err := o.look(f.DB); err != nil {
							errs <- err
							return
						}
					}
				})
			}
			go func() { writing.Wait(); close(stopped) }()
			if f.opt.StallThreshold > 0 {
				observing.Go(func() { // Badger stops, and goes on
					tick := time.NewTicker(3 * time.Millisecond)
					defer tick.Stop()
					for held := false; ; held = !held {
						select {
						case <-tick.C:
						case <-stop:
							f.stub.release()
							return
						}
						if held {
							f.stub.release()
						} else {
							f.stub.hold()
						}
					}
				})
			}
			crashes := 0
			var last *observer // of what the last crash has left, when nobody wrote any more
			for crashed := false; !crashed; {
				select {
				case <-stopped:
					crashed = true // once more at the end
				case <-time.After(20 * time.Millisecond):
				}
				if crashes++; crashes > 4 && !crashed {
					continue
				}
				seen := observers[0].snapshot()
				// A copy is not of one moment, and what replay moves from a part that was copied to
				// one that was not yet would look like foreign writes.
				var left string
				_ = f.feed.Exclusively(func(*feed.Exclusive) error {
					left = crash(t, f.opt.Dir)
					return nil
				})
				last = requireStays(t, left, f.opt, seen)
			}
			close(stop)
			observing.Wait()
			close(errs)
			for err := range errs {
				t.Error(err)
			}
			f.hooks.clear()
			f.stub.set(func() { f.stub.mu.failSend, f.stub.mu.onLoad = nil, nil })
			f.drained()
			final := &observer{values: map[string]bool{}, latest: observers[0].snapshot()}
			require.NoError(t, final.look(f.DB))
			n := 0
			for w := range failed {
				n += len(failed[w])
				for v := range failed[w] {
					for _, o := range append(observers, final, last) {
						require.False(t, o.values[v], "%.20s failed and was seen", v)
					}
				}
			}
			st := f.SpillStats()
			t.Logf("%d of %d commits failed; direct %d, hedged %d, spilled %d, %d hand-overs, %d crashes", n, writers*commits,
				st.CommitsDirect, st.CommitsHedged, st.CommitsSpilled, st.HandOvers, crashes)
			require.Positive(t, n)
			require.Zero(t, f.manager.Leaks())
		})
	}
}

// requireStays opens what a crash has left, and requires all that was seen before, or something
// newer.
func requireStays(t *testing.T, dir string, opt Options, seen map[string]sight) *observer {
	t.Helper()
	opt.Dir, opt.ValueDir, opt.SpillDir = dir, dir, ""
	opt.seams, opt.EventListener = seams{}, nil
	db, err := Open(opt)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	after := &observer{values: map[string]bool{}, latest: seen}
	require.NoError(t, after.look(db))
	return after
}
