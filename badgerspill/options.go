package badgerspill

import (
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/wbm"
)

// SpillPolicy decides when commits take the spill.
type SpillPolicy int

const (
	// Auto sends commits to Badger and turns to the spill when memory runs short, when Badger stalls, when
	// too many commits are in flight to it, or when they come faster than SpillRate.
	Auto SpillPolicy = iota
	// Always appends every commit to the spill; Badger is fed from it in the background.
	Always
	// Never sends every commit to Badger. The memory budget still accounts, and still blocks at its limit.
	Never
)

// String returns the name of the policy.
func (p SpillPolicy) String() string {
	switch p {
	case Auto:
		return "Auto"
	case Always:
		return "Always"
	case Never:
		return "Never"
	}
	return "invalid"
}

const (
	// DefaultSpillCapacity is the default of Options.SpillCapacity in bytes.
	DefaultSpillCapacity = 8 << 30
	// DefaultSegmentSize is the default of Options.SegmentSize in bytes.
	DefaultSegmentSize = 64 << 20
	// DefaultStallThreshold is the default of Options.StallThreshold without SyncWrites; see docs/design.md for
	// the measurement behind it.
	DefaultStallThreshold = 5 * time.Millisecond
	// DefaultSyncStallThreshold is the default of Options.StallThreshold with SyncWrites.
	DefaultSyncStallThreshold = 50 * time.Millisecond
	// DefaultSpillRate is the default of Options.SpillRate without SyncWrites, in commits per second.
	DefaultSpillRate = 1000
	// DefaultSyncSpillRate is the default of Options.SpillRate with SyncWrites: Badger syncs each commit on its own, the spill a group of them
	// at once, and a slow disk may not get to many.
	DefaultSyncSpillRate = 20
)

