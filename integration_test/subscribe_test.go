package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/wbm"
)

// followLimit bounds every wait for a subscriber. It is only reached by a test that fails.
const followLimit = 20 * time.Second

// marker is a prefix that every follower subscribes to besides its own: a commit to it tells when
// all before it is seen.
const marker = "\x00marker/"

// follower is a subscriber that keeps what it is told.
type follower struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan error // the result of Subscribe

	mu    sync.Mutex
	kvs   []*pb.KV
	marks map[string]bool
	seen  chan struct{} // closed and made anew at every call
}

// follow subscribes and returns once the subscription is there. write commits one pair. cb may be
// nil.
func follow(t *testing.T, db mover, write func(k string) error, cb func(*badger.KVList) error, matches ...pb.Match) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{t: t, cancel: cancel, done: make(chan error, 1), marks: map[string]bool{}, seen: make(chan struct{})}
	t.Cleanup(cancel)
	matches = append(slices.Clip(matches), pb.Match{Prefix: []byte(marker)})
	go func() {
		f.done <- db.Subscribe(ctx, func(list *badger.KVList) error {
			f.take(list)
			if cb != nil {
				return cb(list)
			}
			return nil
		}, matches)
	}()
	// Nothing tells that a subscription has begun but that it is told something.
	limit := time.NewTimer(followLimit)
	defer limit.Stop()
	for i := 0; ; i++ {
		name := fmt.Sprintf("begin/%p/%d", f, i)
		require.NoError(t, write(marker+name))
		f.mu.Lock()
		n := len(f.marks)
		f.mu.Unlock()
		if n > 0 {
			break
		}
		select {
		case err := <-f.done:
			require.FailNow(t, "Subscribe returned", "%v", err)
		case <-limit.C:
			require.FailNow(t, "the subscriber is told nothing")
		default:
			runtime.Gosched()
		}
	}
	f.sync(write)
	return f
}

func (f *follower) take(list *badger.KVList) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, kv := range list.Kv {
		switch {
		case bytes.HasPrefix(kv.Key, []byte(marker)):
			f.marks[string(kv.Key[len(marker):])] = true
		case bytes.HasPrefix(kv.Key, []byte("!badger!")):
			// plain Badger tells of its transaction markers, too
		default:
			f.kvs = append(f.kvs, kv)
		}
	}
	close(f.seen)
	f.seen = make(chan struct{})
}

var syncs struct {
	sync.Mutex
	n int
}

// sync waits until the follower was told all that is acknowledged now.
func (f *follower) sync(write func(k string) error) {
	f.t.Helper()
	syncs.Lock()
	syncs.n++
	name := fmt.Sprintf("sync/%d", syncs.n)
	syncs.Unlock()
	require.NoError(f.t, write(marker+name))
	limit := time.NewTimer(followLimit)
	defer limit.Stop()
	for {
		f.mu.Lock()
		there, seen := f.marks[name], f.seen
		f.mu.Unlock()
		if there {
			return
		}
		select {
		case <-seen:
		case <-limit.C:
			require.FailNow(f.t, "the subscriber was not told of a commit")
		}
	}
}

// told returns what was told so far, in order.
func (f *follower) told() []*pb.KV {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.kvs)
}

// end cancels the subscription and waits for it.
func (f *follower) end() {
	f.t.Helper()
	f.cancel()
	require.ErrorIs(f.t, f.result(), context.Canceled)
}

func (f *follower) result() error {
	f.t.Helper()
	select {
	case err := <-f.done:
		return err
	case <-time.After(followLimit):
		require.FailNow(f.t, "Subscribe does not return")
		return nil
	}
}

// tells reports whether a key of the list has the prefix.
func tells(list *badger.KVList, prefix string) bool {
	return slices.ContainsFunc(list.Kv, func(kv *pb.KV) bool { return bytes.HasPrefix(kv.Key, []byte(prefix)) })
}

func writer(db side) func(k string) error {
	return func(k string) error { return db.Update(func(txn sideTxn) error { return txn.Set([]byte(k), nil) }) }
}

func prefixes(ps ...string) (out []pb.Match) {
	for _, p := range ps {
		out = append(out, pb.Match{Prefix: []byte(p)})
	}
	return out
}

