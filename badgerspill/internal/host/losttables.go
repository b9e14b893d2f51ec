package host

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"google.golang.org/protobuf/proto"
)

// Badger's lines about compactions, by their formats. levels.go: subcompact, doCompact,
// dropPrefixes.
const (
	lineBuilt  = "[%d] LOG Compact. Added %d keys. Skipped %d keys. Iteration took: %v"
	lineDone   = "[Compactor: %d] Compaction for level: %d DONE"
	lineFailed = "[Compactor: %d] LOG Compact FAILED with error: %+v: %+v"
	lineNoDrop = "While running compact def: %+v. Error: %v"
)

// The numbers of compactors whose end no line tells apart, so their caller does: see Settle.
const (
	FlattenCompactor = 175 // several at once
	DropCompactor    = -1
)

// manifestHeader is what comes before the first change set in Badger's MANIFEST: magic and
// versions.
const manifestHeader = 8

// LostTables notices a compaction that has lost tables. In Badger 4.9.6 one that cannot make a
// table counts as done all the same: levels.go:897 takes the error for the throttle while it is
// still nil. What it has merged is deleted, the table is nowhere, and neither an error nor a line
// says so.
//
// What tells: Badger logs each table that a compaction is about to make, and MANIFEST has a change
// set for each compaction that is done, which deletes tables and creates others. So as many must
// have been created as were announced. Tables of compactions that are under way may be in MANIFEST
// already, so more are no sign; fewer are.
type LostTables struct {
	path string      // of MANIFEST
	fail func(error) // is told once

	mu struct {
		sync.Mutex
		pending map[int]int // tables announced by compactions that are under way, by compactor
		// compactors some of whose tables may count for a MANIFEST that is gone
		unsure map[int]bool
		failed map[int]bool // of those that settle, whether one has failed
		built  int          // tables announced by compactions that are done
		made   int          // tables created by those in MANIFEST
		file   os.FileInfo  // of the MANIFEST that offset is in; nil before the first look
		offset int64
		told   bool
	}
}

// NewLostTables watches the MANIFEST in dir. fail is told once, of all that is lost.
func NewLostTables(dir string, fail func(error)) *LostTables {
	l := &LostTables{path: filepath.Join(dir, badger.ManifestFilename), fail: fail}
	l.mu.pending, l.mu.unsure, l.mu.failed = map[int]int{}, map[int]bool{}, map[int]bool{}
	return l
}

// Line takes a line of Badger's. It may be called on nil.
func (l *LostTables) Line(format string, args []any) {
	if l == nil || len(args) == 0 {
		return
	}
	compactor, _ := args[0].(int)
	switch format {
	case lineBuilt:
		if keys, ok := args[1].(uint64); ok && keys > 0 {
			l.mu.Lock()
			l.mu.pending[compactor]++
			l.mu.Unlock()
		}
	case lineDone:
		if compactor != FlattenCompactor {
			l.end(compactor, true)
			_ = l.Check()
		}
	case lineFailed:
		if compactor != FlattenCompactor {
			l.end(compactor, false)
			return
		}
		l.mu.Lock()
		l.mu.failed[compactor] = true
		l.mu.Unlock()
	case lineNoDrop:
		l.mu.Lock()
		l.mu.failed[DropCompactor] = true
		l.mu.Unlock()
	}
}

// Settle says that the compactions of Flatten, or of DropPrefix, are done. It may be called on nil.
func (l *LostTables) Settle(compactor int) {
	if l == nil {
		return
	}
	l.mu.Lock()
	ok := !l.mu.failed[compactor]
	delete(l.mu.failed, compactor)
	l.mu.Unlock()
	l.end(compactor, ok)
	_ = l.Check()
}

// end says that the compaction of a compactor is done, or has failed, when Badger has removed what
// it made.
func (l *LostTables) end(compactor int, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if done && !l.mu.unsure[compactor] {
		l.mu.built += l.mu.pending[compactor]
	}
	delete(l.mu.pending, compactor)
	delete(l.mu.unsure, compactor)
}

// Check compares. It returns an error if MANIFEST cannot be read; what is lost it tells through
// fail. It may be called on nil, and by several at once.
func (l *LostTables) Check() error {
	if l == nil {
		return nil
	}
	lost, err := l.compare()
	if lost > 0 {
		l.fail(fmt.Errorf("a compaction could not write %d of its tables, and the keys in them are lost from Badger (levels.go:897 of 4.9.6), "+
			"as %s shows. What the spill holds is not lost: it stays there, and is replayed after the next Open. "+
			"The others are in a backup, if anywhere. Look for a disk that failed, or for file descriptors or inodes that had run out", lost, l.path))
	}
	return err
}

// Compared returns how many tables were announced by the compactions that are counted now: 0 says
// that a Check has had nothing to find.
func (l *LostTables) Compared() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.built
}

func (l *LostTables) compare() (lost int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.told {
		return 0, nil
	}
	if err := l.read(); err != nil {
		return 0, fmt.Errorf("badgerspill: Badger's compactions cannot be checked: %w", err)
	}
	lost = l.mu.built - l.mu.made
	if lost > 0 {
		l.mu.told = true
	} else if lost < 0 && len(l.mu.pending) == 0 { // tables that a failure has left uncounted
		l.mu.made = l.mu.built
	}
	return lost, nil
}

// read counts what has come to MANIFEST. Needs mu.
func (l *LostTables) read() error {
	f, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m := &l.mu
	begin := m.file == nil || !os.SameFile(m.file, info) || info.Size() < m.offset
	if begin { // Badger writes it anew now and then, with the tables that there are
		m.offset = manifestHeader
	}
	text, err := io.ReadAll(io.NewSectionReader(f, m.offset, info.Size()-m.offset))
	if err != nil {
		return err
	}
	made := 0
	for len(text) >= 8 {
		size := int64(binary.BigEndian.Uint32(text))
		if size > int64(len(text)-8) {
			break // is being written
		}
		set := new(pb.ManifestChangeSet)
		if err := proto.Unmarshal(text[8:8+size], set); err != nil {
			return err
		}
		made += createdByCompaction(set)
		text, m.offset = text[8+size:], m.offset+8+size
	}
	m.file = info
	if !begin {
		m.made += made
		return nil
	}
	// What was announced so far may be in it or not.
	m.built, m.made = 0, 0
	for compactor := range m.pending {
		m.unsure[compactor] = true
	}
	return nil
}

// createdByCompaction returns how many tables a change set creates if it is that of a compaction,
// which deletes others.
func createdByCompaction(set *pb.ManifestChangeSet) (n int) {
	deletes := false
	for _, c := range set.Changes {
		if c.Op == pb.ManifestChange_DELETE {
			deletes = true
		} else {
			n++
		}
	}
	if !deletes {
		return 0
	}
	return n
}
