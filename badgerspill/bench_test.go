package badgerspill

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/wbm"
)

// Benchmarks against plain Badger: read them with benchstat, by the name of the engine.

func benchValue() []byte {
	v := make([]byte, 1024)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(v)
	return v
}

func benchKey(buf []byte, n uint64) []byte {
	binary.BigEndian.PutUint64(buf, n*0x9E3779B97F4A7C15)
	binary.BigEndian.PutUint64(buf[8:], n)
	return buf[:16]
}

type benchDB interface {
	update(key, value []byte) error
	Close() error
}

type plainBench struct{ *badger.DB }

func (p plainBench) update(key, value []byte) error {
	return p.Update(func(txn *badger.Txn) error { return txn.Set(key, value) })
}

type spillBench struct{ *DB }

func (s spillBench) update(key, value []byte) error {
	return s.Update(func(txn *Txn) error { return txn.Set(key, value) })
}

func openBench(b *testing.B, engine string) benchDB {
	opt := badger.DefaultOptions(b.TempDir()).WithLogger(nil)
	if engine == "badger" {
		db, err := badger.Open(opt)
		if err != nil {
			b.Fatal(err)
		}
		return plainBench{db}
	}
	o := OptionsFrom(opt)
	o.KeepSpillOnClose = true
	switch engine {
	case "spill":
		o.SpillPolicy = Always
	case "direct":
		o.Tuning.SpillRate = -1
	}
	db, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	return spillBench{db}
}

// BenchmarkUpdate commits one key of 1 KiB per transaction: "badgerspill" by default, "direct"
// without a SpillRate, "spill" through the spill alone.
func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		for _, engine := range []string{"badger", "badgerspill", "direct", "spill"} {
			b.Run(fmt.Sprintf("writers=%d/engine=%s", writers, engine), func(b *testing.B) {
				db := openBench(b, engine)
				defer db.Close()
				value := benchValue()
				var next atomic.Int64
				b.ReportAllocs()
				b.ResetTimer()
				var wg kit.WaitGroup
				for range writers {
					wg.Go(func() {
						buf := make([]byte, 16)
						for {
							n := next.Add(1)
							if n > int64(b.N) {
								return
							}
							if err := db.update(benchKey(buf, uint64(n)), value); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

// BenchmarkSingleWriter reports the median latency of an Update that goes to Badger: pairs of runs,
// plain Badger and the layer in turn, of 10,000 commits each, and the median of the ratios. One
// iteration is one pair.
func BenchmarkSingleWriter(b *testing.B) {
	const commits = 10_000
	value := benchValue()
	run := func(engine string) time.Duration {
		db := openBench(b, engine)
		defer db.Close()
		took := make([]time.Duration, commits)
		buf := make([]byte, 16)
		for i := range took {
			begin := time.Now()
			if err := db.update(benchKey(buf, uint64(i)), value); err != nil {
				b.Fatal(err)
			}
			took[i] = time.Since(begin)
		}
		slices.Sort(took)
		return took[commits/2]
	}
	var plain, layer []time.Duration
	var ratios []float64
	for b.Loop() {
		p, l := run("badger"), run("direct")
		plain, layer = append(plain, p), append(layer, l)
		ratios = append(ratios, float64(l)/float64(p))
	}
	slices.Sort(plain)
	slices.Sort(layer)
	slices.Sort(ratios)
	n := len(ratios)
	b.ReportMetric(float64(plain[n/2]), "badger-p50-ns")
	b.ReportMetric(float64(layer[n/2]), "badgerspill-p50-ns")
	b.ReportMetric(ratios[n/2], "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkBurst offers 60,000 commits of 1 KiB a second from 64 writers for 10 s to the layer, and
// reports the latency from when each was due. One iteration is one burst. For both engines side by
// side: spillbench burst.
func BenchmarkBurst(b *testing.B) {
	const (
		rate    = 60_000
		seconds = 10
		writers = 64
	)
	value := benchValue()
	for b.Loop() {
		db := openBench(b, "badgerspill")
		took := make([]time.Duration, rate*seconds)
		var next atomic.Int64
		var wg kit.WaitGroup
		begin := time.Now()
		for range writers {
			wg.Go(func() {
				buf := make([]byte, 16)
				for {
					n := next.Add(1) - 1
					if n >= int64(len(took)) {
						return
					}
					due := begin.Add(time.Duration(n) * time.Second / rate)
					if wait := time.Until(due); wait > 0 {
						time.Sleep(wait)
					}
					if err := db.update(benchKey(buf, uint64(n)), value); err != nil {
						b.Error(err)
						return
					}
					took[n] = time.Since(due)
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(len(took))/time.Since(begin).Seconds(), "commits/s")
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
		_ = db.Close()
	}
}

// BenchmarkHandOver reports for how long writers are held up by the turn from the spill back to
// Badger, with and without commits that come meanwhile.
func BenchmarkHandOver(b *testing.B) {
	value := benchValue()
	for _, writing := range []bool{false, true} {
		b.Run(fmt.Sprintf("writing=%v", writing), func(b *testing.B) {
			var mu sync.Mutex
			var held []time.Duration
			o := OptionsFrom(badger.DefaultOptions(b.TempDir()).WithLogger(nil)).WithSpillRate(-1)
			o.EventListener = &EventListener{HandOver: func(i HandOverInfo) {
				mu.Lock()
				defer mu.Unlock()
				held = append(held, i.Held)
			}}
			db, err := Open(o)
			if err != nil {
				b.Fatal(err)
			}
			stop := make(chan struct{})
			var wg kit.WaitGroup
			if writing {
				wg.Go(func() {
					buf := make([]byte, 16)
					for n := uint64(0); ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						_ = spillBench{db}.update(benchKey(buf, n), value)
						time.Sleep(time.Millisecond)
					}
				})
			}
			buf := make([]byte, 16)
			for b.Loop() {
				n := int64(0.95*float64(db.manager.Limit())) - db.manager.Usage()
				db.account.Force(wbm.Memtable, n)
				err := spillBench{db}.update(benchKey(buf, 1), value)
				db.account.Release(wbm.Memtable, n)
				if err == nil {
					err = db.Drain(b.Context())
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			close(stop)
			wg.Wait()
			if err := db.Close(); err != nil {
				b.Fatal(err)
			}
			slices.Sort(held)
			b.ReportMetric(float64(held[len(held)/2].Microseconds()), "held-p50-µs")
			b.ReportMetric(float64(held[len(held)*99/100].Microseconds()), "held-p99-µs")
		})
	}
}
