package plan

import (
	"fmt"
	"math"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// Plan is what a burst takes. Sizes are bytes.
type Plan struct {
	Burst   Burst   `json:"burst"`
	Writes  int64   `json:"writes"`
	Commits int64   `json:"commits"`
	Bytes   int64   `json:"bytes"` // of keys and values
	Way     Way     `json:"way"`
	Spill   Spill   `json:"spill"`
	Options Options `json:"options"`
	Disk    Disk    `json:"disk"`
	Files   Files   `json:"descriptors"`
	Replay  Replay  `json:"replay"`
}

// Way is where the commits of the burst go.
type Way struct {
	// Direct: Badger takes all of them. The other numbers of a plan are then those of the worst
	// case, a Badger that stalls as the burst begins and does not come back before its end.
	Direct bool `json:"direct"`
	// DirectSeconds is for how long they go to Badger at most.
	DirectSeconds float64 `json:"direct_seconds"`
	Why           string  `json:"why"`
}

// Spill is the spill when the burst ends, with nothing replayed until then.
type Spill struct {
	DiskBytes  int64 `json:"disk_bytes"`
	IndexBytes int64 `json:"index_bytes"` // of these, in index files
	Segments   int64 `json:"segments"`
	// MemoryBytes is what the index takes of MemoryLimit: what stays in memory of index files, and
	// two arenas, of the segment that is being written and of the next. The cache of point reads is
	// beside it.
	MemoryBytes int64 `json:"memory_bytes"`
	ArenaBytes  int64 `json:"arena_bytes"` // of these
	// LeastDiskBytes is what the spill holds at its peak if replay takes BadgerRate from
	// MaxSpillAge on, all the time; DiskBytes for a burst that is shorter than that.
	LeastDiskBytes int64 `json:"least_disk_bytes"`
}

// Options are those to open the database with.
type Options struct {
	SpillCapacity int64 `json:"spill_capacity"` // so much, or more: no commit is slowed then
	MemoryLimit   int64 `json:"memory_limit"`   // so much, or more
}

// Disk is what the burst adds to what is there.
type Disk struct {
	Spill int64 `json:"spill"` // until it is replayed
	Data  int64 `json:"data"`  // in Badger's tables, to stay
	// Working is what flushes and compactions may take beside it, for a while.
	Working int64 `json:"working"`
	Peak    int64 `json:"peak"` // all three, at most
}

// Files are descriptors beside those that the database has.
type Files struct {
	Spill  int64 `json:"spill"`
	Badger int64 `json:"badger"`
}

// Replay is how long the spill takes to be empty after the burst.
type Replay struct {
	Bytes int64 `json:"bytes"` // of keys and values that Badger gets
	// Seconds is without a foreground, as in Drain and Close.
	Seconds float64 `json:"seconds"`
	// BesideForegroundSeconds is beside one that would suffer all the time.
	BesideForegroundSeconds float64 `json:"beside_foreground_seconds"`
}

const (
	// urgentShare is the share of its time that a run beside a foreground works, where 90 s are too
	// few for all of it: docs/design.md, Replay.
	urgentShare = 0.25
	// indexShare is the share of MemoryLimit that the index of the spill may take, with two arenas
	// and the cache, each a 32nd of it.
	indexShare, arenaShare = wbm.DefaultIndexShare, 32
	minArena, maxArena     = 64 << 10, 64 << 20
	// memtableEntry is what Badger takes in memory for an entry beside key and value, about.
	memtableEntry = 64
	// tableEntry is what a table takes for one: head, timestamp, filter, share of the index.
	tableEntry = 24
	// spillFiles are the spill's lock, manifest and notes, beside its segments and indexes.
	spillFiles = 5
	// badgerFiles are logs of memtables and values, manifest, registry, lock, and a full level 0.
	badgerFiles = 10 + 15
	tableSize   = 4 << 20
	// level0, base: what a compaction may write anew before it gives anything back.
	level0, base = 15 * (64 << 20), 960 << 20
)

// For calculates what a burst takes. Burst.Validate says whether it can be asked for.
func For(b Burst) *Plan {
	writes := b.writes()
	p := &Plan{Burst: b, Writes: writes, Commits: (writes + b.Batch - 1) / b.Batch, Bytes: writes * b.entryBytes()}
	p.Way = b.way()
	p.spill()
	p.disk()
	p.Replay.Bytes = ceil(float64(p.Bytes) * b.kept())
	alone := float64(p.Replay.Bytes) / float64(b.BadgerRate)
	p.Replay.Seconds = replay.DefaultQuietWindow.Seconds() + alone
	p.Replay.BesideForegroundSeconds = replay.DefaultQuietWindow.Seconds() + max(replay.DefaultSettleWithin.Seconds(), alone/urgentShare)
	return p
}

// way says where commits go, by what the router looks at: their rate, and memory.
func (b *Burst) way() Way {
	commits, bytes := b.Rate/float64(b.Batch), b.bytesPerSecond()
	if commits >= b.spillRate() {
		return Way{Why: fmt.Sprintf("commits come at %s, and from SpillRate on, %s, the spill is the faster way", text.Rate(commits), text.Rate(b.spillRate()))}
	}
	below := fmt.Sprintf("commits come at %s, below SpillRate, %s", text.Rate(commits), text.Rate(b.spillRate()))
	took := text.Bytes(b.BadgerRate) + "/s"
	if bytes <= float64(b.BadgerRate) {
		return Way{Direct: true, DirectSeconds: b.Seconds, Why: below + ", and Badger takes " + took + ", which is enough"}
	}
	grows := b.Rate*float64(b.entryBytes()+memtableEntry) - float64(b.BadgerRate)
	fills := wbm.DefaultSpillRatio * float64(b.MemoryLimit) / grows
	if fills >= b.Seconds {
		return Way{Direct: true, DirectSeconds: b.Seconds,
			Why: below + "; it is more than Badger takes, " + took + ", and what is left over fits into MemoryLimit"}
	}
	return Way{DirectSeconds: fills, Why: below + "; but it is more than Badger takes, " + took + ", and memory is full after that time, if nothing stalls before"}
}

func (p *Plan) spill() {
	b, s := &p.Burst, &p.Spill
	whole, rest := p.Writes/b.Batch, p.Writes%b.Batch
	blocks := float64(whole) * b.commitBytes(b.Batch)
	if rest > 0 {
		blocks += b.commitBytes(rest)
	}
	index := float64(p.Writes) * b.indexEntry()

	p.Options.SpillCapacity = roundUp(ceil((blocks+index)/replay.DefaultHighWater), 16<<20, 256<<20)
	segment := min(badgerspill.DefaultSegmentSize, p.Options.SpillCapacity/segmentShare)
	arena := b.arena(segment)
	s.Segments = max(1, ceil(blocks/float64(segment)), ceil(float64(p.Writes*b.arenaEntry())/float64(arena-arenaLost)))
	fixed := s.Segments * (indexFooter + 2*leafHeader + 2*b.KeySize)
	s.IndexBytes = ceil(index) + fixed
	s.DiskBytes = ceil(blocks) + s.Segments*segmentHeader + s.IndexBytes

	sealed := ceil(float64(p.Writes)*b.memoryEntry()) + s.Segments*(indexFixed+2*b.KeySize)
	s.ArenaBytes = 2 * arena
	s.MemoryBytes = sealed + s.ArenaBytes
	// sealed <= limit * (share of the index - two arenas - cache)
	least := float64(sealed) / (indexShare - 3.0/arenaShare)
	p.Options.MemoryLimit = b.MemoryLimit
	if least > float64(b.MemoryLimit) {
		p.Options.MemoryLimit = roundUp(ceil(least), 16<<20, 256<<20)
	}

	s.LeastDiskBytes = s.DiskBytes
	if age := replay.DefaultMaxSpillAge.Seconds(); b.Seconds > age {
		perSecond := float64(s.DiskBytes) / b.Seconds
		// A chunk of replay frees its files at its end.
		drains := perSecond * float64(b.BadgerRate) / (b.bytesPerSecond() * b.kept())
		inHand := min(perSecond*age, float64(p.Options.SpillCapacity)/4)
		least := perSecond*age + max(0, perSecond-drains)*(b.Seconds-age) + perSecond*min(b.Seconds-age, inHand/drains)
		s.LeastDiskBytes = min(s.DiskBytes, ceil(least))
	}
}

// arena is the size of the index of the segment that is being written.
func (b *Burst) arena(segment int64) int64 {
	return min(max(minArena, min(b.MemoryLimit/arenaShare, segment/4)), maxArena)
}

func (p *Plan) disk() {
	b, d := &p.Burst, &p.Disk
	d.Spill = p.Spill.DiskBytes
	d.Data = ceil(float64(p.Writes) * b.kept() * float64(b.entryBytes()+tableEntry) / b.Ratio)
	d.Working = 2*min(d.Data, b.MemoryLimit) + min(d.Data, level0) + base
	d.Peak = d.Spill + d.Data + d.Working
	p.Files.Spill = min(spillfile.DefaultOpenFiles, 2*p.Spill.Segments+2) + spillFiles
	p.Files.Badger = ceil(float64(d.Data)/tableSize) + badgerFiles
}

// roundUp returns n rounded up to a multiple of small, from 1 GiB on of large.
func roundUp(n, small, large int64) int64 {
	step := small
	if n >= 1<<30 {
		step = large
	}
	if n > math.MaxInt64-step {
		return n
	}
	return (n + step - 1) / step * step
}
