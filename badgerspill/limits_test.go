package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/wbm"
)

func TestLimitsAreChecked(t *testing.T) {
	shared, err := wbm.New(wbm.Options{Limit: 64 << 20})
	require.NoError(t, err)
	plain := func(*Options) {}
	budget := func(opt *Options) { opt.WriteBufferManager = shared }
	inMemory := func(opt *Options) { opt.InMemory, opt.Dir, opt.ValueDir = true, "", "" }
	policy := func(p SpillPolicy) func(*Options) { return func(opt *Options) { opt.SpillPolicy = p } }
	for _, row := range []struct {
		name   string
		open   func(*Options)
		change func(*DB) error
		field  string
	}{
		{"memory below 0", plain, func(db *DB) error { return db.SetMemoryLimit(-1) }, "MemoryLimit"},
		{"memory too large", plain, func(db *DB) error { return db.SetMemoryLimit(1<<60 + 1) }, "MemoryLimit"},
		{"memory of a shared budget", budget, func(db *DB) error { return db.SetMemoryLimit(1 << 20) }, "MemoryLimit"},
		{"soft ratio", plain, func(db *DB) error { return db.SetLimitRatios(1.5, 0) }, "Tuning.SoftLimitRatio"},
		{"soft ratio is not a number", plain, func(db *DB) error { return db.SetLimitRatios(math.NaN(), 1) }, "Tuning.SoftLimitRatio"},
		{"spill ratio", plain, func(db *DB) error { return db.SetLimitRatios(0.5, -1) }, "Tuning.SpillLimitRatio"},
		{"ratios crossed", plain, func(db *DB) error { return db.SetLimitRatios(0.5, 0.4) }, "Tuning.SpillLimitRatio"},
		{"soft ratio above the default of the other", plain, func(db *DB) error { return db.SetLimitRatios(0.95, 0) }, "Tuning.SpillLimitRatio"},
		{"ratios of a shared budget", budget, func(db *DB) error { return db.SetLimitRatios(0.5, 0.6) }, "Tuning.SoftLimitRatio"},
		{"capacity below 0", plain, func(db *DB) error { return db.SetSpillCapacity(Off) }, "SpillCapacity"},
		{"policy that is none", policy(Never), func(db *DB) error { return db.SetSpillPolicy(Never + 1) }, "SpillPolicy"},
		{"policy below the first", plain, func(db *DB) error { return db.SetSpillPolicy(-1) }, "SpillPolicy"},
		{"Always in memory", inMemory, func(db *DB) error { return db.SetSpillPolicy(Always) }, "SpillPolicy"},
		{"replay rate", plain, func(db *DB) error { return db.SetReplayMaxRate(-1) }, "Tuning.ReplayMaxRate"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := open(t, row.open)
			before := f.Opts()
			err := row.change(f.DB)
			require.ErrorIs(t, err, ErrBadOption)
			var bad *OptionError
			require.ErrorAs(t, err, &bad)
			require.Equal(t, row.field, bad.Field)
			require.Contains(t, err.Error(), row.field)
			now := f.Opts()
			require.Equal(t, limitsOf(before), limitsOf(now), "nothing has changed")
			require.NoError(t, f.Close())
			require.ErrorIs(t, row.change(f.DB), ErrDBClosed)
		})
	}
}

func limitsOf(o Options) string {
	return fmt.Sprint(o.MemoryLimit, o.Tuning.SoftLimitRatio, o.Tuning.SpillLimitRatio, o.SpillCapacity, o.SpillPolicy, o.Tuning.SpillCacheSize,
		o.Tuning.ReplayMaxRate)
}

