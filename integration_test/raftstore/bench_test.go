package raftstore

import (
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/raft"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// BenchmarkStoreLogs stores entries of 1 KiB as raft does, one call after the other, in a Store and
// by the same transactions in plain Badger, both with SyncWrites. It reports entries a second, and
// the medians of the ratios to plain Badger of these and of the 99th percentile of a call. One
// iteration is one pair.
func BenchmarkStoreLogs(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("entries=%d", size), func(b *testing.B) {
			var plain, layer, rates, tails []float64
			for b.Loop() {
				p, l := storePlain(b, size), storeLayer(b, size)
				plain, layer = append(plain, p.rate), append(layer, l.rate)
				rates, tails = append(rates, l.rate/p.rate), append(tails, float64(l.p99)/float64(p.p99))
			}
			b.ReportMetric(median(plain), "badger-entries/s")
			b.ReportMetric(median(layer), "badgerspill-entries/s")
			b.ReportMetric(median(rates), "ratio-entries/s")
			b.ReportMetric(median(tails), "ratio-p99")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

type storeRun struct {
	rate float64
	p99  time.Duration
}

// measureStore calls store for two thousand times.
func measureStore(b *testing.B, size int, store func(logs []*raft.Log) error) storeRun {
	const calls = 2000
	logs := make([]*raft.Log, size)
	data := make([]byte, 1024)
	_, _ = rand.Read(data)
	for i := range logs {
		logs[i] = &raft.Log{Term: 1, Data: data, AppendedAt: time.Now()}
	}
	took := make([]time.Duration, calls)
	begin := time.Now()
	for i := range took {
		for j, l := range logs {
			l.Index = uint64(i*size + j + 1)
		}
		start := time.Now()
		if err := store(logs); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(start)
	}
	all := time.Since(begin)
	slices.Sort(took)
	return storeRun{float64(calls*size) / all.Seconds(), took[calls*99/100]}
}

func storeLayer(b *testing.B, size int) storeRun {
	db, err := badgerspill.Open(badgerspill.DefaultOptions(b.TempDir()).WithLogger(nil).WithSyncWrites(true).WithDrainOnClose(false))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	s, err := New(db)
	if err != nil {
		b.Fatal(err)
	}
	return measureStore(b, size, s.StoreLogs)
}

func storePlain(b *testing.B, size int) storeRun {
	db, err := badger.Open(badger.DefaultOptions(b.TempDir()).WithLogger(nil).WithSyncWrites(true))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	return measureStore(b, size, func(logs []*raft.Log) error {
		return db.Update(func(txn *badger.Txn) error {
			for _, l := range logs {
				if err := txn.Set(logKey(l.Index), encodeEntry(l)); err != nil {
					return err
				}
			}
			return nil
		})
	})
}
