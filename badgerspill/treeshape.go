package badgerspill

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/room"
)

// TreeShape says who chooses the shape of Badger's tree. Nothing of the shape is in Badger's files:
// any Badger opens what another shape has made.
type TreeShape int

const (
	// ShapeAuto lets Open choose BaseLevelSize, BaseTableSize and NumCompactors where they have
	// Badger's defaults, and leaves those that have not. DB.Tree tells what it has chosen.
	ShapeAuto TreeShape = iota
	// ShapeAsGiven leaves all as Options say.
	ShapeAsGiven
)

// String returns "Auto" or "AsGiven".
func (s TreeShape) String() string {
	switch s {
	case ShapeAuto:
		return "Auto"
	case ShapeAsGiven:
		return "AsGiven"
	}
	return "invalid"
}

// TreeInfo is a shape of Badger's tree.
type TreeInfo struct {
	BaseLevelSize int64  // bytes
	BaseTableSize int64  // bytes
	NumCompactors int    // goroutines that compact
	Why           string // in one line
}

const (
	// levelZeroTimes is how many times what level 0 holds the base level may be: a compaction of
	// level 0 writes all of the base level again that it overlaps.
	levelZeroTimes = 3
	// freeShare is the share of the free space that the base level may be: a compaction writes what
	// it replaces anew before it removes anything. A level that holds more already may be
	// freeShareKept.
	freeShare, freeShareKept = 10, 8
	// shapedTableSize is the size of tables in the base level. Those of each level below are twice
	// as large. A StreamWriter, which doubles it for each level that there can be, has some of 128
	// MiB in memory, of 64 MiB with Badger's default. The fewer levels there are, the smaller
	// are those of the last one, and the more files.
	shapedTableSize = 4 << 20
)

// treeSigns is what a shape is chosen from.
type treeSigns struct {
	free  int64        // bytes on Badger's volume, those of the spill included
	err   error        // why free is not known
	base  func() int64 // bytes in the first level below level 0 that holds anything
	cores int
}

// chooseTree returns the shape for opt.
func (opt *Options) chooseTree(signs treeSigns) TreeInfo {
	tree := TreeInfo{BaseLevelSize: opt.BaseLevelSize, BaseTableSize: opt.BaseTableSize, NumCompactors: opt.NumCompactors}
	if tree.Why = opt.asGiven(); tree.Why != "" {
		return tree
	}
	defaults := badger.DefaultOptions("")
	var why []string
	if opt.BaseLevelSize == defaults.BaseLevelSize {
		var reason string
		tree.BaseLevelSize, reason = opt.baseLevel(signs)
		why = append(why, fmt.Sprintf("base level of %v: %s", sizeOf(tree.BaseLevelSize), reason))
	}
	if opt.BaseTableSize == defaults.BaseTableSize && tree.BaseLevelSize > opt.BaseLevelSize {
		tree.BaseTableSize = shapedTableSize
		why = append(why, fmt.Sprintf("tables of %v: they double from fewer levels", sizeOf(tree.BaseTableSize)))
	}
	if most := max(2, signs.cores/2); opt.NumCompactors == defaults.NumCompactors && most < opt.NumCompactors {
		tree.NumCompactors = most
		why = append(why, fmt.Sprintf("%d compactors: %d cores", most, signs.cores))
	}
	if len(why) == 0 {
		why = append(why, "as given: nothing has Badger's default")
	}
	tree.Why = strings.Join(why, "; ")
	return tree
}

// asGiven says why nothing is chosen, "" if something is.
func (opt *Options) asGiven() string {
	switch {
	case opt.Tuning.TreeShape == ShapeAsGiven:
		return "as given"
	case opt.InMemory || opt.ReadOnly || opt.NumCompactors == 0:
		return "as given: nothing is compacted on disk"
	}
	return ""
}

