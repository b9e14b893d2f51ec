package badgerspill

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
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
	o.DrainOnClose = false
	if engine == "spill" {
		o.SpillPolicy = Always
	}
	db, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	return spillBench{db}
}

// BenchmarkUpdate commits one key of 1 KiB per transaction: "badgerspill" under Auto, "spill" through the spill alone.
func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		for _, engine := range []string{"badger", "badgerspill", "spill"} {
			b.Run(fmt.Sprintf("writers=%d/engine=%s", writers, engine), func(b *testing.B) {
				db := openBench(b, engine)
				defer db.Close()
				value := benchValue()
				var next atomic.Int64
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
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