// withoutVersion says what was told. The entries of one commit come in an order of their own in
// Badger.
func withoutVersion(kvs []*pb.KV) (out []string) {
	start := 0
	for i, kv := range kvs {
		if kv.Version != kvs[start].Version {
			slices.Sort(out[start:])
			start = i
		}
		out = append(out, fmt.Sprintf("%q = %s, meta %x, user meta %x, expires at %d, stream %d", kv.Key, short(kv.Value), kv.Meta, kv.UserMeta,
			kv.ExpiresAt, kv.StreamId))
	}
	if len(out) > 0 {
		slices.Sort(out[start:])
	}
	return out
}

// requireVersions requires that each of kvs is in the database as told.
func requireVersions(t *testing.T, db side, managed bool, kvs []*pb.KV) {
	t.Helper()
	there := map[string]bool{}
	for _, v := range versionsOf(db, managed) {
		there[v] = true
	}
	for _, kv := range kvs {
		require.True(t, there[fmt.Sprintf("%s@%d", kv.Key, kv.Version)], "%q at %d", kv.Key, kv.Version)
	}
}

// What subscribers are told, beside plain Badger's.
func TestSubscribersAreToldTheSame(t *testing.T) {
	rows := []struct {
		name    string
		matches []pb.Match
	}{
		{"one prefix", prefixes("k0")},
		{"a whole key", prefixes("k000003")},
		{"several, overlapping", prefixes("k", "k000001", "other/", "other/1", "none")},
		{"everything", prefixes("")},
		{"with holes", []pb.Match{{Prefix: []byte("xx000004"), IgnoreBytes: "0-1"}, {Prefix: []byte("k9999x5"), IgnoreBytes: "1-3, 5"},
			{Prefix: []byte("?ther/1"), IgnoreBytes: "0"}, {Prefix: []byte("k00?001"), IgnoreBytes: "3"}}},
		{"nothing that exists", prefixes("zzz")},
	}
	play := func(t *testing.T, db mover) (out [][]string) {
		var fs []*follower
		for _, row := range rows {
			fs = append(fs, follow(t, db, writer(db), nil, row.matches...))
		}
		history(t, db, false)
		put(&transcript{t: t}, db, "k000001", "-", "other/2", "2", "third", "3")
		wb := db.NewBatch()
		for i := range 20 {
			require.NoError(t, wb.Put(write{Key: fmt.Appendf(nil, "k9%d", i), Value: []byte("batch"), UserMeta: 5}))
		}
		require.NoError(t, wb.Delete([]byte("k90")))
		require.NoError(t, wb.Flush())
		// whose subscribers see what the caller does with his buffers after a commit
		if _, plain := db.(plainSide); !plain {
			k, v := []byte("third/x"), []byte("before")
			require.NoError(t, db.Update(func(txn sideTxn) error { return txn.Set(k, v) }))
			copy(k, "damaged")
			copy(v, "damage")
		} else {
			put(&transcript{t: t}, db, "third/x", "before")
		}
		for i, f := range fs {
			f.sync(writer(db))
			kvs := f.told()
			requireVersions(t, db, false, kvs)
			out = append(out, append([]string{rows[i].name}, withoutVersion(kvs)...))
			f.end()
		}
		return out
	}
	want := play(t, openPlain(t, small(t.TempDir()), false))
	for _, row := range want[:5] {
		require.Greater(t, len(row), 1, row[0])
	}
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			require.Equal(t, want, play(t, openLayer(t, m.change(layer(t.TempDir())), false)))
		})
	}
}

// What a load brings is told once, with its versions, as in Badger.
func TestSubscribersAreToldOfLoads(t *testing.T) {
	kvs := []*pb.KV{
		{Key: []byte("a"), Value: []byte("3"), Version: 3000, UserMeta: []byte{8}, ExpiresAt: started + 900},
		{Key: []byte("a"), Value: []byte("2"), Version: 2000},
		{Key: []byte("b"), Version: 2500, Meta: []byte{1}},
		{Key: []byte("unasked"), Version: 2600},
	}
	play := func(t *testing.T, db mover) []string {
		f := follow(t, db, writer(db), nil, prefixes("a", "b")...)
		require.NoError(t, db.Load(bytes.NewReader(encodeBackup(t, &pb.KVList{Kv: kvs})), 2))
		f.sync(writer(db))
		out := describe(f.told())
		f.end()
		return out
	}
	want := play(t, openPlain(t, small(t.TempDir()), false))
	require.Len(t, want, 3)
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			require.Equal(t, want, play(t, openLayer(t, m.change(layer(t.TempDir())), false)))
		})
	}
}