// baseLevel returns the size of the base level, and why it is not larger.
func (opt *Options) baseLevel(signs treeSigns) (size int64, why string) {
	if signs.err != nil {
		return opt.BaseLevelSize, fmt.Sprintf("Badger's own, since the free space is not known: %v", signs.err)
	}
	most := levelZeroTimes * int64(opt.NumLevelZeroTables) * opt.MemTableSize
	step := func(share int64) int64 {
		size := most
		for size > signs.free/share {
			size /= 2
		}
		return size
	}
	share := int64(freeShare)
	size = step(share)
	if size < most && signs.base() > size {
		size, share = step(freeShareKept), freeShareKept
	}
	switch {
	case size <= opt.BaseLevelSize:
		return opt.BaseLevelSize, "Badger's own, since more would be too much for level 0 or for the free space"
	case size < most:
		return size, fmt.Sprintf("at most 1/%d of the free space, %v", share, sizeOf(signs.free))
	}
	return size, fmt.Sprintf("%d times what level 0 holds", levelZeroTimes)
}

// Tree returns the shape that Open would choose for opt now. It looks at the free space of Dir's
// volume, at the spill and at Badger's MANIFEST, and changes nothing. Of options that Open refuses
// it says what it can.
func (opt Options) Tree() TreeInfo {
	if effective, err := opt.effective(); err == nil {
		opt = effective
	}
	tree, _ := opt.tree()
	return tree
}

// tree is Tree for options that are checked. err is why the free space is not known, where it could
// be.
func (opt *Options) tree() (tree TreeInfo, err error) {
	if opt.asGiven() != "" {
		return opt.chooseTree(treeSigns{}), nil
	}
	signs := treeSigns{base: opt.baseLevelBytes, cores: runtime.GOMAXPROCS(0)}
	if signs.free, signs.err = opt.treeRoom(); !errors.Is(signs.err, errors.ErrUnsupported) {
		err = signs.err
	}
	return opt.chooseTree(signs), err
}

// shapeTree chooses the shape, and sets the options that Badger is opened with.
func (db *DB) shapeTree() {
	opt := &db.opt
	var err error
	if db.tree, err = opt.tree(); err != nil {
		opt.Warningf("badgerspill: Badger's tree gets Badger's own shape, since the free space of Dir cannot be looked up: %v\n", err)
	}
	opt.BaseLevelSize, opt.BaseTableSize, opt.NumCompactors = db.tree.BaseLevelSize, db.tree.BaseTableSize, db.tree.NumCompactors
}

// treeRoom returns the free space of Badger's volume, with what the spill takes there, which is not
// to stay.
func (opt *Options) treeRoom() (free int64, err error) {
	dir, ours, err := room.Nearest(opt.fs(), opt.Dir)
	if err != nil {
		return 0, err
	}
	_, theirs, err := room.Nearest(opt.fs(), opt.SpillDir)
	if err != nil {
		return 0, err
	}
	if free, _, err = opt.fs().Free(dir); err != nil {
		return 0, err
	}
	volume := opt.system().volume
	a, known := volume(ours)
	if b, too := volume(theirs); !known || !too || a != b {
		return free, nil
	}
	entries, err := opt.fs().ReadDir(opt.SpillDir)
	if errors.Is(err, fs.ErrNotExist) {
		return free, nil
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			free += info.Size()
		}
	}
	return free, err
}

// baseLevelBytes returns what the first level below level 0 holds that holds anything; 0 where that
// is not known.
func (opt *Options) baseLevelBytes() (bytes int64) {
	m, _ := host.ReadManifest(opt.Badger())
	base := uint8(math.MaxUint8)
	for _, t := range m.Tables {
		if t.Level > 0 {
			base = min(base, t.Level)
		}
	}
	for id, t := range m.Tables {
		if t.Level == base {
			if info, err := os.Stat(table.NewFilename(id, opt.Dir)); err == nil {
				bytes += info.Size()
			}
		}
	}
	return bytes
}

// Tree returns the shape of Badger's tree that the database was opened with. It does not block and
// is safe for concurrent use.
func (db *DB) Tree() TreeInfo { return db.tree }
