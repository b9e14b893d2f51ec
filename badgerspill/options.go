package badgerspill

import (
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// SpillPolicy decides when commits take the spill.
type SpillPolicy int

const (
	// Auto sends commits to Badger. It switches to the spill when memory runs short, when Badger
	// stalls, when too many commits are in flight to it, or when they come faster than SpillRate.
	Auto SpillPolicy = iota
	// Always appends every commit to the spill; Badger is fed from it in the background.
	Always
	// Never sends every commit to Badger, and nothing of a spill is on disk. The memory budget
	// still accounts, and still blocks at its limit.
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

// Off switches off what an option of the layer controls, where its comment says so: StallThreshold,
// BlockTimeout, MinFreeSpace, Tuning.SpillCacheSize, Tuning.SpillRate, Tuning.SpillVerifyRate. Any
// other negative value means the same there. Everywhere else Open refuses it with an *OptionError.
const Off = -1

// Defaults of the layer's options.
const (
	// DefaultSpillCapacity is the default of Options.SpillCapacity in bytes.
	DefaultSpillCapacity int64 = 8 << 30
	// DefaultSegmentSize is the default of Tuning.SegmentSize in bytes.
	DefaultSegmentSize int64 = 64 << 20
	// DefaultStallThreshold is the default of Options.StallThreshold without SyncWrites; see
	// docs/design.md for the measurement behind it.
	DefaultStallThreshold = 5 * time.Millisecond
	// DefaultSyncStallThreshold is the default of Options.StallThreshold with SyncWrites.
	DefaultSyncStallThreshold = 50 * time.Millisecond
	// DefaultSpillRate is the default of Tuning.SpillRate without SyncWrites, in commits per
	// second.
	DefaultSpillRate = 1000
	// DefaultSyncSpillRate is the default of Tuning.SpillRate with SyncWrites. Badger syncs each
	// commit on its own, the spill a group of them at once, and a slow disk may not get to many.
	DefaultSyncSpillRate = 20

	defaultQuietWindow     = time.Second
	defaultMaxSpillAge     = 30 * time.Second
	defaultReplayHighWater = 0.5
)

// Options holds Badger's options and the layer's own, side by side. A literal of Badger's fields
// compiles and opens what it opens in Badger; DefaultOptions and OptionsFrom are the other ways to
// begin.
//
// One rule holds for every option of the layer, those in Tuning included: 0 is the default, Off
// switches off what can be switched off. Open refuses an option out of its range with an
// *OptionError that names it.
type Options struct {
	// Badger's options. Names, types and meaning, at 0 too, are those of badger.Options: what each
	// does is said at its With method there.

	Dir               string // where Badger's tables and logs are
	ValueDir          string // where Badger's value log is
	SyncWrites        bool   // sync each commit to disk
	ReadOnly          bool   // open for reading only
	InMemory          bool   // nothing on disk
	NumVersionsToKeep int    // of one key
	DetectConflicts   bool   // between transactions
	NamespaceOffset   int    // of the namespace in a key, negative = none
	NumGoroutines     int    // of a Stream
	MetricsEnabled    bool   // Badger's metrics
	BypassLockGuard   bool   // do not lock the directories

	Logger badger.Logger // nil = no log lines; it must not call the database

	MemTableSize            int64 // bytes
	NumMemtables            int   // that may wait for their flush
	BaseTableSize           int64 // bytes
	TableSizeMultiplier     int   // size of a table by that of one a level above
	BaseLevelSize           int64 // bytes
	LevelSizeMultiplier     int   // size of a level by that of the one above
	MaxLevels               int   // of the tree
	NumLevelZeroTables      int   // from which level 0 is compacted
	NumLevelZeroTablesStall int   // at which flushes wait for that
	NumCompactors           int   // 0 = no compaction
	CompactL0OnClose        bool  // compact level 0 in Close
	LmaxCompaction          bool  // compact tables within the last level

	BlockSize          int     // bytes
	BlockCacheSize     int64   // bytes
	IndexCacheSize     int64   // bytes, 0 = all indexes are in memory
	BloomFalsePositive float64 // share of look-ups that a table's filter lets pass for nothing

	Compression          options.CompressionType // of tables
	ZSTDCompressionLevel int                     // of Compression ZSTD

	ChecksumVerificationMode options.ChecksumVerificationMode // of blocks of tables

	ValueThreshold      int64   // bytes from which a value is in the value log
	VLogPercentile      float64 // 0 = ValueThreshold is fixed
	ValueLogFileSize    int64   // bytes
	ValueLogMaxEntries  uint32  // in a file of the value log
	VerifyValueChecksum bool    // of each entry read from the value log

	EncryptionKey                 []byte        // of 16, 24 or 32 bytes; empty = no encryption
	EncryptionKeyRotationDuration time.Duration // after which there is a new data key

	ExternalMagicVersion uint16 // of the application's format

	// SpillDir is the directory of the spill. Empty = the folder "spill" in Dir. It must not be
	// Dir, ValueDir or a parent of them, nor lie in one of them under a name that Badger uses
	// there. It may be a symbolic link; its files may not.
	SpillDir string
	// SpillCapacity bounds the bytes of the spill on disk. 0 = 8 GiB. For no spill at all set
	// SpillPolicy to Never. DB.SetSpillCapacity changes it later.
	SpillCapacity int64
	// MemoryLimit is the budget in bytes for commits that are not in an SSTable yet: in flight to
	// Badger, in its memtables, and the index of the spill. 0 = (NumMemtables+1) * MemTableSize. An
	// explicit smaller limit makes memtables smaller (MemTableSize <=
	// MemoryLimit/(NumMemtables+1)), and with them what one transaction may hold (ErrTxnTooBig).
	MemoryLimit int64
	// SpillPolicy decides when commits are spilled: Auto (the default), Always or Never. Open with
	// Never replays a spill that it finds before it returns, and removes it. DB.SetSpillPolicy
	// changes it later.
	SpillPolicy SpillPolicy
	// StallThreshold is the age of the oldest commit in flight to Badger at which Badger counts as
	// stalled. What is in flight then is hedged: appended to the spill and acknowledged from there.
	// 0 = 5 ms (50 ms with SyncWrites), Off = no stall detection. A too small value costs a detour
	// over the spill; a large one is added to the latency of every commit that a stall catches.
	StallThreshold time.Duration
	// BlockTimeout bounds how long a commit waits before it has its place in the commit order. It
	// waits when memory and the spill are both exhausted, and when Badger has not answered as many
	// commits as it takes and there is no room in the spill. It waits when a subscriber is too far
	// behind, and while a hand-over is under way. Then it fails with ErrWriteBlocked and nothing is
	// written. 0 = wait without a bound. Off = do not wait: fail at once, except for a hand-over,
	// which bounds itself to milliseconds.
	//
	// It also bounds, apart from that, how long a commit is slowed (Tuning.ReplayHighWater), which
	// never makes it fail; with Off none is slowed. What it does not bound: docs/guarantees.md,
	// Waiting.
	BlockTimeout time.Duration
	// KeepSpillOnClose leaves the spill for the next Open, and plain Badger refuses to open the
	// directory until then. Otherwise Close replays all of it.
	KeepSpillOnClose bool
	// MinFreeSpace is a floor of free space in bytes on the volumes of Dir, ValueDir and SpillDir,
	// for Badger itself dies of SIGBUS on a full disk. Below it (8 MiB above it, in fact, and
	// earlier for a commit that would go below) replay pauses and commits to Badger fail with
	// ErrNoSpace. A spill on a volume of its own has its own floor: below it the spill counts as
	// full, and while only Badger's is low commits go to the spill until that is full. Service is
	// normal again when space is back.
	//
	// 0 = 1 GiB or 1 % of the volume, the smaller, but at least what Badger may write of its own
	// accord (docs/design.md, disk space), which a floor that is set here should leave, too. Off =
	// no check.
	MinFreeSpace int64
	// WriteBufferManager is a budget shared with other databases; MemoryLimit and the ratios are
	// then the manager's. nil = a manager of its own.
	WriteBufferManager *wbm.WriteBufferManager
	// EventListener is told of what the layer does. nil = nobody.
	EventListener *EventListener

	// Tuning holds what hardly anybody has to set.
	Tuning Tuning

	managed bool
	flagErr error // what FromSuperFlag has refused
	seams   seams
}

// Tuning is the part of Options that hardly anybody has to set. As there 0 is the default of each,
// and Off switches off what can be switched off.
type Tuning struct {
	// SoftLimitRatio is the share of MemoryLimit from which an asynchronous flush is under way and
	// replay pauses. In (0, 1]; 0 = 0.80.
	SoftLimitRatio float64
	// SpillLimitRatio is the share of MemoryLimit from which commits are spilled. In
	// [SoftLimitRatio, 1]; 0 = 0.90.
	SpillLimitRatio float64
	// SegmentSize is the size in bytes at which a segment of the spill is sealed. In [4 KiB, 1
	// GiB]; 0 = 64 MiB. Segments are not made larger than a sixteenth of SpillCapacity, so that a
	// small spill does not free its room all at once.
	SegmentSize int64
	// SpillCacheSize bounds the memory in bytes for decoded blocks of the spill that were read by
	// key. What is in use counts toward MemoryLimit. 0 = 1/32 of MemoryLimit, 16 MiB at most; Off =
	// no cache.
	SpillCacheSize int64
	// SpillOpenFiles bounds the file descriptors that the spill takes, whatever SegmentSize and
	// SpillCapacity. Files of sealed segments are opened when they are read, and those that were
	// not used for longest are closed. At least 16; 0 = 64.
	SpillOpenFiles int
	// SpillRate is the rate in commits per second from which Auto spills commits although Badger
	// keeps up. An append to the spill takes a fraction of the time of a commit in Badger, and
	// replay gives Badger larger, sorted batches. The database is quiet once the rate has stayed
	// below half of SpillRate for QuietWindow. Until then it stays with the spill, which is
	// replayed when its oldest commit is older than MaxSpillAge, or beyond ReplayHighWater. 0 =
	// 1,000 (20 with SyncWrites). Off = at no rate: commits are spilled only when memory, a stall,
	// or what is in flight to Badger demands it.
	SpillRate float64
	// QuietRate is the write rate in bytes per second below which the database counts as quiet, and
	// the spill is replayed; the rate of commits must be below half of SpillRate, too. 0 = half of
	// the rate that Badger has been seen to sustain while it was replayed to, at first 8 MiB/s; see
	// docs/design.md, Replay.
	QuietRate float64
	// QuietWindow is how long the write rate must stay below QuietRate. 0 = 1 s.
	QuietWindow time.Duration
	// MaxSpillAge is the age of the oldest spilled commit at which replay starts whatever the rate.
	// 0 = 30 s.
	MaxSpillAge time.Duration
	// ReplayHighWater is the share of SpillCapacity at which replay starts whatever the rate.
	// Beyond it commits to the spill are slowed, the more the fuller it is, down to the rate at
	// which replay makes room. In (0, 1], where 1 slows none; 0 = 0.5.
	ReplayHighWater float64
	// ReplayMaxRate is the ceiling in bytes per second, before compression, for what replay gives
	// to Badger on average. It does not hold while the spill is full, nor for Drain, Close, and
	// what else replays first. 0 = none: replay gives way to a foreground, as evenly as a run of
	// 90 s lets it, and without one goes as fast as Badger takes it.
	ReplayMaxRate int64
	// SpillVerifyRate is how fast sealed segments of the spill are read in the background, in bytes
	// per second, to find damage before replay needs the block: each once, and again after a day.
	// VerifySpill reads at that rate, too, or at 64 MiB per second. 0 or Off = not in the
	// background.
	SpillVerifyRate int64
	// TreeShape says whether Open chooses the shape of Badger's tree (ShapeAuto, the default) where
	// its options have Badger's defaults, or leaves all as given (ShapeAsGiven).
	TreeShape TreeShape
}

// DefaultOptions returns Badger's default options for path. The layer's own are left at their
// defaults.
func DefaultOptions(path string) Options {
	return OptionsFrom(badger.DefaultOptions(path))
}

// LSMOnlyOptions is badger.LSMOnlyOptions. The layer's own options are left at their defaults.
func LSMOnlyOptions(path string) Options {
	return OptionsFrom(badger.LSMOnlyOptions(path))
}

// withDefaults returns opt with those defaults of the layer filled in that depend on nothing else.
func (opt Options) withDefaults() Options {
	fill(&opt.SpillCapacity, DefaultSpillCapacity)
	t := &opt.Tuning
	fill(&t.SoftLimitRatio, wbm.DefaultSoftRatio)
	fill(&t.SpillLimitRatio, wbm.DefaultSpillRatio)
	fill(&t.SegmentSize, DefaultSegmentSize)
	fill(&t.SpillOpenFiles, spillfile.DefaultOpenFiles)
	fill(&t.QuietWindow, defaultQuietWindow)
	fill(&t.MaxSpillAge, defaultMaxSpillAge)
	fill(&t.ReplayHighWater, defaultReplayHighWater)
	return opt
}

func fill[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

// WithMemoryLimit sets MemoryLimit, in bytes.
func (opt Options) WithMemoryLimit(bytes int64) Options {
	opt.MemoryLimit = bytes
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

// WithBlockTimeout sets BlockTimeout.
func (opt Options) WithBlockTimeout(d time.Duration) Options {
	opt.BlockTimeout = d
	return opt
}

// WithKeepSpillOnClose sets KeepSpillOnClose.
func (opt Options) WithKeepSpillOnClose(keep bool) Options {
	opt.KeepSpillOnClose = keep
	return opt
}

// WithDrainOnClose sets the inverse of KeepSpillOnClose.
func (opt Options) WithDrainOnClose(drain bool) Options {
	opt.KeepSpillOnClose = !drain
	return opt
}

// WithMinFreeSpace sets MinFreeSpace, in bytes.
func (opt Options) WithMinFreeSpace(bytes int64) Options {
	opt.MinFreeSpace = bytes
	return opt
}

// WithWriteBufferManager sets WriteBufferManager.
func (opt Options) WithWriteBufferManager(m *wbm.WriteBufferManager) Options {
	opt.WriteBufferManager = m
	return opt
}

// WithEventListener sets EventListener.
func (opt Options) WithEventListener(l *EventListener) Options {
	opt.EventListener = l
	return opt
}

// WithTuning sets all of Tuning.
func (opt Options) WithTuning(t Tuning) Options {
	opt.Tuning = t
	return opt
}

// WithLimitRatios sets Tuning.SoftLimitRatio and Tuning.SpillLimitRatio, as shares of MemoryLimit.
func (opt Options) WithLimitRatios(soft, spill float64) Options {
	opt.Tuning.SoftLimitRatio, opt.Tuning.SpillLimitRatio = soft, spill
	return opt
}

// WithSegmentSize sets Tuning.SegmentSize, in bytes.
func (opt Options) WithSegmentSize(bytes int64) Options {
	opt.Tuning.SegmentSize = bytes
	return opt
}

// WithSpillCacheSize sets Tuning.SpillCacheSize, in bytes.
func (opt Options) WithSpillCacheSize(bytes int64) Options {
	opt.Tuning.SpillCacheSize = bytes
	return opt
}

// WithSpillOpenFiles sets Tuning.SpillOpenFiles, in file descriptors.
func (opt Options) WithSpillOpenFiles(files int) Options {
	opt.Tuning.SpillOpenFiles = files
	return opt
}

// WithSpillRate sets Tuning.SpillRate, in commits per second.
func (opt Options) WithSpillRate(commitsPerSecond float64) Options {
	opt.Tuning.SpillRate = commitsPerSecond
	return opt
}

// WithQuiet sets Tuning.QuietRate, in bytes per second, and Tuning.QuietWindow.
func (opt Options) WithQuiet(rate float64, window time.Duration) Options {
	opt.Tuning.QuietRate, opt.Tuning.QuietWindow = rate, window
	return opt
}

// WithMaxSpillAge sets Tuning.MaxSpillAge.
func (opt Options) WithMaxSpillAge(d time.Duration) Options {
	opt.Tuning.MaxSpillAge = d
	return opt
}

// WithReplayHighWater sets Tuning.ReplayHighWater, a share of SpillCapacity.
func (opt Options) WithReplayHighWater(share float64) Options {
	opt.Tuning.ReplayHighWater = share
	return opt
}

// WithReplayMaxRate sets Tuning.ReplayMaxRate, in bytes per second.
func (opt Options) WithReplayMaxRate(bytesPerSecond int64) Options {
	opt.Tuning.ReplayMaxRate = bytesPerSecond
	return opt
}

// WithTreeShape sets Tuning.TreeShape.
func (opt Options) WithTreeShape(s TreeShape) Options {
	opt.Tuning.TreeShape = s
	return opt
}

// WithSpillVerifyRate sets Tuning.SpillVerifyRate, in bytes per second.
func (opt Options) WithSpillVerifyRate(bytesPerSecond int64) Options {
	opt.Tuning.SpillVerifyRate = bytesPerSecond
	return opt
}
