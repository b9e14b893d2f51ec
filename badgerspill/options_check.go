package badgerspill

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/skl"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/spillfile"
)

const (
	minSegmentSize = 4 << 10
	maxSegmentSize = 1 << 30
	// maxMemTableSize is as much as the 32-bit offsets of Badger's skip list reach, which is larger
	// than MemTableSize by twice the largest batch.
	maxMemTableSize = 3 << 30
	// minMemTableSize is what the empty skip list takes.
	minMemTableSize = 100
	// minBaseTableSize is what an empty table counts for: a compaction into smaller ones goes on
	// for ever.
	minBaseTableSize = 22
	maxMemtables     = 1 << 16
)

func bad(field string, value any, bound string, args ...any) error {
	return &OptionError{Field: field, Value: value, Bound: fmt.Sprintf(bound, args...)}
}

// checked returns opt as the database runs with it: with every default filled in, and what follows
// from other options. Or the first option that is out of its range, and with it what Badger itself
// refuses.
func (opt Options) checked() (Options, error) {
	if opt.flagErr != nil {
		return opt, opt.flagErr
	}
	if err := opt.checkSystem(); err != nil {
		return opt, err
	}
	theirs := opt.checkBadger()
	opt, err := opt.effective()
	switch {
	case err == nil:
		err = theirs
	case theirs != nil:
		err = errors.Join(err, theirs)
	}
	return opt, err
}

// effective is checked without what Badger checks.
func (opt Options) effective() (Options, error) {
	if err := opt.checkFatal(); err != nil {
		return opt, err
	}
	opt = opt.withDefaults()
	if opt.InMemory {
		opt.SyncWrites = false // as in Badger
	}
	if err := opt.checkTuning(); err != nil {
		return opt, err
	}
	if opt.SpillCapacity < 0 {
		return opt, bad("SpillCapacity", opt.SpillCapacity, "at least 0, or SpillPolicy Never for no spill")
	}
	if err := opt.SpillPolicy.check(opt.InMemory); err != nil {
		return opt, err
	}
	if opt.StallThreshold == 0 {
		opt.StallThreshold = DefaultStallThreshold
		if opt.SyncWrites {
			opt.StallThreshold = DefaultSyncStallThreshold
		}
	}
	if opt.Tuning.SpillRate == 0 {
		opt.Tuning.SpillRate = DefaultSpillRate
		if opt.SyncWrites {
			opt.Tuning.SpillRate = DefaultSyncSpillRate
		}
	}
	if err := opt.checkMemory(); err != nil {
		return opt, err
	}
	if opt.Tuning.SpillCacheSize == 0 {
		opt.Tuning.SpillCacheSize = spillCacheSize(opt.MemoryLimit)
	}
	return opt, opt.checkDirs()
}

// check is of a policy in itself.
func (p SpillPolicy) check(inMemory bool) error {
	switch {
	case p < Auto || p > Never:
		return bad("SpillPolicy", int(p), "Auto, Always or Never")
	case p == Always && inMemory:
		return bad("SpillPolicy", p, "Auto or Never with InMemory, which has no spill")
	}
	return nil
}