// Sixteen writers, several subscribers, replays and hand-overs in between: every commit is told
// each of them once, in the order of the timestamps, with the version that it has.
func TestSubscribersSeeTheCommitOrder(t *testing.T) {
	const writers, commits = 16, 60
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())), false)
			var fs []*follower
			for range 3 {
				fs = append(fs, follow(t, db, writer(db), nil, prefixes("w/", "w/0")...))
			}
			stop := make(chan struct{})
			var drains, wg kit.WaitGroup
			drains.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_ = db.Drain(context.Background())
					}
				}
			})
			errs := make(chan error, writers)
			for w := range writers {
				wg.Go(func() {
					for i := range commits {
						if err := db.DB.Update(func(txn *badgerspill.Txn) error {
							err := txn.Set(fmt.Appendf(nil, "w/%d/%d", w, i), []byte("1"))
							return errors.Join(err, txn.Set(fmt.Appendf(nil, "w/last/%d", w), fmt.Append(nil, i)))
						}); err != nil {
							errs <- err
							return
						}
					}
				})
			}
			wg.Wait()
			close(stop)
			drains.Wait()
			require.Empty(t, errs)
			var first []*pb.KV
			for n, f := range fs {
				f.sync(writer(db))
				kvs := f.told()
				require.Len(t, kvs, 2*writers*commits)
				once := map[string]bool{}
				for i, kv := range kvs {
					name := fmt.Sprintf("%s@%d", kv.Key, kv.Version)
					require.False(t, once[name], "%s is told twice", name)
					once[name] = true
					if i > 0 {
						require.GreaterOrEqual(t, kv.Version, kvs[i-1].Version)
					}
				}
				if n == 0 {
					first = kvs
					requireVersions(t, db, false, kvs)
				}
				require.Equal(t, withoutVersion(first), withoutVersion(kvs))
				f.end()
			}
		})
	}
}

// With timestamps of the caller the order is that of the commits, whatever the timestamps.
func TestSubscribersInManagedMode(t *testing.T) {
	play := func(t *testing.T, db mover) []string {
		ts := uint64(1000)
		commit := func(ts uint64, k string) error {
			txn := db.BeginAt(1<<62, true)
			if err := txn.Set([]byte(k), fmt.Append(nil, ts)); err != nil {
				return err
			}
			return txn.CommitAt(ts, nil)
		}
		mark := func(k string) error { ts++; return commit(ts, k) }
		f := follow(t, db, mark, nil, prefixes("a")...)
		for _, at := range []uint64{50, 40, 60, 10, 55} {
			require.NoError(t, commit(at, "a"))
		}
		wb := db.NewManagedBatch()
		require.NoError(t, wb.PutAt(write{Key: []byte("ab"), Value: []byte("batch")}, 7))
		require.NoError(t, wb.DeleteAt([]byte("ac"), 9))
		require.NoError(t, wb.Flush())
		f.sync(mark)
		requireVersions(t, db, true, f.told())
		var out []string
		for _, kv := range f.told() {
			out = append(out, fmt.Sprintf("%s@%d=%s", kv.Key, kv.Version, kv.Value))
		}
		slices.Sort(out[5:]) // the batch is in an order of its own
		f.end()
		return out
	}
	want := play(t, openPlain(t, small(t.TempDir()), true))
	require.Len(t, want, 7)
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			require.Equal(t, want, play(t, openLayer(t, m.change(layer(t.TempDir())), true)))
		})
	}
}

// Neither a replay nor what an earlier process has left in the spill is told.
func TestReplayTellsNothing(t *testing.T) {
	o := spilled(layer(t.TempDir())).WithDrainOnClose(false)
	db := openLayer(t, o, false)
	f := follow(t, db, writer(db), nil, prefixes("k")...)
	history(t, db, false)
	f.sync(writer(db))
	n := len(f.told())
	require.NoError(t, db.Drain(context.Background()))
	set(t, db.DB, "k/left", "1")
	f.sync(writer(db))
	require.Len(t, f.told(), n+1)
	require.NoError(t, db.Close())
	require.NoError(t, f.result(), "the database was closed")

	db = openLayer(t, o, false)
	require.Positive(t, db.SpillStats().SpillPending)
	f = follow(t, db, writer(db), nil, prefixes("k")...)
	require.NoError(t, db.Drain(context.Background()))
	f.sync(writer(db))
	require.Empty(t, f.told())
	require.NoError(t, db.DropAll())
	require.NoError(t, db.DropPrefix([]byte("k")))
	f.sync(writer(db))
	require.Empty(t, f.told())
	f.end()
}

