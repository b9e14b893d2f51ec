package badgerspill

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/sides"
)

// seqSide is one engine with its sequences, two to a key.
type seqSide struct {
	twin
	sequence [4]sides.Sequence
}

func plainSeq(t *testing.T, dir string) *seqSide { return &seqSide{twin: plainTwin(t, dir)} }

func layerSeq(t *testing.T, dir string, changes ...func(*Options)) *seqSide {
	return &seqSide{twin: openAt(t, dir, changes...).twin()}
}

func (s *seqSide) get(key string, bandwidth uint64) (sides.Sequence, error) {
	return s.Sequence([]byte(key), bandwidth)
}

var spillModes = []struct {
	name   string
	change func(*Options)
}{
	{"all goes to Badger", func(opt *Options) { opt.SpillPolicy = Never }},
	{"all goes to the spill", func(opt *Options) { opt.SpillPolicy = Always }},
	{"the spill is replayed at once", func(opt *Options) { opt.SpillPolicy = Always; eager(opt) }},
}

// TestSequenceAsBadger gives both engines the same calls. At each reopen they exchange their
// databases.
func TestSequenceAsBadger(t *testing.T) {
	for _, mode := range spillModes {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s, seed %d", mode.name, seed), func(t *testing.T) {
				bounded(t)
				r := rand.New(rand.NewPCG(seed, 1))
				dirs := [2]string{t.TempDir(), t.TempDir()}
				plain, layer := plainSeq(t, dirs[0]), layerSeq(t, dirs[1], mode.change)
				key := func(i int) string { return fmt.Sprint("seq", i%2) }
				for step := range 400 {
					i := r.IntN(len(plain.sequence))
					what := ""
					both := func(op string, f func(s *seqSide) string) {
						what = fmt.Sprintf("seed %d, step %d: %s of sequence %d", seed, step, op, i)
						require.Equal(t, f(plain), f(layer), what)
					}
					switch n := r.IntN(100); {
					case n < 2:
						require.NoError(t, plain.close())
						require.NoError(t, layer.close())
						dirs[0], dirs[1] = dirs[1], dirs[0]
						plain, layer = plainSeq(t, dirs[0]), layerSeq(t, dirs[1], mode.change)
					case n < 10:
						layer.drain()
					case n < 14:
						value := ""
						if r.IntN(2) == 0 {
							value = fmt.Sprintf("%08d", r.IntN(1000))
						}
						both("overwrite", func(s *seqSide) string { return fmt.Sprint(s.set(key(i), value, false)) })
					case n < 25 || plain.sequence[i] == nil:
						bandwidth := r.Uint64N(5)
						if r.IntN(20) == 0 {
							bandwidth = math.MaxUint64 - r.Uint64N(9) // wraps
						}
						both("get", func(s *seqSide) string {
							seq, err := s.get(key(i), bandwidth)
							s.sequence[i] = seq
							if err != nil {
								s.sequence[i] = nil
							}
							return fmt.Sprint(err)
						})
					case n < 35:
						both("release", func(s *seqSide) string { return fmt.Sprint(s.sequence[i].Release()) })
					default:
						both("next", func(s *seqSide) string { return fmt.Sprint(s.sequence[i].Next()) })
					}
					both("stored form", func(s *seqSide) string { return fmt.Sprint(s.read(key(i))) })
					require.Equal(t, plain.version(), layer.version(), what)
				}
			})
		}
	}
}

// caught returns what f panics with, as text.
func caught(f func()) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprint("panic: ", p)
		}
	}()
	f()
	return "no panic"
}

