package check

import (
	"slices"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

// Commit is a batch that Walk found whole and intact.
type Commit struct {
	File        string // path of its segment
	Segment     uint64 // number of that
	Offset, End int64  // its blocks take the bytes from Offset to End of the file
	Seq         uint64 // sequence, which counts the commits of the log from 1
	Ts          uint64 // commit timestamp
	Replayed    bool   // the manifest says that Badger has it
	AfterLoss   bool   // a commit before it is lost, see Findings.Lost
	Count       int    // entries
	// each a spillfile.Entry, its Version filled in; valid, with keys and values, until the visit
	// returns
	Entries  []block.Entry
	RawBytes int64 // encoded size of the entries
	// highest value that spillfile.Log.Rotate was given for its segment or an earlier one, as far
	// as their headers are readable
	DirectThrough uint64

	stored int64 // bytes of its payloads on disk
}

// FaultKind says what a Fault means for the commits.
type FaultKind int

// The kinds of Fault.
const (
	// Damage: bytes that were once durable are damaged or gone. Open fails, or a read will.
	Damage FaultKind = iota
	// Torn: what follows was never known to be durable. Open cuts it off, as after any power cut or
	// kill.
	Torn
	// IndexDamage: an index file is damaged. It is made again from its segment; nothing is lost.
	IndexDamage
)

// String returns the kind in a word or two.
func (k FaultKind) String() string {
	return [...]string{"damage", "torn tail", "damaged index"}[k]
}

// Fault is a place in a file that does not hold what it should.
type Fault struct {
	Kind   FaultKind // what it means
	File   string    // its path
	Offset int64     // of the first structure that is not intact
	// where intact content goes on; the size of the file, or what should be in it, if it does not
	End    int64
	Reason string // what is wrong, for people
}

// Loss is a run of commits that are acknowledged, not replayed, and not readable any more.
type Loss struct {
	FirstSeq uint64 // sequence of the first of them
	LastSeq  uint64 // of the last; 0: the log ends with them, and how many they are is not known
	AfterTs  uint64 // commit timestamp of the readable commit before them, 0 if there is none
	BeforeTs uint64 // of the one behind them, 0 if there is none
}

// Commits returns how many commits are lost, 0 if that is not known.
func (l Loss) Commits() uint64 {
	if l.LastSeq == 0 {
		return 0
	}
	return l.LastSeq - l.FirstSeq + 1
}

// Findings is what Walk found. Sizes are bytes.
type Findings struct {
	Segments int   // read; those that are wholly replayed are not
	Bytes    int64 // of their files
	Blocks   int64 // intact
	Commits  int64 // whole, intact and not replayed
	Replayed int64 // whole, intact and replayed
	// of Commits, those behind a lost one; without damage Open drops them with the torn tail
	AfterLoss int64
	Entries   int64 // of Commits
	RawBytes  int64 // encoded size of Entries
	Indexes   int   // index files that Verify has compared

	FirstTs, LastTs uint64 // lowest and highest commit timestamp of Commits, 0 if there are none
	// NewestSeq is the highest sequence that is known of, readable or not. A manifest may know of
	// commits that an earlier power cut has taken; with damage they count as lost, too.
	NewestSeq uint64

	// Faults are in the order of the log, those of indexes at the end.
	Faults []Fault
	// Lost is in the order of the log. With the manifest lost, too, what came before the first
	// segment is not counted: whether it was replayed is not known then.
	Lost []Loss
	// ManifestLost: the manifest is missing or damaged, so that nothing says which commits are
	// replayed.
	ManifestLost bool
	// TornBytes are what Open would cut off.
	TornBytes int64
	// OpenError is why Open would refuse the spill, nil if it would not. Damage in a segment with
	// an index does not keep Open from succeeding: it is noticed when the block is read.
	OpenError error
}

// Damaged says whether anything is wrong that Open does not repair: faults of kind Damage.
func (f *Findings) Damaged() bool {
	return slices.ContainsFunc(f.Faults, func(f Fault) bool { return f.Kind == Damage })
}
