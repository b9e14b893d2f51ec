package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill"
)

const interlockName = "UNREPLAYED-SPILL--open-with-badgerspill.mem"

// How a turn ends that is not killed.
const (
	endDrain = "drained"      // a close that drains
	endKeep  = "kept"         // a close that keeps the spill
	endHalf  = "half drained" // a drain that is given up, then a close that keeps the spill
	endDrop  = "dropped"      // everything is dropped, then a close
)

// turn is what a process is to do.
type turn struct {
	Dir             string
	Encrypted, Sync bool

	Policy    string        // "Auto", "Always", or "Never", with which Open drains
	Segment   int64         // SegmentSize
	Replay    bool          // replay begins whenever it can
	Hedge     bool          // the first commit is hedged
	Write     time.Duration // for how long it writes
	End       string
	KillAfter time.Duration // 0: it is not killed
}

// draw draws what is not the directory's.
func (t *turn) draw(rng *rand.Rand) {
	pick := func(s ...string) string { return s[rng.IntN(len(s))] }
	t.Policy = pick("Auto", "Auto", "Always", "Always", "Always", "Never")
	t.Segment = int64(16<<10) << rng.IntN(8)
	t.Replay, t.Hedge = rng.IntN(2) == 0, rng.IntN(2) == 0
	t.Write = time.Duration(rng.IntN(1500)) * time.Millisecond
	t.End = pick(endDrain, endDrain, endKeep, endKeep, endKeep, endHalf, endHalf, endHalf, endDrop)
	if rng.IntN(2) == 0 {
		t.KillAfter = time.Millisecond + time.Duration(rng.Int64N(int64(t.Write+1500*time.Millisecond)))
	}
}

func (t *turn) db() string { return filepath.Join(t.Dir, "db") }

// plain is small enough that Badger flushes and compacts all the time.
func (t *turn) plain() badger.Options {
	o := badger.DefaultOptions(t.db()).WithLogger(nil).WithMetricsEnabled(false).WithSyncWrites(t.Sync).
		WithMemTableSize(2 << 20).WithBaseTableSize(1 << 20).WithBaseLevelSize(4 << 20).WithValueLogFileSize(8 << 20).
		WithValueThreshold(1 << 10).WithBlockCacheSize(4 << 20).WithIndexCacheSize(4 << 20).WithNumCompactors(2)
	if t.Encrypted {
		o = o.WithEncryptionKey(make([]byte, 32))
	}
	return o
}

func (t *turn) options() badgerspill.Options {
	o := badgerspill.OptionsFrom(t.plain()).WithSegmentSize(t.Segment).WithSpillCapacity(64 << 20).WithMemoryLimit(64 << 20)
	switch t.Policy {
	case "Always":
		o = o.WithSpillPolicy(badgerspill.Always)
	case "Never":
		o = o.WithSpillPolicy(badgerspill.Never)
	default:
		o = o.WithSpillRate(100)
	}
	if t.Replay {
		o = o.WithQuiet(1e12, time.Millisecond)
	}
	if t.Hedge {
		o = o.WithStallThreshold(time.Nanosecond)
	}
	return o.WithKeepSpillOnClose(t.End == endKeep || t.End == endHalf)
}

// run is the turn, in a process of its own.
func (t *turn) run() error {
	db, err := badgerspill.Open(t.options())
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	d := layerDB{db}
	n, err := t.check(d)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	fmt.Println("checked", n)
	if err := t.write(d, t.Write); err != nil {
		return errors.Join(err, db.Close())
	}
	switch t.End {
	case endDrain:
		err = db.Drain(context.Background())
	case endHalf:
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		if err = db.Drain(ctx); errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		cancel()
	case endDrop:
		if err = t.beginDrop(); err == nil {
			err = db.DropAll()
		}
		if err == nil {
			err = t.dropped()
		}
	}
	if err == nil && (t.End != endKeep || t.Segment%3 == 0) {
		if n, err = t.check(d); err == nil {
			fmt.Println("checked", n)
		}
	}
	return errors.Join(err, db.Close())
}

func sortedCounts(counts map[string]int) (lines []string) {
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		lines = append(lines, fmt.Sprintf("%7d  %s", counts[k], k))
	}
	return lines
}