func TestSequenceErrorsAsBadger(t *testing.T) {
	bounded(t)
	type get func(key []byte, bandwidth uint64) (sides.Sequence, error)
	outcome := func(get get, key string, bandwidth uint64) (text string) {
		p := caught(func() {
			_, err := get([]byte(key), bandwidth)
			text = fmt.Sprint(err)
		})
		return p + "; " + text
	}
	compare := func(t *testing.T, name string, plain, layer get, key string, bandwidth uint64) {
		t.Helper()
		want := outcome(plain, key, bandwidth)
		require.NotEqual(t, "no panic; <nil>", want, name)
		require.Equal(t, want, outcome(layer, key, bandwidth), name)
	}
	dirs := [2]string{t.TempDir(), t.TempDir()}
	opt := testOptions(dirs[0])
	p, err := badger.Open(opt.Badger())
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	f := openAt(t, dirs[1], spillModes[1].change)
	plain := func(key []byte, bandwidth uint64) (sides.Sequence, error) { return p.GetSequence(key, bandwidth) }
	layer := func(key []byte, bandwidth uint64) (sides.Sequence, error) { return f.GetSequence(key, bandwidth) }
	require.NoError(t, p.Update(func(txn *badger.Txn) error { return txn.Set([]byte("short"), []byte("1234567")) }))
	f.put("short", "1234567")

	compare(t, "empty key", plain, layer, "", 1)
	compare(t, "no bandwidth", plain, layer, "k", 0)
	compare(t, "neither", plain, layer, "", 0)
	compare(t, "reserved key", plain, layer, "!badger!k", 1)
	compare(t, "stored value is too short", plain, layer, "short", 1)
	one, err := plain([]byte("k"), 1)
	require.NoError(t, err)
	other, err := layer([]byte("k"), 1)
	require.NoError(t, err)
	_, _ = one.Next()
	_, _ = other.Next()
	require.NoError(t, p.Close())
	require.NoError(t, f.Close())
	compare(t, "closed", plain, layer, "k", 1)
	_, want := one.Next()
	_, got := other.Next()
	require.Equal(t, want, got)
	require.ErrorIs(t, got, ErrDBClosed)
	require.Equal(t, one.Release(), other.Release())

	p, err = badger.Open(opt.Badger().WithReadOnly(true))
	require.NoError(t, err)
	g := openAt(t, dirs[1], func(opt *Options) { opt.ReadOnly = true })
	f = g
	compare(t, "read-only", plain, layer, "k", 1)
	require.NoError(t, p.Close())
	require.NoError(t, g.Close())

	p, err = badger.OpenManaged(opt.Badger())
	require.NoError(t, err)
	managed := testOptions(dirs[1])
	f = &fixture{}
	f.DB, err = OpenManaged(managed)
	require.NoError(t, err)
	compare(t, "managed", plain, layer, "k", 1)
	compare(t, "managed, empty key", plain, layer, "", 0)
	require.NoError(t, p.Close())
	require.NoError(t, f.Close())
}

// TestSequenceShared: every goroutine has its own integers, whether it shares the Sequence or only
// the key.
func TestSequenceShared(t *testing.T) {
	const goroutines, each, sequences = 16, 100, 4
	for _, mode := range spillModes {
		t.Run(mode.name, func(t *testing.T) {
			dir := t.TempDir()
			bounded(t)
			seen := map[uint64]bool{}
			var highest uint64
			use := func(s *seqSide, drain func()) {
				var shared [sequences]sides.Sequence
				for i := range shared {
					var err error
					shared[i], err = s.get("k", uint64(i+1))
					require.NoError(t, err)
				}
				var mu sync.Mutex
				var bad error
				var wg kit.WaitGroup
				for g := range goroutines {
					wg.Go(func() {
						for n := 0; n < each; {
							v, err := shared[g%sequences].Next()
							mu.Lock()
							switch {
							case errors.Is(err, ErrConflict):
							case err != nil:
								bad = err
							case seen[v]:
								bad = fmt.Errorf("%d is given twice", v)
							default:
								seen[v], highest = true, max(highest, v)
								n++
							}
							stop := bad != nil
							mu.Unlock()
							if stop {
								return
							}
						}
					})
				}
				for range 3 {
					drain()
				}
				wg.Wait()
				require.NoError(t, bad)
			}
			s := layerSeq(t, dir, mode.change)
			use(s, s.drain)
			require.NoError(t, s.close())
			s = layerSeq(t, dir, mode.change)
			use(s, s.drain)
			require.Len(t, seen, 2*goroutines*each)
			require.NoError(t, s.close())
			plain := plainSeq(t, dir)
			seq, err := plain.get("k", 1)
			require.NoError(t, err)
			v, err := seq.Next()
			require.NoError(t, err)
			require.Greater(t, v, highest)
		})
	}
}

// TestSequenceFailedLease: integers of a lease that was not stored are not handed out.
func TestSequenceFailedLease(t *testing.T) {
	f := open(t, spillModes[0].change)
	seq, err := f.GetSequence([]byte("k"), 2)
	require.NoError(t, err)
	for want := range uint64(2) {
		v, err := seq.Next()
		require.NoError(t, err)
		require.Equal(t, want, v)
	}
	f.stub.set(func() { f.stub.mu.failSend = func(*pipeline.Commit) error { return errTest } })
	for range 3 {
		_, err = seq.Next()
		require.ErrorIs(t, err, errTest)
	}
	failed, err := f.GetSequence([]byte("k"), 2)
	require.ErrorIs(t, err, errTest)
	require.NotNil(t, failed)
	require.ErrorIs(t, seq.Release(), errTest)
	f.stub.set(func() { f.stub.mu.failSend = nil })
	v, err := failed.Next()
	require.NoError(t, err)
	require.EqualValues(t, 2, v)
	v, err = seq.Next()
	require.NoError(t, err)
	require.EqualValues(t, 4, v)
}

// TestSequenceKey: the caller may reuse the key's memory.
func TestSequenceKey(t *testing.T) {
	f := open(t)
	key := []byte("k")
	seq, err := f.GetSequence(key, 1)
	require.NoError(t, err)
	key[0] = 'x'
	for want := range uint64(3) {
		v, err := seq.Next()
		require.NoError(t, err)
		require.Equal(t, want, v)
	}
	require.NoError(t, seq.Release())
	require.Equal(t, "\x00\x00\x00\x00\x00\x00\x00\x03", f.get("k"))
	require.Equal(t, absent, f.get("x"))
}
