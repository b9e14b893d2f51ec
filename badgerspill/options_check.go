package badgerspill

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/skl"
)

const (
	minSegmentSize = 4 << 10
	maxSegmentSize = 1 << 30
	// maxValueThreshold is Badger's upper bound of ValueThreshold.
	maxValueThreshold = 1 << 20
	// maxMemTableSize is as much as the 32-bit offsets of Badger's skip list reach, which is larger than MemTableSize by
	// twice the largest batch.
	maxMemTableSize = 3 << 30
	maxMemtables    = 1 << 16
)

func bad(field string, value any, bound string, args ...any) error {
	return &OptionError{Field: field, Value: value, Bound: fmt.Sprintf(bound, args...)}
}

// checked returns opt with every default filled in, or the first option that is out of its range. Options that are
// Badger's alone are left for Badger to refuse.
func (opt Options) checked() (Options, error) {
	if opt.NumMemtables < 1 || opt.NumMemtables > maxMemtables {
		return opt, bad("NumMemtables", opt.NumMemtables, "from 1 to %d", maxMemtables)
	}
	slots := int64(opt.NumMemtables) + 1
	if opt.MemTableSize <= 0 || opt.MemTableSize > maxMemTableSize {
		return opt, bad("MemTableSize", opt.MemTableSize, "from 1 to %d bytes", int64(maxMemTableSize))
	}
	if opt.BlockCacheSize == 0 && (opt.Compression != 0 || len(opt.EncryptionKey) > 0) {
		return opt, bad("BlockCacheSize", opt.BlockCacheSize, "above 0 with Compression or EncryptionKey")
	}
	switch len(opt.EncryptionKey) {
	case 0, 16, 24, 32:
	default:
		return opt, &OptionError{Field: "EncryptionKey", Value: fmt.Sprintf("(%d bytes)", len(opt.EncryptionKey)),
			Bound: "of 16, 24 or 32 bytes", Err: ErrInvalidEncryptionKey}
	}
	for _, r := range []struct {
		field string
		value *float64
		def   float64
	}{
		{"SoftLimitRatio", &opt.SoftLimitRatio, 0.80},
		{"SpillLimitRatio", &opt.SpillLimitRatio, 0.90},
		{"ReplayHighWater", &opt.ReplayHighWater, 0.5},
	} {
		if *r.value == 0 {
			*r.value = r.def
		}
		if !(*r.value > 0 && *r.value <= 1) {
			return opt, bad(r.field, *r.value, "in (0, 1]")
		}
	}
	if opt.SpillLimitRatio < opt.SoftLimitRatio {
		return opt, bad("SpillLimitRatio", opt.SpillLimitRatio, "at least SoftLimitRatio, which is %v", opt.SoftLimitRatio)
	}
	if opt.SegmentSize == 0 {
		opt.SegmentSize = DefaultSegmentSize
	}
	if opt.SegmentSize < minSegmentSize || opt.SegmentSize > maxSegmentSize {
		return opt, bad("SegmentSize", opt.SegmentSize, "from %d to %d bytes", minSegmentSize, maxSegmentSize)
	}
	if opt.SpillCapacity < 0 {
		return opt, bad("SpillCapacity", opt.SpillCapacity, "at least 0")
	}
	if opt.SpillPolicy < Auto || opt.SpillPolicy > Never {
		return opt, bad("SpillPolicy", int(opt.SpillPolicy), "Auto, Always or Never")
	}
	if opt.SpillPolicy == Always && (opt.SpillCapacity == 0 || opt.InMemory) {
		return opt, bad("SpillPolicy", opt.SpillPolicy, "Auto or Never without a spill (SpillCapacity 0 or InMemory)")
	}
	if opt.SpillPolicy == Never || opt.InMemory {
		opt.SpillCapacity = 0
	}
	if !(opt.QuietRate >= 0) {
		return opt, bad("QuietRate", opt.QuietRate, "at least 0 bytes per second")
	}
	if opt.ReplayMaxRate < 0 {
		return opt, bad("ReplayMaxRate", opt.ReplayMaxRate, "at least 0 bytes per second")
	}
	for _, d := range []struct {
		field string
		value *time.Duration
		def   time.Duration
	}{
		{"QuietWindow", &opt.QuietWindow, time.Second},
		{"MaxSpillAge", &opt.MaxSpillAge, 30 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
		if *d.value < 0 {
			return opt, bad(d.field, *d.value, "at least 0")
		}
	}
	if opt.StallThreshold == 0 {
		opt.StallThreshold = DefaultStallThreshold
		if opt.SyncWrites {
			opt.StallThreshold = DefaultSyncStallThreshold
		}
	}
	if opt.SpillRate == 0 {
		opt.SpillRate = DefaultSpillRate
		if opt.SyncWrites {
			opt.SpillRate = DefaultSyncSpillRate
		}
	}
	if math.IsNaN(opt.SpillRate) {
		return opt, bad("SpillRate", opt.SpillRate, "a number of commits per second")
	}
	if err := opt.checkMemory(slots); err != nil {
		return opt, err
	}
	if opt.SpillCacheSize == 0 {
		opt.SpillCacheSize = spillCacheSize(opt.MemoryLimit)
	}
	if err := opt.checkDirs(); err != nil {
		return opt, err
	}
	return opt, opt.checkBadger()
}

// checkBadger lets Badger check its own options before anything is made on disk. Badger does so before it looks at the
// directory, and one that cannot exist ends it there.
func (opt *Options) checkBadger() error {
	if opt.InMemory {
		return nil // nothing is made
	}
	const nowhere = "\x00badgerspill checks options"
	db, err := badger.OpenManaged(opt.Options.WithDir(nowhere).WithValueDir(nowhere).WithReadOnly(false))
	if err == nil {
		return errors.Join(errors.New("badgerspill: Badger opened a directory that cannot exist"), db.Close())
	}
	if strings.Contains(err.Error(), nowhere[1:]) {
		return nil
	}
	return err
}

// checkMemory fills in MemoryLimit and sizes memtables such that the soft limit cannot be reached without a sealed
// one in Badger's flusher (docs/design.md, memory).
func (opt *Options) checkMemory(slots int64) error {
	if opt.WriteBufferManager != nil {
		if opt.MemoryLimit != 0 && opt.MemoryLimit != opt.WriteBufferManager.Limit() {
			return bad("MemoryLimit", opt.MemoryLimit, "0 with a WriteBufferManager, whose limit of %d bytes holds",
				opt.WriteBufferManager.Limit())
		}
		opt.MemoryLimit = opt.WriteBufferManager.Limit()
	}
	if opt.MemoryLimit == 0 {
		opt.MemoryLimit = slots * opt.MemTableSize
	}
	if opt.MemoryLimit < 0 {
		return bad("MemoryLimit", opt.MemoryLimit, "above 0")
	}
	if opt.MemTableSize > opt.MemoryLimit/slots {
		size := opt.MemoryLimit / slots
		if need := opt.ValueThreshold*100/15 + 1; size < need && opt.ValueThreshold <= maxValueThreshold {
			return bad("MemoryLimit", opt.MemoryLimit, "at least %d bytes: (NumMemtables+1) = %d memtables, each of "+
				"ValueThreshold/0.15; or ValueThreshold must be at most %d", need*slots, slots, size*15/100)
		}
		opt.MemTableSize = size
	}
	return nil
}

func (opt *Options) checkDirs() error {
	if opt.InMemory {
		return nil
	}
	if opt.Dir == "" {
		return bad("Dir", `""`, "a directory, or InMemory set")
	}
	if opt.SpillDir == "" {
		opt.SpillDir = filepath.Join(opt.Dir, "spill")
	}
	// As all paths below it: a ".." after a symbolic link takes away the link, and does not follow it.
	opt.SpillDir = filepath.Clean(opt.SpillDir)
	spill, err := resolve(opt.SpillDir)
	if err != nil {
		return fmt.Errorf("badgerspill: option SpillDir: %w", err)
	}
	for _, d := range []struct{ field, dir string }{{"Dir", opt.Dir}, {"ValueDir", opt.ValueDir}} {
		dir, err := resolve(d.dir)
		if err != nil {
			return fmt.Errorf("badgerspill: option %s: %w", d.field, err)
		}
		if rel, err := filepath.Rel(spill, dir); err == nil && filepath.IsLocal(rel) {
			return bad("SpillDir", opt.SpillDir, "a directory of its own, not %s (%s) nor a parent of it", d.field, d.dir)
		}
		if rel, err := filepath.Rel(dir, spill); err == nil && filepath.IsLocal(rel) {
			if name, _, _ := strings.Cut(rel, string(filepath.Separator)); taken(name) {
				return bad("SpillDir", opt.SpillDir, "elsewhere: in %s (%s) the name %s is that of another file", d.field, d.dir, name)
			}
		}
	}
	return nil
}

// taken reports whether Badger, or the layer, uses a name in Badger's directories.
func taken(name string) bool {
	switch name {
	case "MANIFEST", "MANIFEST-REWRITE", "KEYREGISTRY", "REWRITE-KEYREGISTRY", "LOCK", "DISCARD":
		return true
	}
	switch filepath.Ext(name) {
	case ".sst", ".vlog", memSuffix:
		return true
	}
	return strings.HasPrefix(name, identityName) // and dropName, and both while they are written
}

// maxLinks is how many symbolic links that lead to nothing are followed in one path: as many as Linux does.
const maxLinks = 40

// resolve returns the absolute path of what dir names now, or will once it is made: symbolic links are followed, those
// that lead to nothing yet, too.
func resolve(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	rest, links := "", 0
	for at := dir; ; {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest), nil
		}
		above := filepath.Dir(at)
		if at == above {
			return dir, nil
		}
		if to, err := os.Readlink(at); err == nil && links < maxLinks {
			if links++; !filepath.IsAbs(to) {
				if real, err := filepath.EvalSymlinks(above); err == nil {
					above = real
				}
				to = filepath.Join(above, to)
			}
			at = filepath.Clean(to)
			continue
		}
		rest = filepath.Join(filepath.Base(at), rest)
		at = above
	}
}

// maxBatch returns how many entries and bytes a transaction may hold, as Badger derives them from MemTableSize.
func (opt *Options) maxBatch() (count, size int64) {
	size = 15 * opt.MemTableSize / 100
	return size / int64(skl.MaxNodeSize), size
}
