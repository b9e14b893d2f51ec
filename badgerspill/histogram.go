package badgerspill

import (
	"fmt"
	"math"
	"math/bits"
)

// histogram counts sizes by powers of two: counts[0] is below 2, counts[i] from 2^i to below
// 2^(i+1), the last from there on.
type histogram struct {
	counts        []int64
	n             int64
	min, max, sum int64
}

func newHistogram(bits int) *histogram {
	return &histogram{counts: make([]int64, bits+1), min: math.MaxInt64, max: math.MinInt64}
}

func (h *histogram) add(size int64) {
	h.min = min(h.min, size)
	h.max = max(h.max, size)
	h.sum += size
	h.n++
	h.counts[min(max(bits.Len64(uint64(size))-1, 0), len(h.counts)-1)]++
}

func (h *histogram) print(title string) {
	mean := float64(h.sum) / float64(h.n) // NaN for nothing, as Badger prints it
	fmt.Printf("%s\nTotal count: %d\nMin value: %d\nMax value: %d\nMean: %.2f\n%24s %9s\n", title, h.n, h.min, h.max, mean, "Range", "Count")
	for i, n := range h.counts {
		from := int64(1) << i
		if i == 0 {
			from = 0
		}
		switch {
		case n == 0:
		case i == len(h.counts)-1:
			fmt.Printf("[%10d, %10s) %9d\n", from, "infinity", n)
		default:
			fmt.Printf("[%10d, %10d) %9d\n", from, int64(2)<<i, n)
		}
	}
	fmt.Println()
}

// PrintHistogram prints to standard output how the sizes of the keys with a prefix and of their
// values are distributed, the newest version of each, spill and Badger both. It reads all of them.
// In managed mode, where Badger's panics, it reads at the highest timestamp.
func (db *DB) PrintHistogram(keyPrefix []byte) {
	if db == nil {
		fmt.Println("\nCannot build histogram: DB is nil.")
		return
	}
	keys, values := newHistogram(16), newHistogram(30)
	err := db.View(func(txn *Txn) error {
		it := txn.NewIterator(DefaultIteratorOptions)
		defer it.Close()
		for it.Seek(keyPrefix); it.ValidForPrefix(keyPrefix); it.Next() {
			keys.add(it.Item().KeySize())
			values.add(it.Item().ValueSize())
		}
		return nil
	})
	if err != nil {
		db.opt.Errorf("badgerspill: PrintHistogram prints nothing: %v\n", err)
		return
	}
	keys.print("Histogram of key sizes (in bytes)")
	values.print("Histogram of value sizes (in bytes)")
}