// TestOptsShowWhatWasSet: Opts shows what Set... was given, EffectiveOpts what came of it.
func TestOptsShowWhatWasSet(t *testing.T) {
	f := open(t)
	require.NoError(t, f.SetMemoryLimit(3<<20))
	require.NoError(t, f.SetLimitRatios(0.5, 0))
	require.NoError(t, f.SetSpillCapacity(10<<20))
	require.NoError(t, f.SetReplayMaxRate(77))
	require.Equal(t, fmt.Sprint(3<<20, 0.5, 0.9, 10<<20, Auto, 0, 77), limitsOf(f.Opts()))
	require.Equal(t, fmt.Sprint(3<<20, 0.5, 0.9, 10<<20, Auto, 3<<20/32, 77), limitsOf(f.EffectiveOpts()))
	st := f.SpillStats()
	require.EqualValues(t, 3<<20, st.MemoryLimit)
	require.EqualValues(t, 10<<20, st.SpillCapacity)
	require.EqualValues(t, 77, f.replayer.MaxRate())
	require.EqualValues(t, 640<<10, f.segmentSize(), "a sixteenth of the capacity")

	require.NoError(t, f.SetSpillPolicy(Never))
	require.Equal(t, fmt.Sprint(3<<20, 0.5, 0.9, 10<<20, Never, 0, 77), limitsOf(f.Opts()))
	require.Zero(t, f.EffectiveOpts().SpillCapacity)
	require.NoError(t, f.SetSpillPolicy(Always))

	require.NoError(t, f.SetMemoryLimit(0))
	require.NoError(t, f.SetSpillCapacity(0))
	require.NoError(t, f.SetReplayMaxRate(0))
	require.NoError(t, f.SetLimitRatios(0, 0))
	require.Equal(t, fmt.Sprint(0, 0.8, 0.9, DefaultSpillCapacity, Always, 0, 0), limitsOf(f.Opts()))
	memory := int64(f.opt.NumMemtables+1) * f.opt.MemTableSize
	require.Equal(t, fmt.Sprint(memory, 0.8, 0.9, DefaultSpillCapacity, Always, memory/32, 0), limitsOf(f.EffectiveOpts()))
	o := f.Opts()
	require.NoError(t, f.Close())
	again, err := Open(o) // what it shows opens
	require.NoError(t, err)
	require.Equal(t, limitsOf(o), limitsOf(again.Opts()))
	require.NoError(t, again.Close())
}

// TestSharedLimitReachesEveryDatabase: sizes that follow from a shared budget follow its changes.
func TestSharedLimitReachesEveryDatabase(t *testing.T) {
	shared, err := wbm.New(wbm.Options{Limit: 64 << 20})
	require.NoError(t, err)
	share := func(opt *Options) { opt.WriteBufferManager = shared }
	a, b := open(t, share), openAt(t, t.TempDir(), share)
	require.NoError(t, shared.SetLimit(16<<20))
	require.NoError(t, shared.SetRatios(0.25, 0.5))
	for _, f := range []*fixture{a, b} {
		require.Equal(t, fmt.Sprint(16<<20, 0.25, 0.5, DefaultSpillCapacity, Auto, 512<<10, 0), limitsOf(f.EffectiveOpts()))
		require.Equal(t, fmt.Sprint(0, 0.8, 0.9, DefaultSpillCapacity, Auto, 0, 0), limitsOf(f.Opts()), "a budget is not an option")
		require.EqualValues(t, 256<<10, f.indexArena(), "of two databases")
	}
	a.spillOne("k", "v")
	require.LessOrEqual(t, a.account.UsageByKind(wbm.SpillIndex), int64(1<<20))
}

// TestLoweredMemoryLimit: from the moment of the change the tiers are those of the new limit, and
// what is above it is freed.
func TestLoweredMemoryLimit(t *testing.T) {
	f := open(t, noSpill)
	for i := range 20 { // less than an eighth of a memtable
		f.put(key(i), incompressible(32<<10, i))
	}
	require.Greater(t, f.manager.Usage(), int64(512<<10))
	require.Equal(t, wbm.Normal, f.manager.Tier())
	require.NoError(t, f.SetMemoryLimit(512<<10))
	require.Equal(t, wbm.Block, f.manager.Tier())
	// The memtable is not full, and nobody writes: it is sealed for its memory's sake, and commits
	// that wait go on.
	parked := f.putAsync("parked", "v")
	require.NoError(t, receive(t, "the parked commit", parked))
	require.Positive(t, f.stub.seals())
	require.Equal(t, "v", f.get("parked"))
	// Larger than the whole limit, and allowed by MaxBatchSize.
	f.put("large", incompressible(900<<10, 1))
	require.NoError(t, f.SetMemoryLimit(1)) // nothing fits, everything passes alone
	for i := range 8 {
		f.put(key(i), "again")
	}
	require.NoError(t, f.SetMemoryLimit(64<<20))
	require.Equal(t, "again", f.get(key(7)))
	require.Equal(t, incompressible(32<<10, 8), f.get(key(8)))
	require.Equal(t, incompressible(900<<10, 1), f.get("large"))
}

