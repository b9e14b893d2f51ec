package badgerspill

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// Benchmarks of reads and of larger transactions with an empty spill, against plain Badger: run
// them with -benchmem.

const benchKeys = 100_000

// plainOrSpill is what both engines have in common for these benchmarks.
type plainOrSpill struct {
	plain *badger.DB
	layer *DB
}

// openFilled opens what plain Badger has written and flushed, so that both engines read the same
// tables.
func openFilled(b *testing.B, engine string) *plainOrSpill {
	opt := badger.DefaultOptions(b.TempDir()).WithLogger(nil)
	db, err := badger.Open(opt)
	if err != nil {
		b.Fatal(err)
	}
	wb, buf, value := db.NewWriteBatch(), make([]byte, 16), benchValue()[:100]
	for i := range benchKeys {
		if err := wb.Set(slices.Clone(benchKey(buf, uint64(i))), value); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(wb.Flush(), db.Close()); err != nil {
		b.Fatal(err)
	}
	p := &plainOrSpill{}
	if engine == "badger" {
		p.plain, err = badger.Open(opt)
	} else {
		p.layer, err = Open(OptionsFrom(opt))
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if p.plain != nil {
			_ = p.plain.Close()
		} else {
			_ = p.layer.Close()
		}
	})
	return p
}

// get reads n keys in one transaction.
func (p *plainOrSpill) get(n int) error {
	buf := make([]byte, 16)
	ignore := func([]byte) error { return nil }
	if p.plain != nil {
		return p.plain.View(func(txn *badger.Txn) error {
			for i := range n {
				item, err := txn.Get(benchKey(buf, uint64(i*7919%benchKeys)))
				if err != nil {
					return err
				}
				if err := item.Value(ignore); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return p.layer.View(func(txn *Txn) error {
		for i := range n {
			item, err := txn.Get(benchKey(buf, uint64(i*7919%benchKeys)))
			if err != nil {
				return err
			}
			if err := item.Value(ignore); err != nil {
				return err
			}
		}
		return nil
	})
}

// iterate visits n items.
func (p *plainOrSpill) iterate(n int) error {
	ignore := func([]byte) error { return nil }
	if p.plain != nil {
		return p.plain.View(func(txn *badger.Txn) error {
			it := txn.NewIterator(badger.DefaultIteratorOptions)
			defer it.Close()
			it.Rewind()
			for range n {
				if !it.Valid() {
					it.Rewind()
				}
				if err := it.Item().Value(ignore); err != nil {
					return err
				}
				it.Next()
			}
			return nil
		})
	}
	return p.layer.View(func(txn *Txn) error {
		it := txn.NewIterator(DefaultIteratorOptions)
		defer it.Close()
		it.Rewind()
		for range n {
			if !it.Valid() {
				it.Rewind()
			}
			if err := it.Item().Value(ignore); err != nil {
				return err
			}
			it.Next()
		}
		return nil
	})
}

// sets commits n transactions of ten sets.
func (p *plainOrSpill) sets(n int) error {
	value := benchValue()[:100]
	for i := range n {
		keys := make([]byte, 160)
		if p.plain != nil {
			if err := p.plain.Update(func(txn *badger.Txn) error {
				for j := range 10 {
					if err := txn.Set(benchKey(keys[16*j:], uint64(i*10+j)), value); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return err
			}
			continue
		}
		if err := p.layer.Update(func(txn *Txn) error {
			for j := range 10 {
				if err := txn.Set(benchKey(keys[16*j:], uint64(i*10+j)), value); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

var readBenches = []struct {
	name string
	run  func(p *plainOrSpill, n int) error
	n    int // operations of a run in BenchmarkRatios
}{
	{"Get", (*plainOrSpill).get, 100_000},
	{"Next", (*plainOrSpill).iterate, 200_000},
	{"TxnOf10Sets", (*plainOrSpill).sets, 4_000},
}

// BenchmarkOps gives time and allocations of one operation.
func BenchmarkOps(b *testing.B) {
	for _, r := range readBenches {
		for _, engine := range []string{"badger", "badgerspill"} {
			b.Run(fmt.Sprintf("%s/%s", r.name, engine), func(b *testing.B) {
				p := openFilled(b, engine)
				b.ReportAllocs()
				b.ResetTimer()
				if err := r.run(p, b.N); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// BenchmarkRatios runs both engines in turn, and reports the median of the ratios of their times.
// One iteration is one pair.
func BenchmarkRatios(b *testing.B) {
	for _, r := range readBenches {
		b.Run(r.name, func(b *testing.B) {
			engines := []*plainOrSpill{openFilled(b, "badger"), openFilled(b, "badgerspill")}
			var ratios []float64
			for b.Loop() {
				var took [2]time.Duration
				for i, p := range engines {
					begin := time.Now()
					if err := r.run(p, r.n); err != nil {
						b.Fatal(err)
					}
					took[i] = time.Since(begin)
				}
				ratios = append(ratios, float64(took[1])/float64(took[0]))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkIterateOverHiddenVersions iterates over spilled keys with values. Of versions that do
// not show nothing should be read, and passing them should cost little.
func BenchmarkIterateOverHiddenVersions(b *testing.B) {
	const keys = 5_000
	for _, reverse := range []bool{false, true} {
		for _, versions := range []int{1, 20} {
			b.Run(fmt.Sprintf("reverse=%v/versions=%d", reverse, versions), func(b *testing.B) {
				var reads atomic.Int64
				disk := vfstest.NewFaults(spillfile.OS, func(op, _ string) error {
					if op == "read" {
						reads.Add(1)
					}
					return nil
				})
				opt := DefaultOptions(b.TempDir()).WithLogger(nil).WithSpillPolicy(Always).WithQuiet(1e-9, time.Hour).WithMaxSpillAge(time.Hour)
				opt.seams.fs, opt.KeepSpillOnClose = disk, true
				db, err := Open(opt)
				if err != nil {
					b.Fatal(err)
				}
				defer db.Close()
				buf := make([]byte, 16)
				for range versions {
					wb := db.NewWriteBatch()
					for i := range keys {
						if err := wb.Set(slices.Clone(benchKey(buf, uint64(i))), benchValue()); err != nil {
							b.Fatal(err)
						}
					}
					if err := wb.Flush(); err != nil {
						b.Fatal(err)
					}
				}
				if err := db.log.Seal(); err != nil {
					b.Fatal(err)
				}
				files := func(ext string) int {
					names, err := filepath.Glob(filepath.Join(opt.Dir, "spill", "*"+ext))
					if err != nil {
						b.Fatal(err)
					}
					return len(names)
				}
				for files(".idx") < files(".seg")-1 { // of all but the one that is written
					time.Sleep(10 * time.Millisecond)
				}
				opts := DefaultIteratorOptions
				opts.Reverse = reverse
				b.ResetTimer()
				before := reads.Load()
				for range b.N {
					n := 0
					err := db.View(func(txn *Txn) error {
						it := txn.NewIterator(opts)
						defer it.Close()
						for it.Rewind(); it.Valid(); it.Next() {
							if err := it.Item().Value(func([]byte) error { n++; return nil }); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil || n != keys {
						b.Fatal(n, err)
					}
				}
				b.ReportMetric(float64(reads.Load()-before)/float64(b.N), "reads/op")
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/key")
			})
		}
	}
}
