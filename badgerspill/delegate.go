package badgerspill

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/dgraph-io/ristretto/v2/z"
)

// What only Badger can tell or do. None of it sees what the spill holds; that reaches Badger by
// replay.

// BlockCacheMetrics returns the metrics of Badger's block cache, nil if there is no cache or
// MetricsEnabled is not set. It is safe for concurrent use, also after Close.
func (db *DB) BlockCacheMetrics() *ristretto.Metrics { return db.inner.BlockCacheMetrics() }

// IndexCacheMetrics returns the metrics of Badger's index cache, nil if there is no cache or
// MetricsEnabled is not set. It is safe for concurrent use, also after Close.
func (db *DB) IndexCacheMetrics() *ristretto.Metrics { return db.inner.IndexCacheMetrics() }

// CacheMaxCost sets the size in bytes of one of Badger's caches, BlockCache or IndexCache, and
// returns it. With a negative maxCost it returns the size as it is. A cache that the options did
// not ask for has none and gets none. Any other cache is an error. It is safe for concurrent use,
// also after Close, and does nothing on a nil DB.
func (db *DB) CacheMaxCost(cache CacheType, maxCost int64) (int64, error) {
	if db == nil {
		return 0, nil
	}
	return db.inner.CacheMaxCost(cache, maxCost)
}

// Levels returns what each level of Badger's LSM tree holds. It is safe for concurrent use, also
// after Close.
func (db *DB) Levels() []LevelInfo { return db.inner.Levels() }

// LevelsToString returns Levels as text, one line a level. It is safe for concurrent use, also
// after Close.
func (db *DB) LevelsToString() string { return db.inner.LevelsToString() }

// Tables returns Badger's SSTables, by level and ID. It is safe for concurrent use. On a closed
// database it returns nil: Badger's reads unmapped memory there, which ends the process. With
// InMemory it goes on after Close, as Badger's.
func (db *DB) Tables() []TableInfo {
	if db.unmapped() {
		return nil
	}
	return db.inner.Tables()
}

// unmapped reports whether Badger's tables may no longer be looked at.
func (db *DB) unmapped() bool { return db.IsClosed() && !db.opt.InMemory }

// BannedNamespaces returns the namespaces that BanNamespace was called for, in no order. It is safe
// for concurrent use, also after Close.
func (db *DB) BannedNamespaces() []uint64 { return db.inner.BannedNamespaces() }

// RunValueLogGC rewrites a file of Badger's value log of which at least discardRatio, between 0 and
// 1, is garbage. It blocks for the disk, and for a drop that is under way; it is safe for
// concurrent use, one at a time. Errors: ErrNoRewrite if there was nothing to do, and ErrRejected
// while another one or a StreamWriter runs and after Close. ErrInvalidRequest for a discardRatio of
// at most 0 or at least 1, ErrGCInMemoryMode, ErrGCInReadOnlyMode. ErrNoSpace if there is not room
// for what it may write before it removes the file. ErrBadgerHeld while Badger cannot make its next
// memtable.
func (db *DB) RunValueLogGC(discardRatio float64) error {
	if db.IsClosed() {
		return db.inner.RunValueLogGC(discardRatio)
	}
	end, err := db.upkeep.begin(db.ctx, upkeepShared)
	if err != nil {
		return ErrRejected
	}
	defer end()
	if err := db.guard.check(); err != nil {
		return err
	}
	cost := db.opt.collectCost(discardRatio)
	if err := db.room.ClaimBadger(cost); err != nil {
		return err
	}
	defer db.room.Settle(cost)
	return db.badger.Collect(func() error { return db.inner.RunValueLogGC(discardRatio) })
}