func TestRaisedMemoryLimitWakesParkedCommits(t *testing.T) {
	f := open(t, noSpill)
	f.occupy(f.manager.Limit())
	parked := f.putAsync("k", "v")
	eventually(t, "the commit is parked", f.parked)
	require.NoError(t, f.SetMemoryLimit(2*f.manager.Limit()))
	require.NoError(t, receive(t, "the parked commit", parked))
}

func TestRaisedMemoryLimitWakesReplay(t *testing.T) {
	f := open(t, eager)
	f.occupy(f.share(0.85))
	free := f.occupy(f.share(0.95))
	f.put("k", "v")
	free()
	never(t, 50*time.Millisecond, "replayed above the soft limit", func() bool { return f.stub.loads() > 0 })
	require.NoError(t, f.SetLimitRatios(1, 1))
	eventually(t, "hand-over", func() bool { return f.routerState() == Direct })
}

func TestRatiosHoldAtOnce(t *testing.T) {
	f := open(t)
	f.occupy(f.share(0.5))
	f.put("direct", "v")
	require.Equal(t, Direct, f.routerState())
	require.NoError(t, f.SetLimitRatios(0.2, 0.4))
	f.put("spilled", "v")
	require.Equal(t, Spilling, f.routerState())
}

// TestSpillTurnedOnAndOff: a database that was opened without a spill gets one, loses it, and gets
// it again.
func TestSpillTurnedOnAndOff(t *testing.T) {
	f := open(t, noSpill)
	require.NoDirExists(t, filepath.Join(f.opt.Dir, "spill"))
	require.NoFileExists(t, filepath.Join(f.opt.Dir, marker.IdentityName))
	require.NoError(t, f.Drain(f.ctx)) // there is nothing to drain
	require.NoError(t, f.Sync())
	free := f.occupy(f.manager.Limit() - 128<<10) // the index of a spill needs a little memory
	first := incompressible(200<<10, 1)
	parked := f.putAsync("k", first)
	eventually(t, "the commit is parked", f.parked)
	require.NoError(t, f.giveSpill(1<<20))
	require.NoError(t, receive(t, "the parked commit", parked))
	require.Equal(t, Spilling, f.routerState())
	require.Equal(t, first, f.get("k"))
	require.Equal(t, absent, f.inBadger("k"))
	require.True(t, interlocked(f.DB))

	// It is as good as one that was there from the beginning.
	again := openAt(t, crash(t, f.opt.Dir))
	require.Equal(t, first, again.get("k"))
	require.Positive(t, again.SpillStats().SpillPending)

	free()
	require.NoError(t, f.SetSpillPolicy(Never))
	eventually(t, "it is replayed, since nothing may be in it", func() bool { return f.routerState() == Direct })
	f.put("k", "2")
	f.direct()
	require.Equal(t, "2", f.inBadger("k"))
	require.NoError(t, f.giveSpill(1<<20))
	f.spillOne("k", "3")
	require.Equal(t, "3", f.get("k"))
}

// TestSpillThatCannotBeMade: the capacity stays 0, the next try succeeds, and the directory of
// another database is left alone.
func TestSpillThatCannotBeMade(t *testing.T) {
	f := open(t, noSpill)
	f.hooks.set(func(op, path string) error {
		if op == "rename" && filepath.Base(path) == "MANIFEST" {
			return errTest
		}
		return nil
	})
	require.ErrorIs(t, f.giveSpill(1<<20), errTest)
	require.NoFileExists(t, filepath.Join(f.opt.Dir, marker.IdentityName))
	require.Equal(t, Never, f.Opts().SpillPolicy)
	f.put("k", "1")
	f.hooks.clear()

	other := open(t)
	other.spillOne("theirs", "v")
	spill := filepath.Join(f.opt.Dir, "spill")
	require.NoError(t, os.RemoveAll(spill))
	require.NoError(t, os.Rename(filepath.Join(crash(t, other.opt.Dir), "spill"), spill))
	require.ErrorIs(t, f.giveSpill(1<<20), ErrForeignSpill)
	require.Equal(t, Never, f.Opts().SpillPolicy)
	require.NoError(t, os.RemoveAll(spill))

	require.NoError(t, f.giveSpill(1<<20))
	f.spillOne("k", "2")
	require.Equal(t, "2", f.get("k"))
}