func TestSubscriptionsEnd(t *testing.T) {
	own := errors.New("own error")
	modes := append([]sideMode{{name: "plain Badger"}}, moveModes...)
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			open := func(t *testing.T) mover {
				if m.change == nil {
					return openPlain(t, small(t.TempDir()), false)
				}
				return openLayer(t, m.change(layer(t.TempDir())), false)
			}
			t.Run("by an error of the callback", func(t *testing.T) {
				db := open(t)
				calls := 0
				f := follow(t, db, writer(db), func(list *badger.KVList) error {
					for _, kv := range list.Kv {
						if strings.HasPrefix(string(kv.Key), "bad") {
							calls++
							return own
						}
					}
					return nil
				}, prefixes("bad", "good")...)
				other := follow(t, db, writer(db), nil, prefixes("bad", "good")...)
				put(&transcript{t: t}, db, "good", "1")
				put(&transcript{t: t}, db, "bad", "1")
				require.Equal(t, own, f.result())
				put(&transcript{t: t}, db, "bad", "2")
				other.sync(writer(db))
				require.Equal(t, 1, calls)
				require.Len(t, other.told(), 3)
				other.end()
				require.NoError(t, db.Close())
			})
			t.Run("by the context", func(t *testing.T) {
				db := open(t)
				f := follow(t, db, writer(db), nil, prefixes("a")...)
				f.end()
				put(&transcript{t: t}, db, "a", "1")
				require.Empty(t, f.told())
				ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
				defer cancel()
				require.ErrorIs(t, db.Subscribe(ctx, func(*badger.KVList) error { return nil }, prefixes("a")), context.DeadlineExceeded)
			})
			t.Run("before they begin", func(t *testing.T) {
				db := open(t)
				require.ErrorIs(t, db.Subscribe(context.Background(), nil, prefixes("a")), badger.ErrNilCallback)
				if m.change == nil {
					// a bad match hangs the Close of plain Badger, a closed one hangs Subscribe
					return
				}
				for _, ignore := range []string{"x", "1-2-3", "1-x", "-"} {
					bad := []pb.Match{{Prefix: []byte("a")}, {Prefix: []byte("b"), IgnoreBytes: ignore}}
					require.Error(t, db.Subscribe(context.Background(), func(*badger.KVList) error { return nil }, bad), ignore)
				}
				put(&transcript{t: t}, db, "a", "1")
				in(t, followLimit, "Close", func() { require.NoError(t, db.Close()) })
				in(t, followLimit, "Subscribe", func() {
					err := db.Subscribe(context.Background(), func(*badger.KVList) error { return nil }, prefixes("a"))
					require.ErrorIs(t, err, badger.ErrDBClosed)
				})
			})
		})
	}
}

// Close comes right after the commits: the subscriber has been told all of them when it returns.
func TestCloseTellsWhatIsAcknowledged(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			for _, slow := range []bool{false, true} {
				db := openLayer(t, m.change(layer(t.TempDir())), false)
				hold := make(chan struct{})
				f := follow(t, db, writer(db), func(list *badger.KVList) error {
					if slow && tells(list, "k") {
						<-hold
					}
					return nil
				}, prefixes("k")...)
				for i := range 300 {
					set(t, db.DB, string(key(i)), "1")
				}
				closed := make(chan error, 1)
				go func() { closed <- db.Close() }()
				close(hold)
				require.NoError(t, f.result())
				require.NoError(t, <-closed)
				kvs := f.told()
				require.Len(t, kvs, 300)
				for i, kv := range kvs {
					require.Equal(t, string(key(i)), string(kv.Key))
				}
			}
		})
	}
}

