package spillfile

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit"
)

// half random, half zero: snappy has something to do.
func benchValue() []byte {
	v := make([]byte, 1024)
	copy(v, randomValue(rand.New(rand.NewPCG(1, 2)), 512))
	return v
}

func benchmarkAppend(b *testing.B, writers int, key []byte) {
	o := Options{Dir: b.TempDir(), DatabaseID: testID, EncryptionKey: key}
	l := mustOpen(b, o)
	defer l.Close()
	value := benchValue()
	var mu sync.Mutex
	var ts uint64
	var left atomic.Int64
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	commit := func(k []byte) error {
		batch := NewBatch()
		e := Entry{Key: k, Value: value}
		batch.Add(&e)
		batch.Finish()
		mu.Lock()
		ts++
		now := ts
		l.Enqueue(batch, now)
		mu.Unlock()
		err := l.Commit(batch)
		batch.Free()
		// The disk of a test machine is finite.
		if now%200_000 == 0 {
			return l.MarkReplayed(now - 1000)
		}
		return err
	}
	if writers == 1 {
		k := make([]byte, 16)
		r := rand.New(rand.NewPCG(3, 4))
		for b.Loop() {
			le.PutUint64(k, r.Uint64())
			if err := commit(k); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg kit.WaitGroup
	for w := range writers {
		wg.Go(func() {
			k := make([]byte, 16)
			r := rand.New(rand.NewPCG(5, uint64(w)))
			for left.Add(-1) >= 0 {
				le.PutUint64(k, r.Uint64())
				if err := commit(k); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkAppend1Writer(b *testing.B)            { benchmarkAppend(b, 1, nil) }
func BenchmarkAppend64Writers(b *testing.B)          { benchmarkAppend(b, 64, nil) }
func BenchmarkAppend64WritersEncrypted(b *testing.B) { benchmarkAppend(b, 64, make([]byte, 32)) }

func BenchmarkEncode(b *testing.B) {
	value := benchValue()
	key := []byte("0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		batch := NewBatch()
		batch.Add(&Entry{Key: key, Value: value})
		batch.Finish()
		batch.Free()
	}
}

func BenchmarkViewGet(b *testing.B) {
	l := mustOpen(b, Options{Dir: b.TempDir(), DatabaseID: testID})
	defer l.Close()
	const keys = 100_000
	value := benchValue()
	for i := range keys / 100 {
		batch := NewBatch()
		for j := range 100 {
			batch.Add(&Entry{Key: fmt.Appendf(nil, "key-%08d", i*100+j), Value: value})
		}
		l.Enqueue(batch, uint64(i+1))
		require.NoError(b, l.Commit(batch))
		batch.Free()
	}
	for name, read := range map[string]bool{"index": false, "value": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := rand.New(rand.NewPCG(1, 2))
			var key, dst []byte
			for b.Loop() {
				key = fmt.Appendf(key[:0], "key-%08d", r.IntN(keys))
				v := l.Acquire()
				ref, ok, err := v.Get(key, 1<<60, false)
				if err != nil {
					b.Fatal(err)
				}
				if !ok {
					b.Fatal("missing")
				}
				if read {
					var err error
					if dst, err = v.Value(ref, dst[:0]); err != nil {
						b.Fatal(err)
					}
				}
				v.Release()
			}
		})
	}
}

func BenchmarkAcquireEmpty(b *testing.B) {
	l := mustOpen(b, Options{Dir: b.TempDir(), DatabaseID: testID})
	defer l.Close()
	for b.Loop() {
		if l.Acquire() != nil {
			b.Fatal("not empty")
		}
	}
}

// Point reads over many sealed segments: of keys that are there, and of keys that are not. With few
// descriptors a read opens the file that it needs.
func BenchmarkGetManySegments(b *testing.B) {
	for _, files := range []int{DefaultOpenFiles, MinOpenFiles} {
		b.Run(fmt.Sprintf("descriptors=%d", files), func(b *testing.B) { benchmarkGetManySegments(b, files) })
	}
}

func benchmarkGetManySegments(b *testing.B, files int) {
	o := testOptions(b.TempDir())
	o.SegmentSize, o.IndexArena, o.CacheSize, o.OpenFiles = 64<<20, 16<<20, 12<<20, files
	l := mustOpen(b, o)
	defer l.Close()
	const segments, perSegment = 36, 60_000
	r := rand.New(rand.NewPCG(1, 2))
	keys := make([]uint64, 0, segments*perSegment)
	for s := range segments {
		batch := NewBatch()
		for range perSegment {
			k := r.Uint64()
			keys = append(keys, k)
			batch.Add(&Entry{Key: fmt.Appendf(nil, "%016x", k), Value: []byte("v")})
		}
		l.Enqueue(batch, uint64(s+1))
		require.NoError(b, l.Commit(batch))
		batch.Free()
		require.NoError(b, l.Seal())
	}
	require.NoError(b, l.Sync())
	require.NoError(b, l.indexSealed())
	v := l.Acquire()
	defer v.Release()
	for _, hit := range []bool{false, true} {
		b.Run(map[bool]string{true: "hit", false: "miss"}[hit], func(b *testing.B) {
			b.ReportAllocs()
			var key []byte
			for b.Loop() {
				k := r.Uint64()
				if hit {
					k = keys[r.IntN(len(keys))]
				}
				key = fmt.Appendf(key[:0], "%016x", k)
				_, ok, err := v.Get(key, 1<<60, false)
				if err != nil || ok != hit {
					b.Fatal(ok, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/segments, "ns/segment")
		})
	}
}

// A scan with values over many segments whose keys are spread over everything: no two values that
// follow each other lie close.
func BenchmarkScan(b *testing.B) {
	o := testOptions(b.TempDir())
	o.SegmentSize, o.IndexArena = 16<<20, 8<<20
	l := mustOpen(b, o)
	defer l.Close()
	const entries = 400_000
	r := rand.New(rand.NewPCG(1, 2))
	for i := range entries {
		mustPut(b, l, uint64(i+1), fmt.Sprintf("%016x", r.Uint64()), string(randomValue(r, 1_000)))
	}
	require.NoError(b, l.Seal())
	require.NoError(b, l.syncAll(false))
	require.NoError(b, l.indexSealed())
	v := l.Acquire()
	defer v.Release()
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		s := v.NewScan(false)
		for s.Rewind(); s.Valid(); s.Next() {
			if value, ok := s.Value(); !ok || len(value) == 0 {
				b.Fatal("no value")
			}
			n++
		}
		require.NoError(b, s.Err())
		require.NoError(b, s.Close())
		require.Equal(b, entries, n)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/entries, "ns/entry")
}
