package plan

import (
	"math"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
	"github.com/badgerspill/badgerspill/replay"
)

// Burst is what is written, and to what. Sizes are bytes.
type Burst struct {
	Rate      float64 `json:"rate"`       // writes a second, 1 to 10,000,000
	KeySize   int64   `json:"key_size"`   // 1 to 65,000
	ValueSize int64   `json:"value_size"` // 0 to 64 MiB
	Seconds   float64 `json:"seconds"`    // 0.1 to 30 days
	Batch     int64   `json:"batch"`      // writes in a commit, 1 to 1,000,000
	// Overwrites is the share of the writes whose key is written again before it is replayed, 0 to
	// 0.999.
	Overwrites float64 `json:"overwrites"`
	// Ratio is how far Snappy compresses keys and values: their size by what is left, 1 to 100.
	Ratio float64 `json:"ratio"`
	// BadgerRate is what Badger takes for long, in bytes of keys and values a second, from 1 KiB
	// to 1 TiB.
	BadgerRate  int64 `json:"badger_rate"`
	MemoryLimit int64 `json:"memory_limit"` // of Options, at least 1 MiB
	SyncWrites  bool  `json:"sync_writes"`  // of Options
}

// DefaultBurst has all that does not describe the load itself. What Badger takes is what
// badgerspill assumes where it has seen nothing: modest, for a machine with a solid-state disk.
func DefaultBurst() Burst {
	opt := badgerspill.DefaultOptions("")
	return Burst{
		KeySize: 16, Batch: 1, Ratio: 1, BadgerRate: replay.AssumedSustained,
		MemoryLimit: int64(opt.NumMemtables+1) * opt.MemTableSize,
	}
}

// Validate returns a *flagcheck.Error for the first value that is out of its bounds.
func (b *Burst) Validate() error {
	for _, f := range []struct {
		flag             string
		value, low, high float64
	}{
		{"--rate", b.Rate, 1, 10_000_000},
		{"--size", float64(b.ValueSize), 0, 64 << 20},
		{"--seconds", b.Seconds, 0.1, 30 * 24 * 3600},
		{"--key", float64(b.KeySize), 1, 65_000},
		{"--batch", float64(b.Batch), 1, 1_000_000},
		{"--overwrites", b.Overwrites, 0, 0.999},
		{"--ratio", b.Ratio, 1, 100},
		{"--badger-rate", float64(b.BadgerRate), 1 << 10, 1 << 40},
		{"--memory-limit", float64(b.MemoryLimit), 1 << 20, 1 << 60},
	} {
		// Written so that NaN is refused, too.
		if !(f.value >= f.low && f.value <= f.high) {
			return flagcheck.New(f.flag, f.value, "must be between %.15g and %.15g", f.low, f.high)
		}
	}
	if bytes := b.Rate * b.Seconds * float64(b.KeySize+b.ValueSize); bytes > 1<<50 {
		return flagcheck.New("--seconds", b.Seconds, "makes %.0f bytes at that rate and size, must be at most 1 PiB", bytes)
	}
	return nil
}

// writes is how many entries the burst has.
func (b *Burst) writes() int64 { return int64(math.Ceil(b.Rate * b.Seconds)) }

// entryBytes is the size of a key and its value.
func (b *Burst) entryBytes() int64 { return b.KeySize + b.ValueSize }

// bytesPerSecond is the rate in keys and values, as ReplayRate counts.
func (b *Burst) bytesPerSecond() float64 { return b.Rate * float64(b.entryBytes()) }

// kept is the share of the writes that Badger gets.
func (b *Burst) kept() float64 { return 1 - b.Overwrites }

// spillRate is the default of Tuning.SpillRate, in commits a second.
func (b *Burst) spillRate() float64 {
	if b.SyncWrites {
		return badgerspill.DefaultSyncSpillRate
	}
	return badgerspill.DefaultSpillRate
}