// collectCost is what a garbage collection of the value log may write: what is left of the largest
// file that is not written to any more, and the pointers to it.
func (opt *Options) collectCost(discardRatio float64) (most int64) {
	if !(discardRatio > 0 && discardRatio < 1) {
		return 0 // Badger refuses it
	}
	files, err := os.ReadDir(opt.ValueDir)
	if err != nil {
		return 0
	}
	var last int64 // by number the newest comes last
	for _, f := range files {
		if info, err := f.Info(); err == nil && strings.HasSuffix(f.Name(), ".vlog") {
			most, last = max(most, last), info.Size()
		}
	}
	return int64(float64(most) * (1 - discardRatio) * 1.25)
}

// keyRange is a part of the key space, as Ranges returns it. Its bounds are internal keys, with a
// timestamp at the end.
type keyRange struct {
	left  []byte // nil = from the first key on
	right []byte // nil = to the last key
	inf   bool   // all keys, whatever the bounds
	size  int64  // uncompressed bytes of the SSTables that overlap with it
}

// String returns the bounds in hexadecimal.
func (r keyRange) String() string {
	return fmt.Sprintf("[left=%x, right=%x, inf=%v]", r.left, r.right, r.inf)
}

// Ranges divides the key space into about numRanges parts of equal size, at keys with the prefix
// that Badger holds. The first begins before all keys, the last ends behind them: what is only in
// the spill lies in one of them, too. It is safe for concurrent use. On a closed database it
// returns nil, as Tables does. A numRanges of 0 panics if there is something to divide.
func (db *DB) Ranges(prefix []byte, numRanges int) []*keyRange {
	if db.unmapped() {
		return nil
	}
	theirs := db.inner.Ranges(prefix, numRanges)
	ranges := make([]*keyRange, len(theirs))
	for i, r := range theirs {
		v := reflect.ValueOf(r).Elem() // Badger's type has no other way in
		ranges[i] = &keyRange{
			left:  v.FieldByName("left").Bytes(),
			right: v.FieldByName("right").Bytes(),
			inf:   v.FieldByName("inf").Bool(),
			size:  v.FieldByName("size").Int(),
		}
	}
	return ranges
}

// discardStats is how much of each file of a value log is garbage, kept in the memory-mapped file
// DISCARD. It stands for Badger's type of that name. Update and MaxDiscard take the lock
// themselves, all else needs it held.
type discardStats struct {
	sync.Mutex
	*z.MmapFile

	inner innerDiscardStats
}

// innerDiscardStats is what Badger's type, which has no name here, can do.
type innerDiscardStats interface {
	Len() int
	Less(i, j int) bool
	Swap(i, j int)
	Update(fid uint32, discard int64) int64
	Iterate(f func(fid, stats uint64))
	MaxDiscard() (uint32, int64)
}

// InitDiscardStats opens the discard statistics in opt.ValueDir, or creates them. It must not be
// called while a database is open there. The file is closed with Close(-1).
func InitDiscardStats(opt Options) (*discardStats, error) {
	inner, err := badger.InitDiscardStats(opt.Badger())
	if err != nil {
		return nil, err
	}
	return &discardStats{MmapFile: inner.MmapFile, inner: inner}, nil
}

// Len returns the number of files with garbage.
func (s *discardStats) Len() int { return s.inner.Len() }

// Less orders entries by file.
func (s *discardStats) Less(i, j int) bool { return s.inner.Less(i, j) }

// Swap exchanges two entries.
func (s *discardStats) Swap(i, j int) { s.inner.Swap(i, j) }

// Update adds discard bytes of garbage to the file fid and returns their sum. With 0 it only
// returns the sum, with a negative number it sets it to 0. It is safe for concurrent use.
func (s *discardStats) Update(fid uint32, discard int64) int64 {
	s.Lock()
	defer s.Unlock()
	return s.inner.Update(fid, discard)
}

// Iterate calls f with each file and its bytes of garbage.
func (s *discardStats) Iterate(f func(fid, stats uint64)) { s.inner.Iterate(f) }

// MaxDiscard returns the file with the most garbage, and its bytes; zeros if there is none. It is
// safe for concurrent use.
func (s *discardStats) MaxDiscard() (uint32, int64) {
	s.Lock()
	defer s.Unlock()
	return s.inner.MaxDiscard()
}