// checkTuning checks what has no default that depends on another option.
func (opt *Options) checkTuning() error {
	t := &opt.Tuning
	if err := checkRatios(t.SoftLimitRatio, t.SpillLimitRatio); err != nil {
		return err
	}
	if err := checkShare("Tuning.ReplayHighWater", t.ReplayHighWater); err != nil {
		return err
	}
	switch {
	case t.SegmentSize < minSegmentSize || t.SegmentSize > maxSegmentSize:
		return bad("Tuning.SegmentSize", t.SegmentSize, "from %d to %d bytes, or 0 for the default", minSegmentSize, maxSegmentSize)
	case t.SpillOpenFiles < spillfile.MinOpenFiles:
		return bad("Tuning.SpillOpenFiles", t.SpillOpenFiles, "at least %d, or 0 for the default", spillfile.MinOpenFiles)
	case t.TreeShape < ShapeAuto || t.TreeShape > ShapeAsGiven:
		return bad("Tuning.TreeShape", int(t.TreeShape), "ShapeAuto or ShapeAsGiven")
	case math.IsNaN(t.SpillRate):
		return bad("Tuning.SpillRate", t.SpillRate, "a number of commits per second")
	case !(t.QuietRate >= 0):
		return bad("Tuning.QuietRate", t.QuietRate, "at least 0 bytes per second")
	case t.QuietWindow < 0:
		return bad("Tuning.QuietWindow", t.QuietWindow, "at least 0")
	case t.MaxSpillAge < 0:
		return bad("Tuning.MaxSpillAge", t.MaxSpillAge, "at least 0")
	case t.ReplayMaxRate < 0:
		return bad("Tuning.ReplayMaxRate", t.ReplayMaxRate, "at least 0 bytes per second")
	}
	return nil
}

func checkRatios(soft, spill float64) error {
	if err := checkShare("Tuning.SoftLimitRatio", soft); err != nil {
		return err
	}
	if err := checkShare("Tuning.SpillLimitRatio", spill); err != nil {
		return err
	}
	if spill < soft {
		return bad("Tuning.SpillLimitRatio", spill, "at least SoftLimitRatio, which is %v", soft)
	}
	return nil
}

func checkShare(field string, share float64) error {
	if !(share > 0 && share <= 1) {
		return bad(field, share, "in (0, 1], or 0 for the default")
	}
	return nil
}

// slots is how many memtables there are at most.
func (opt *Options) slots() int64 { return int64(opt.NumMemtables) + 1 }

// checkBadger lets Badger check its own options before anything is made on disk. Badger does so
// before it looks at the directory, and one that cannot exist ends it there.
func (opt *Options) checkBadger() error {
	const nowhere = "\x00badgerspill checks options"
	o := opt.Badger().WithReadOnly(false)
	if o.BlockCacheSize == 0 {
		o.BlockCacheSize = 1 // checkFatal refuses it: Badger panics
	}
	if !opt.InMemory || opt.Dir == "" && opt.ValueDir == "" {
		o = o.WithInMemory(false).WithDir(nowhere).WithValueDir(nowhere)
	}
	db, err := badger.OpenManaged(o)
	if err == nil {
		return errors.Join(errors.New("badgerspill: Badger opened a directory that cannot exist"), db.Close())
	}
	if strings.Contains(err.Error(), nowhere[1:]) {
		return nil
	}
	return err
}

// checkFatal refuses what Badger does not check, and what ends the process, or hangs, there.
func (opt *Options) checkFatal() error {
	switch len(opt.EncryptionKey) {
	case 0, 16, 24, 32:
	default:
		return &OptionError{Field: "EncryptionKey", Value: fmt.Sprintf("(%d bytes)", len(opt.EncryptionKey)),
			Bound: "of 16, 24 or 32 bytes", Err: ErrInvalidEncryptionKey}
	}
	switch {
	case opt.NumMemtables < 0 || opt.NumMemtables > maxMemtables:
		return bad("NumMemtables", opt.NumMemtables, "from 1 to %d", maxMemtables)
	case opt.NumMemtables == 0 && !opt.ReadOnly:
		return bad("NumMemtables", opt.NumMemtables, "from 1 to %d, or ReadOnly set", maxMemtables)
	case opt.MemTableSize < minMemTableSize || opt.MemTableSize > maxMemTableSize:
		return bad("MemTableSize", opt.MemTableSize, "from %d to %d bytes", minMemTableSize, int64(maxMemTableSize))
	case opt.MaxLevels < 2:
		return bad("MaxLevels", opt.MaxLevels, "at least 2")
	case opt.LevelSizeMultiplier == 0:
		return bad("LevelSizeMultiplier", opt.LevelSizeMultiplier, "other than 0")
	case opt.NumLevelZeroTablesStall <= opt.NumLevelZeroTables:
		return bad("NumLevelZeroTablesStall", opt.NumLevelZeroTablesStall, "above NumLevelZeroTables, which is %d", opt.NumLevelZeroTables)
	case opt.NumCompactors < 0 && !opt.ReadOnly:
		return bad("NumCompactors", opt.NumCompactors, "0, or at least 2")
	case opt.NumCompactors > 0 && !opt.ReadOnly && opt.BaseTableSize >= 0 && opt.BaseTableSize < minBaseTableSize:
		return bad("BaseTableSize", opt.BaseTableSize, "at least %d bytes, or NumCompactors 0", minBaseTableSize)
	case opt.BlockSize == 0 && opt.BlockCacheSize > 0:
		return bad("BlockSize", opt.BlockSize, "above 0 with a BlockCacheSize")
	case opt.BlockCacheSize == 0 && (opt.Compression != options.None || len(opt.EncryptionKey) > 0):
		return bad("BlockCacheSize", opt.BlockCacheSize, "above 0 with Compression or EncryptionKey")
	case opt.IndexCacheSize <= 0 && len(opt.EncryptionKey) > 0: // a flush panics
		return bad("IndexCacheSize", opt.IndexCacheSize, "above 0 with an EncryptionKey")
	}
	return nil
}