// TestLoweredSpillCapacity: what is above the new capacity is replayed, whoever waits for that goes
// on.
func TestLoweredSpillCapacity(t *testing.T) {
	for _, policy := range []SpillPolicy{Auto, Always} {
		t.Run(policy.String(), func(t *testing.T) {
			f := open(t, func(opt *Options) { opt.SpillPolicy, opt.Tuning.ReplayHighWater = policy, 1 })
			free := f.occupy(f.share(0.95))
			for i := range 64 {
				f.put(key(i), incompressible(16<<10, i))
			}
			free()
			require.Greater(t, f.spill.Usage(), int64(1<<20))
			require.NoError(t, f.SetSpillCapacity(64<<10))
			require.EqualValues(t, 4<<10, f.segmentSize())
			require.NoError(t, receive(t, "a commit", f.putAsync("small", "v")))
			// Larger than the capacity: it must get through, wherever.
			large := incompressible(500<<10, 1)
			require.NoError(t, receive(t, "a large commit", f.putAsync("large", large)))
			require.NoError(t, receive(t, "a commit after it", f.putAsync("small", "w")))
			require.Equal(t, large, f.get("large"))
			require.Equal(t, "w", f.get("small"))
			for i := range 64 {
				require.Equal(t, incompressible(16<<10, i), f.get(key(i)))
			}
			f.drained()
			eventually(t, "the spill keeps to its capacity", func() bool { return f.spill.Usage() <= 64<<10 })
			require.Zero(t, f.manager.Leaks())
		})
	}
}

func TestRaisedSpillCapacityWakesParkedCommits(t *testing.T) {
	f := open(t, func(opt *Options) { opt.SpillCapacity, opt.Tuning.ReplayHighWater = 64<<10, 1 })
	// replay does not help
	f.stub.set(func() { f.stub.mu.onLoad = func(int, []entry) error { return errTest } })
	f.occupy(f.share(0.95))
	for i := 0; !f.spill.IsSpilloverFull(16<<10, 0); i++ {
		f.put(key(i), incompressible(8<<10, i))
	}
	parked := f.putAsync("parked", incompressible(40<<10, 1))
	eventually(t, "the commit is parked", f.parked)
	require.NoError(t, f.SetSpillCapacity(1<<20))
	require.NoError(t, receive(t, "the parked commit", parked))
}

// TestReplayRateHoldsForARunUnderWay: a ceiling that is taken away ends the rest that it has
// caused.
func TestReplayRateHoldsForARunUnderWay(t *testing.T) {
	f := open(t, func(opt *Options) {
		opt.Tuning.ReplayMaxRate = 1
		opt.seams.strain = func(float64) float64 { return 0 }
	}, eager)
	free := f.occupy(f.share(0.95))
	for i := range 8 {
		f.put(key(i), incompressible(64<<10, i))
	}
	free()
	eventually(t, "replay has begun", func() bool { return f.stub.loads() > 0 })
	never(t, 100*time.Millisecond, "replayed past the ceiling", func() bool { return f.routerState() == Direct })
	require.NoError(t, f.SetReplayMaxRate(0))
	eventually(t, "the end of the run", func() bool { return f.routerState() == Direct })
}