// Options holds Badger's options, unchanged, and the layer's own. Start from DefaultOptions or OptionsFrom: they
// fill in the defaults that are named here. Open refuses an option out of its range with an error that names it.
type Options struct {
	badger.Options

	// MemoryLimit is the budget in bytes for commits that are not in an SSTable yet: in flight to Badger, in its
	// memtables, and the index of the spill. 0 = (NumMemtables+1) * MemTableSize. An explicit smaller limit makes
	// memtables smaller (MemTableSize <= MemoryLimit/(NumMemtables+1)), and with them what one transaction may
	// hold (ErrTxnTooBig).
	MemoryLimit int64
	// SoftLimitRatio is the share of MemoryLimit from which an asynchronous flush is under way and replay pauses.
	// In (0, 1]; 0 = 0.80.
	SoftLimitRatio float64
	// SpillLimitRatio is the share of MemoryLimit from which commits are spilled. In [SoftLimitRatio, 1]; 0 = 0.90.
	SpillLimitRatio float64

	// SpillDir is the directory of the spill. Empty = the folder "spill" in Dir. It must not be Dir, ValueDir or a parent of
	// them, nor lie in one of them under a name that Badger uses there. It may be a symbolic link; its files may not.
	SpillDir string
	// SpillCapacity bounds the bytes of the spill on disk. 0 = no spill, and nothing of it on disk: commits wait when memory is
	// exhausted. DB.SetSpillCapacity may change that later.
	SpillCapacity int64
	// SegmentSize is the size in bytes at which a segment of the spill is sealed. In [4 KiB, 1 GiB]; 0 = 64 MiB. Segments
	// are not made larger than a sixteenth of SpillCapacity, so that a small spill does not free its room all at once.
	SegmentSize int64
	// SpillCacheSize bounds the memory in bytes for decoded blocks of the spill that were read by key; what is in use counts toward
	// MemoryLimit. 0 = 1/32 of MemoryLimit, 16 MiB at most; negative = no cache.
	SpillCacheSize int64
	// SpillPolicy decides when commits are spilled: Auto, Always or Never.
	SpillPolicy SpillPolicy
	// StallThreshold is the age of the oldest commit in flight to Badger at which Badger counts as stalled, and
	// what is in flight is hedged: appended to the spill and acknowledged from there. 0 = 5 ms (50 ms with
	// SyncWrites), negative = no stall detection. A too small value costs a
	// detour over the spill; a large one is added to the latency of every commit that a stall catches.
	StallThreshold time.Duration
	// SpillRate is the rate in commits per second from which Auto spills commits although Badger keeps up: an append to the spill
	// takes a fraction of the time of a commit in Badger, and replay gives Badger larger, sorted batches. Until the rate was below half of it for
	// QuietWindow the database does not count as quiet: it stays with the spill, which is replayed when its oldest commit is older than
	// MaxSpillAge, or beyond ReplayHighWater. 0 = 1,000 (20 with SyncWrites); negative = at no rate, so that commits are spilled only when memory, a stall, or what is
	// in flight to Badger demands it.
	SpillRate float64
	// BlockTimeout bounds how long a commit waits before it has its place in the commit order: when memory and the spill are both
	// exhausted, when Badger has not answered as many commits as it takes and there is no room in the spill, when a subscriber is too
	// far behind, while a hand-over is under way. Then it fails with ErrWriteBlocked and nothing is written. 0 = wait, negative = fail at
	// once, except for a hand-over, which bounds itself to milliseconds. It also bounds, apart from that, how long a commit is slowed
	// (ReplayHighWater), which never makes it fail; a negative one turns that off. What it does not bound: docs/guarantees.md, Waiting.
	BlockTimeout time.Duration

	// QuietRate is the write rate in bytes per second below which the database counts as quiet, and the spill is
	// replayed; the rate of commits must be below half of SpillRate, too. 0 = half of the rate that Badger has been seen to sustain while it was replayed to, at first 8 MiB/s; see
	// docs/design.md, Replay.
	QuietRate float64
	// QuietWindow is how long the write rate must stay below QuietRate. 0 = 1 s.
	QuietWindow time.Duration
	// MaxSpillAge is the age of the oldest spilled commit at which replay starts whatever the rate. 0 = 30 s.
	MaxSpillAge time.Duration
	// ReplayHighWater is the share of SpillCapacity at which replay starts whatever the rate, and beyond which commits
	// to the spill are slowed, the more the fuller it is, down to the rate at which replay makes room. In (0, 1], where 1
	// slows none; 0 = 0.5.
	ReplayHighWater float64
	// ReplayMaxRate is the ceiling in bytes per second, before compression, for what replay gives to Badger on average.
	// It does not hold while the spill is full, nor for Drain, Close, and what else replays first. 0 = none: replay gives way when
	// the foreground suffers, and else goes as fast as Badger takes it.
	ReplayMaxRate int64
	// DrainOnClose replays the whole spill in Close. Otherwise it stays for the next Open, and plain Badger
	// refuses to open the directory until then.
	DrainOnClose bool

	// WriteBufferManager is a budget shared with other databases; MemoryLimit and the ratios are then the
	// manager's. nil = a manager of its own.
	WriteBufferManager *wbm.WriteBufferManager
	// MinFreeSpace is a floor of free space in bytes on the volumes of Dir, ValueDir and SpillDir, for Badger itself dies of SIGBUS
	// on a full disk. Below it (8 MiB above it, in fact, and earlier for a commit that would go below) replay pauses and commits
	// to Badger fail with ErrNoSpace. A spill on a volume of its own has its own floor: below it the spill counts as full, and while
	// only Badger's is low commits go to the spill until that is full. Service is normal again when space is back. 0 = 1 GiB or
	// 1 % of the volume, the smaller, but at least what Badger may write of its own accord (docs/design.md, disk space), which a
	// floor that is set here should leave, too; negative = no check.
	MinFreeSpace int64
	// EventListener is told of what the layer does. nil = nobody.
	EventListener *EventListener

	managed bool
	seams   seams
}

// DefaultOptions returns Badger's default options for path and the layer's own defaults.
func DefaultOptions(path string) Options {
	return OptionsFrom(badger.DefaultOptions(path))
}

// LSMOnlyOptions is badger.LSMOnlyOptions with the layer's own defaults.
func LSMOnlyOptions(path string) Options {
	return OptionsFrom(badger.LSMOnlyOptions(path))
}

