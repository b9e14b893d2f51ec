package states

import (
	"math"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// State is one way in which a test runs a database.
type State struct {
	// Name is that of the subtest.
	Name string
	// Change returns options that keep a database in the state.
	Change func(o badgerspill.Options) badgerspill.Options
	// Drain says that the state needs somebody who calls Drain all the time: many hand-overs.
	Drain bool
}

// All returns the states. A new slice each time, so that a caller may change it.
func All() []State { return append([]State(nil), all...) }

var all = []State{
	{"direct", func(o badgerspill.Options) badgerspill.Options { return o.WithStallThreshold(-1).WithSpillRate(-1) }, false},
	{"rate", func(o badgerspill.Options) badgerspill.Options {
		return o.WithStallThreshold(-1).WithSpillRate(50).WithSegmentSize(16<<10).WithQuiet(1e12, time.Millisecond)
	}, true},
	{"spilling", func(o badgerspill.Options) badgerspill.Options {
		return o.WithStallThreshold(time.Nanosecond).WithQuiet(1, time.Hour)
	}, false},
	{"always", func(o badgerspill.Options) badgerspill.Options {
		return o.WithSpillPolicy(badgerspill.Always).WithSegmentSize(64<<10).WithQuiet(1, time.Hour)
	}, false},
	{"replaying", func(o badgerspill.Options) badgerspill.Options {
		return o.WithSpillPolicy(badgerspill.Always).WithSegmentSize(16<<10).WithQuiet(1e12, time.Millisecond)
	}, false},
	{"hand-over", func(o badgerspill.Options) badgerspill.Options {
		return o.WithStallThreshold(time.Nanosecond).WithSpillRate(-1).WithSegmentSize(16<<10).WithQuiet(1e12, time.Millisecond)
	}, true},
	{"synced", func(o badgerspill.Options) badgerspill.Options {
		return o.WithSyncWrites(true).WithStallThreshold(time.Millisecond).WithSpillRate(-1).WithSegmentSize(64<<10).WithQuiet(1e12, time.Millisecond)
	}, false},
	// Small segments, and versions that need not be replayed: chunks in key order run all the time.
	{"chunks", func(o badgerspill.Options) badgerspill.Options {
		return chunks(o).WithStallThreshold(time.Nanosecond).WithSpillRate(-1)
	}, true},
	{"chunks, synced and encrypted", func(o badgerspill.Options) badgerspill.Options {
		return chunks(o).WithSpillPolicy(badgerspill.Always).WithSyncWrites(true).
			WithEncryptionKey(make([]byte, 32)).WithIndexCacheSize(1 << 20)
	}, false},
	{"chunks, small spill", func(o badgerspill.Options) badgerspill.Options {
		return chunks(o).WithSpillPolicy(badgerspill.Always).WithSpillCapacity(4 << 20)
	}, false},
	{"memory short", func(o badgerspill.Options) badgerspill.Options {
		return o.WithStallThreshold(-1).WithSpillRate(-1).WithLimitRatios(0.0005, 0.001).WithQuiet(1e12, time.Millisecond)
	}, false},
}

func chunks(o badgerspill.Options) badgerspill.Options {
	return o.WithNumVersionsToKeep(1).WithSegmentSize(4<<10).WithQuiet(1e12, time.Millisecond)
}

// Small returns options of Badger with which a database is cheap to open. NumVersionsToKeep keeps
// compaction from deciding what all versions are.
func Small(dir string) badger.Options {
	return badger.DefaultOptions(dir).WithLogger(nil).WithMetricsEnabled(false).
		WithMemTableSize(8 << 20).WithValueLogFileSize(16 << 20).WithBlockCacheSize(8 << 20).WithNumCompactors(2).
		WithNumVersionsToKeep(math.MaxInt32).WithValueThreshold(256)
}
