package block

// Bits of Entry.Meta. The values are those of Badger's own meta byte, so that an entry goes to and
// fro without translation.
const (
	MetaDelete         byte = 1 << 0 // tombstone
	MetaDiscardEarlier byte = 1 << 2 // earlier versions may be dropped once this one is in Badger
	MetaMerge          byte = 1 << 3 // operand of a merge operator
)

// Limits of one entry, in bytes. MaxKeySize leaves room for the 8 bytes of the timestamp in the
// 16-bit length of a skiplist key.
const (
	MaxKeySize   = 1<<16 - 1 - 8
	MaxValueSize = 1<<31 - 1<<17
)

// Entry is one write of a commit.
type Entry struct {
	// Key and Value are at most MaxKeySize and MaxValueSize bytes.
	Key, Value []byte
	// Version is the entry's own timestamp; 0 means the commit timestamp of its batch. Chunk
	// entries always have it filled in.
	Version   uint64
	ExpiresAt uint64 // unix seconds, 0 = never
	Meta      byte   // MetaDelete, MetaDiscardEarlier, MetaMerge
	UserMeta  byte   // the user's, carried along
}