// OptionsFrom returns o with the layer's own defaults: the way to move a program that already has Badger options.
func OptionsFrom(o badger.Options) Options {
	return Options{
		Options:         o,
		SoftLimitRatio:  0.80,
		SpillLimitRatio: 0.90,
		SpillCapacity:   DefaultSpillCapacity,
		SegmentSize:     DefaultSegmentSize,
		QuietWindow:     time.Second,
		MaxSpillAge:     30 * time.Second,
		ReplayHighWater: 0.5,
		DrainOnClose:    true,
	}
}

// WithMemoryLimit sets MemoryLimit, in bytes.
func (opt Options) WithMemoryLimit(bytes int64) Options {
	opt.MemoryLimit = bytes
	return opt
}

// WithLimitRatios sets SoftLimitRatio and SpillLimitRatio, as shares of MemoryLimit.
func (opt Options) WithLimitRatios(soft, spill float64) Options {
	opt.SoftLimitRatio, opt.SpillLimitRatio = soft, spill
	return opt
}

// WithSpillDir sets SpillDir.
func (opt Options) WithSpillDir(dir string) Options {
	opt.SpillDir = dir
	return opt
}

// WithSpillCapacity sets SpillCapacity, in bytes.
func (opt Options) WithSpillCapacity(bytes int64) Options {
	opt.SpillCapacity = bytes
	return opt
}

// WithSegmentSize sets SegmentSize, in bytes.
func (opt Options) WithSegmentSize(bytes int64) Options {
	opt.SegmentSize = bytes
	return opt
}

// WithSpillCacheSize sets SpillCacheSize, in bytes.
func (opt Options) WithSpillCacheSize(bytes int64) Options {
	opt.SpillCacheSize = bytes
	return opt
}

// WithSpillPolicy sets SpillPolicy.
func (opt Options) WithSpillPolicy(p SpillPolicy) Options {
	opt.SpillPolicy = p
	return opt
}

// WithStallThreshold sets StallThreshold.
func (opt Options) WithStallThreshold(d time.Duration) Options {
	opt.StallThreshold = d
	return opt
}

// WithSpillRate sets SpillRate, in commits per second.
func (opt Options) WithSpillRate(commitsPerSecond float64) Options {
	opt.SpillRate = commitsPerSecond
	return opt
}

// WithBlockTimeout sets BlockTimeout.
func (opt Options) WithBlockTimeout(d time.Duration) Options {
	opt.BlockTimeout = d
	return opt
}

// WithQuiet sets QuietRate, in bytes per second, and QuietWindow.
func (opt Options) WithQuiet(rate float64, window time.Duration) Options {
	opt.QuietRate, opt.QuietWindow = rate, window
	return opt
}

// WithMaxSpillAge sets MaxSpillAge.
func (opt Options) WithMaxSpillAge(d time.Duration) Options {
	opt.MaxSpillAge = d
	return opt
}

// WithReplayHighWater sets ReplayHighWater, a share of SpillCapacity.
func (opt Options) WithReplayHighWater(share float64) Options {
	opt.ReplayHighWater = share
	return opt
}

// WithReplayMaxRate sets ReplayMaxRate, in bytes per second.
func (opt Options) WithReplayMaxRate(bytesPerSecond int64) Options {
	opt.ReplayMaxRate = bytesPerSecond
	return opt
}

// WithDrainOnClose sets DrainOnClose.
func (opt Options) WithDrainOnClose(drain bool) Options {
	opt.DrainOnClose = drain
	return opt
}

// WithWriteBufferManager sets WriteBufferManager.
func (opt Options) WithWriteBufferManager(m *wbm.WriteBufferManager) Options {
	opt.WriteBufferManager = m
	return opt
}

// WithMinFreeSpace sets MinFreeSpace, in bytes.
func (opt Options) WithMinFreeSpace(bytes int64) Options {
	opt.MinFreeSpace = bytes
	return opt
}

// WithEventListener sets EventListener.
func (opt Options) WithEventListener(l *EventListener) Options {
	opt.EventListener = l
	return opt
}