// TestLimitsChangeUnderLoad changes all limits at random beside writers, readers, replay and
// drains. Everything ends, what was acknowledged is there after a crash and after a Close, and what
// is counted in the end is what is held.
func TestLimitsChangeUnderLoad(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*Options)
	}{
		{"auto", func(opt *Options) { opt.StallThreshold = 2 * time.Millisecond }},
		{"rate", func(opt *Options) { opt.Tuning.SpillRate = 50 }},
		{"always", func(opt *Options) { opt.SpillPolicy = Always }},
		{"opened without a spill", noSpill},
		{"sync", func(opt *Options) { opt.SyncWrites, opt.StallThreshold = true, 2*time.Millisecond }},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := random(t)
			// Tables only come: the copy of a crash must not miss one that goes.
			flat := func(opt *Options) {
				opt.NumLevelZeroTables, opt.NumLevelZeroTablesStall = 1000, 2000
			}
			f := open(t, small, eager, flat, row.change)
			const writers = 6
			var sizes [writers]int
			for w := range sizes {
				sizes[w] = 100 << r.IntN(10) // up to 50 KiB
			}
			limit := time.Now().Add(1500 * time.Millisecond)
			var load, changes kit.WaitGroup
			var acked [writers]atomic.Int64
			stop := make(chan struct{})
			changes.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					n := int64(1) << r.IntN(24)
					switch r.IntN(5) {
					case 0:
						require.NoError(t, f.SetMemoryLimit(n))
					case 1:
						soft := 0.01 + 0.99*r.Float64()
						require.NoError(t, f.SetLimitRatios(soft, soft+(1-soft)*r.Float64()))
					case 2:
						if r.IntN(3) == 0 {
							n = 0
						}
						require.NoError(t, f.SetSpillCapacity(n))
					case 3:
						require.NoError(t, f.SetSpillPolicy(SpillPolicy(r.IntN(3))))
					default:
						require.NoError(t, f.SetReplayMaxRate(n))
					}
					opt := f.Opts()
					require.LessOrEqual(t, opt.Tuning.SoftLimitRatio, opt.Tuning.SpillLimitRatio)
					pause(r.IntN(3000))
				}
			})
			for w := range writers {
				size := sizes[w]
				load.Go(func() {
					for n := int64(1); time.Now().Before(limit); n++ {
						value := fmt.Sprintf("%d %s", n, incompressible(size, int(n)))
						if err := put(f.DB, fmt.Sprint("w", w), value); err != nil {
							t.Errorf("writer %d: %v", w, err)
							return
						}
						acked[w].Store(n)
					}
				})
			}
			load.Go(func() {
				for time.Now().Before(limit) {
					var least [writers]int64
					for w := range writers {
						least[w] = acked[w].Load()
					}
					require.NoError(t, f.View(func(txn *Txn) error {
						it := txn.NewIterator(DefaultIteratorOptions)
						defer it.Close()
						for it.Rewind(); it.Valid(); it.Next() {
							var w, n int64
							_, _ = fmt.Sscanf(string(it.Item().Key()), "w%d", &w)
							require.NoError(t, it.Item().Value(func(v []byte) error {
								_, err := fmt.Sscanf(string(v[:min(len(v), 20)]), "%d ", &n)
								return err
							}))
							if n < least[w] {
								t.Errorf("writer %d: read %d, acknowledged was %d", w, n, least[w])
							}
						}
						return nil
					}))
				}
			})
			load.Go(func() {
				for time.Now().Before(limit) {
					ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
					if err := f.Drain(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Drain: %v", err)
					}
					cancel()
				}
			})
			load.Wait()
			close(stop)
			changes.Wait()
			check := func(db *DB) {
				for w := range writers {
					if n := acked[w].Load(); n > 0 {
						require.Contains(t, get(t, db, fmt.Sprint("w", w)), fmt.Sprintf("%d ", n))
					}
				}
			}
			check(f.DB)
			crashed := openAt(t, crash(t, f.opt.Dir), small, row.change)
			check(crashed.DB)
			require.NoError(t, crashed.Close())

			require.NoError(t, f.SetMemoryLimit(0))
			require.NoError(t, f.SetLimitRatios(0, 0))
			require.NoError(t, f.SetSpillCapacity(0))
			require.NoError(t, f.SetSpillPolicy(f.opt.SpillPolicy))
			f.drained()
			eventually(t, "usage is what is held", func() bool {
				disk, index := f.log.Usage()
				return f.account.UsageByKind(wbm.InFlight) == 0 && f.account.UsageByKind(wbm.SpillIndex) == index && f.spill.Usage() == disk
			})
			require.Zero(t, f.manager.Leaks())
			require.NoError(t, f.Close())
			require.Zero(t, f.manager.Usage())
			closed := openAt(t, f.opt.Dir, small, row.change)
			check(closed.DB)
		})
	}
}

// TestLimitsChangeBesideClose: neither waits for the other, and a call on a closed database says
// so.
func TestLimitsChangeBesideClose(t *testing.T) {
	r := random(t)
	for range 8 {
		f := open(t, noSpill)
		var changes kit.WaitGroup
		for range 3 {
			seed := r.Uint64()
			changes.Go(func() {
				r := rand.New(rand.NewPCG(seed, 0))
				for {
					err := errors.Join(f.SetMemoryLimit(1+r.Int64N(1<<24)), f.SetSpillCapacity(r.Int64N(2)<<20), f.SetReplayMaxRate(1))
					if err != nil {
						if !errors.Is(err, ErrDBClosed) {
							t.Errorf("%v", err)
						}
						return
					}
					_ = put(f.DB, "k", "v")
				}
			})
		}
		pause(r.IntN(3000))
		require.NoError(t, f.Close())
		changes.Wait()
	}
}

// pause lets some microseconds pass between two random steps.
func pause(us int) { <-time.After(time.Duration(us) * time.Microsecond) }