// checkMemory fills in MemoryLimit and sizes memtables such that the soft limit cannot be reached
// without a sealed one in Badger's flusher (docs/design.md, memory).
func (opt *Options) checkMemory() error {
	slots := opt.slots()
	if opt.WriteBufferManager != nil {
		if opt.MemoryLimit != 0 && opt.MemoryLimit != opt.WriteBufferManager.Limit() {
			return bad("MemoryLimit", opt.MemoryLimit, "0 with a WriteBufferManager, whose limit of %d bytes holds",
				opt.WriteBufferManager.Limit())
		}
		opt.MemoryLimit = opt.WriteBufferManager.Limit()
	}
	if opt.MemoryLimit == 0 { // memtables keep their size, whatever the address space
		opt.MemoryLimit = opt.defaultMemoryLimit()
		return nil
	}
	if opt.MemoryLimit < 0 {
		return bad("MemoryLimit", opt.MemoryLimit, "above 0, or 0 for the default")
	}
	if opt.MemTableSize > opt.MemoryLimit/slots {
		// rounded up, so that 40 MiB do for Badger's defaults
		size := (opt.MemoryLimit + slots - 1) / slots
		each := max(minMemTableSize, opt.ValueThreshold*100/15+1)
		least := each*slots - slots + 1
		switch {
		case size >= each:
		case each == minMemTableSize:
			return bad("MemoryLimit", opt.MemoryLimit, "at least %d bytes: (NumMemtables+1) = %d memtables of %d", least, slots, each)
		default:
			return bad("MemoryLimit", opt.MemoryLimit, "at least %d bytes: (NumMemtables+1) = %d memtables, each of "+
				"ValueThreshold/0.15; or ValueThreshold must be at most %d", least, slots, size*15/100)
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
	// As all paths below it: a ".." after a symbolic link takes away the link, and does not follow
	// it.
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
	case ".sst", ".vlog", host.MemSuffix:
		return true
	}
	// and marker.DropName, and both while they are written
	return strings.HasPrefix(name, marker.IdentityName)
}

// maxLinks is how many symbolic links that lead to nothing are followed in one path: as many as
// Linux does.
const maxLinks = 40

// resolve returns the absolute path of what dir names now, or will once it is made: symbolic links
// are followed, those that lead to nothing yet, too.
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

// maxBatch returns how many entries and bytes a transaction may hold, as Badger derives them from
// MemTableSize.
func (opt *Options) maxBatch() (count, size int64) {
	size = 15 * opt.MemTableSize / 100
	return size / int64(skl.MaxNodeSize), size
}
