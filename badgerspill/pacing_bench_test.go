package badgerspill

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/integration_test/kit"
)

var besideEntries = flag.Int("beside", 500_000, "entries of 1 KiB in the database, and as many in the spill, of BenchmarkForegroundBesideReplay")

// BenchmarkForegroundBesideReplay reports what a foreground of 2,000 reads and 500 writes a second
// sees, from when each was due. It does so on plain Badger that compacts what it was just given by
// a WriteBatch, and on the layer while a spill with the same entries is being replayed. That is
// without and with pacing, the latter with data younger and older than MaxSpillAge. "settled"
// metrics go on until compaction has caught up. One iteration is one run, of half a minute to two.
// Nothing else should run: others-% is what other processes had of the cores, the kernel for
// writing back included (15 to 30).
func BenchmarkForegroundBesideReplay(b *testing.B) {
	n := uint64(*besideEntries)
	filled := b.TempDir()
	opt := func(dir string) badger.Options { return badger.DefaultOptions(dir).WithLogger(nil) }
	db, err := badger.Open(opt(filled))
	if err != nil {
		b.Fatal(err)
	}
	entries := rand.New(rand.NewPCG(1, 1))
	if err := writeBeside(db.NewWriteBatch(), n, func(i uint64) uint64 { return i }, entries); err != nil {
		b.Fatal(err)
	}
	untilSettled(db)
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	anywhere := func(uint64) uint64 { return entries.Uint64N(2 * n) } // half of them are new

	b.Run("badger-compacting", func(b *testing.B) {
		for b.Loop() {
			db, err := badger.Open(opt(clonedDir(b, filled)))
			if err != nil {
				b.Fatal(err)
			}
			if err := writeBeside(db.NewWriteBatch(), n, anywhere, entries); err != nil {
				b.Fatal(err)
			}
			f := startForeground(n, plainBench{db}.get, plainBench{db}.update)
			untilSettled(db)
			f.end()
			f.report(b, "settled", 0, f.took)
			if err := errors.Join(f.err, db.Close()); err != nil {
				b.Fatal(err)
			}
		}
	})

	spilled := clonedDir(b, filled)
	o := OptionsFrom(opt(spilled)).WithSpillPolicy(Always).WithDrainOnClose(false)
	o = o.WithQuiet(1, time.Hour).WithMaxSpillAge(time.Hour).WithReplayHighWater(1) // no replay yet
	// of which the index may have half
	o = o.WithMemoryLimit(16 << 30).WithNumMemtables(5)
	layer, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(writeBeside(layer.NewWriteBatch(), n, anywhere, entries), layer.Close()); err != nil {
		b.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		maxAge time.Duration
		strain func(float64) float64
	}{
		{"pacing=off", time.Hour, func(float64) float64 { return 0 }},
		{"pacing=on", time.Hour, nil},
		{"pacing=on-old-data", time.Second, nil},
	} {
		b.Run(row.name, func(b *testing.B) {
			for b.Loop() {
				o := OptionsFrom(opt(clonedDir(b, spilled))).WithMaxSpillAge(row.maxAge).WithQuiet(0, 100*time.Millisecond)
				o.seams.strain = row.strain
				db, err := Open(o)
				if err != nil {
					b.Fatal(err)
				}
				f := startForeground(n, spillBench{db}.get, spillBench{db}.update)
				for db.SpillStats().SpillPending > 0 {
					time.Sleep(20 * time.Millisecond)
				}
				replayed := time.Since(f.begun)
				untilSettled(db.inner)
				f.end()
				f.report(b, "replay", 0, replayed)
				f.report(b, "settled", 0, f.took)
				b.ReportMetric(db.SpillStats().ReplayPausedTime.Seconds(), "paused-s")
				if err := errors.Join(f.err, db.Close()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func (p plainBench) get(key []byte) error {
	return p.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		return item.Value(func([]byte) error { return nil })
	})
}

func (s spillBench) get(key []byte) error {
	return s.View(func(txn *Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		return item.Value(func([]byte) error { return nil })
	})
}

// writeBeside writes n entries with values that do not compress.
func writeBeside(batch interface {
	Set(key, value []byte) error
	Flush() error
}, n uint64, key func(i uint64) uint64, r *rand.Rand) error {
	for i := range n {
		value := make([]byte, 1024)
		for j := 0; j < len(value); j += 8 {
			binary.LittleEndian.PutUint64(value[j:], r.Uint64())
		}
		if err := batch.Set(benchKey(make([]byte, 16), key(i)), value); err != nil {
			return err
		}
	}
	return batch.Flush()
}

func untilSettled(db *badger.DB) {
	for slices.ContainsFunc(db.Levels(), func(l badger.LevelInfo) bool { return l.Score >= 1 }) {
		time.Sleep(20 * time.Millisecond)
	}
}

func clonedDir(b *testing.B, from string) string {
	to := b.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		b.Fatal(err)
	}
	return to
}

// foreground is a load with a fixed rate.
type foreground struct {
	begun  time.Time
	took   time.Duration
	cancel context.CancelFunc
	wg     kit.WaitGroup
	cpu    cpuTimes
	others float64

	mu            sync.Mutex
	reads, writes []besideOp
	err           error
}

type besideOp struct{ due, took time.Duration }

func startForeground(keys uint64, get func(key []byte) error, update func(key, value []byte) error) *foreground {
	ctx, cancel := context.WithCancel(context.Background())
	f := &foreground{begun: time.Now(), cancel: cancel, cpu: readCPU()}
	worker := func(id uint64, every time.Duration, ops *[]besideOp, do func(key []byte) error) {
		f.wg.Go(func() {
			r := rand.New(rand.NewPCG(id, 2))
			var mine []besideOp
			var failed error
			for due := time.Duration(r.Int64N(int64(every))); ctx.Err() == nil && failed == nil; due += every {
				time.Sleep(due - time.Since(f.begun))
				failed = do(benchKey(make([]byte, 16), r.Uint64N(keys)))
				mine = append(mine, besideOp{due, time.Since(f.begun) - due})
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			*ops = append(*ops, mine...)
			f.err = errors.Join(f.err, failed)
		})
	}
	for i := range uint64(8) {
		worker(i, 4*time.Millisecond, &f.reads, get)
	}
	value := benchValue()
	for i := range uint64(4) {
		worker(8+i, 8*time.Millisecond, &f.writes, func(key []byte) error { return update(key, value) })
	}
	return f
}

func (f *foreground) end() {
	f.took = time.Since(f.begun)
	f.others = f.cpu.others(readCPU())
	f.cancel()
	f.wg.Wait()
}

func (f *foreground) report(b *testing.B, phase string, from, to time.Duration) {
	for _, kind := range []struct {
		name string
		ops  []besideOp
	}{{"read", f.reads}, {"write", f.writes}} {
		var took []time.Duration
		for _, op := range kind.ops {
			if op.due >= from && op.due < to {
				took = append(took, op.took)
			}
		}
		slices.Sort(took)
		for _, p := range []int{50, 95, 99} {
			ms := float64(took[len(took)*p/100].Microseconds()) / 1000
			b.ReportMetric(ms, fmt.Sprintf("%s-%s-p%d-ms", phase, kind.name, p))
		}
	}
	b.ReportMetric((to - from).Seconds(), phase+"-s")
	b.ReportMetric(f.others, "others-%")
	b.ReportMetric(0, "ns/op")
}

// cpuTimes are the seconds that all processes, and this one, have had of the cores.
type cpuTimes struct{ all, mine, total float64 }

// readCPU returns zeroes where /proc/stat is not as on Linux.
func readCPU() (c cpuTimes) {
	stat, _ := os.ReadFile("/proc/stat")
	var t [8]float64 // user nice system idle iowait irq softirq steal, in 1/100 s
	if line, _, ok := strings.Cut(string(stat), "\n"); ok {
		_, _ = fmt.Sscanf(line, "cpu %f %f %f %f %f %f %f %f", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7])
	}
	for i, v := range t {
		c.total += v / 100
		if i != 3 && i != 4 {
			c.all += v / 100
		}
	}
	self, _ := os.ReadFile("/proc/self/stat")
	if i := strings.LastIndexByte(string(self), ')'); i >= 0 { // the name before it may be anything
		if fields := strings.Fields(string(self[i+1:])); len(fields) > 12 {
			var user, system float64
			_, _ = fmt.Sscan(fields[11], &user)
			_, _ = fmt.Sscan(fields[12], &system)
			c.mine = (user + system) / 100
		}
	}
	return c
}

// others returns the share in percent that other processes have had since c.
func (c cpuTimes) others(now cpuTimes) float64 {
	return 100 * max(0, now.all-c.all-(now.mine-c.mine)) / max(0.01, now.total-c.total)
}