// A subscriber that does not return holds up nobody, and misses nothing.
func TestASlowSubscriberHoldsUpNobody(t *testing.T) {
	const commits = 2000
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())), false)
			hold, blocked := make(chan struct{}), make(chan struct{})
			release := sync.OnceFunc(func() { close(hold) })
			defer release()
			once := sync.OnceFunc(func() { close(blocked) })
			f := follow(t, db, writer(db), func(list *badger.KVList) error {
				if tells(list, "k") {
					once()
					<-hold
				}
				return nil
			}, prefixes("k")...)
			brisk := follow(t, db, writer(db), nil, prefixes("k")...)
			set(t, db.DB, "k", "first")
			in(t, followLimit, "the first call", func() { <-blocked })
			in(t, followLimit, "a writer beside a slow subscriber", func() {
				for i := range commits {
					if err := db.DB.Update(func(txn *badgerspill.Txn) error { return txn.Set(key(i), []byte("v")) }); err != nil {
						t.Error(err)
						return
					}
				}
			})
			brisk.sync(writer(db))
			require.Len(t, brisk.told(), commits+1)
			require.Len(t, f.told(), 1)
			release()
			f.sync(writer(db))
			require.Equal(t, withoutVersion(brisk.told()), withoutVersion(f.told()))
		})
	}
}

// A callback may use the database.
func TestSubscriberWrites(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())), false)
			f := follow(t, db, writer(db), func(list *badger.KVList) error {
				for _, kv := range list.Kv {
					if !bytes.HasPrefix(kv.Key, []byte("in/")) {
						continue
					}
					if err := db.DB.Update(func(txn *badgerspill.Txn) error {
						it, err := txn.Get(kv.Key)
						if err != nil {
							return err
						}
						if it.Version() != kv.Version {
							return fmt.Errorf("told of version %d, found %d", kv.Version, it.Version())
						}
						return txn.Set(append([]byte("out/"), kv.Key...), kv.Value)
					}); err != nil {
						return err
					}
				}
				return nil
			}, prefixes("in/", "out/")...)
			for i := range 50 {
				set(t, db.DB, fmt.Sprintf("in/%d", i), fmt.Sprint(i))
			}
			f.sync(writer(db)) // all of in/ has been told, so all of out/ is written
			f.sync(writer(db))
			require.Len(t, f.told(), 100)
			f.end()
		})
	}
}

func TestACommitThatFailsTellsNothing(t *testing.T) {
	for _, m := range moveModes {
		t.Run(m.name, func(t *testing.T) {
			db := openLayer(t, m.change(layer(t.TempDir())), false)
			f := follow(t, db, writer(db), nil, prefixes("a", "b")...)
			x := db.NewTransaction(true)
			_, err := x.Get([]byte("a"))
			require.ErrorIs(t, err, badgerspill.ErrKeyNotFound)
			require.NoError(t, x.Set([]byte("b"), []byte("never")))
			set(t, db.DB, "a", "1")
			require.ErrorIs(t, x.Commit(), badgerspill.ErrConflict)

			y := db.NewTransaction(true)
			require.NoError(t, y.Set([]byte("b"), []byte("discarded")))
			y.Discard()

			w := db.NewStreamWriter()
			require.NoError(t, w.Prepare())
			z := db.NewTransaction(true)
			require.NoError(t, z.Set([]byte("b"), []byte("blocked")))
			require.ErrorIs(t, z.Commit(), badgerspill.ErrBlockedWrites)
			w.Cancel()

			f.sync(writer(db))
			require.Equal(t, []string{`"a" = 1, meta 00, user meta , expires at 0, stream 0`}, withoutVersion(f.told()))
			require.NoError(t, db.Close())
			require.NoError(t, f.result())
		})
	}
	t.Run("no room", func(t *testing.T) {
		// Another database has all of the budget, and there is no spill.
		const limit = 64 << 20
		budget, err := wbm.New(wbm.Options{Limit: limit, SoftRatio: 0.8, SpillRatio: 0.9})
		require.NoError(t, err)
		other := budget.Register(wbm.Holder{Name: "other"})
		defer other.Close()
		o := layer(t.TempDir()).WithSpillPolicy(badgerspill.Never).WithBlockTimeout(badgerspill.Off)
		o.WriteBufferManager = budget
		db := openLayer(t, o, false)
		f := follow(t, db, writer(db), nil, prefixes("k")...)
		other.Force(wbm.InFlight, limit)
		err = db.DB.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte("k/never"), []byte("1")) })
		require.ErrorIs(t, err, badgerspill.ErrWriteBlocked)
		other.Release(wbm.InFlight, limit)
		set(t, db.DB, "k/done", "1")
		f.sync(writer(db))
		require.Len(t, f.told(), 1)
		require.Equal(t, "k/done", string(f.told()[0].Key))
	})
}
