package spillfile

import "github.com/badgerspill/badgerspill/spillfile/internal/block"

// Bits of Entry.Meta. The values are those of Badger's own meta byte, so that an entry goes to and
// fro without translation.
const (
	MetaDelete = block.MetaDelete // tombstone
	// MetaDiscardEarlier: earlier versions may be dropped once this one is in Badger.
	MetaDiscardEarlier = block.MetaDiscardEarlier
	MetaMerge          = block.MetaMerge // operand of a merge operator
)

// Limits of one entry, in bytes.
const (
	MaxKeySize   = block.MaxKeySize
	MaxValueSize = block.MaxValueSize
)

// Entry is one write of a commit: Key and Value of at most MaxKeySize and MaxValueSize bytes, and
// what Badger keeps beside them. Version is the entry's own timestamp; 0 means the commit timestamp
// of its batch, and entries of a Chunk always have it filled in. ExpiresAt is in unix seconds; 0
// means never. Meta has bits MetaDelete, MetaDiscardEarlier and MetaMerge; UserMeta is the user's.
type Entry = block.Entry

// Position is a place in the log: Segment is the number of a segment, from 1, and Offset a byte
// offset in its file. The zero Position is the first live block.
type Position = block.Position
