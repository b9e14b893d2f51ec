package index

import "github.com/dgraph-io/badger/v4/y"

// Filter is a Bloom filter of blocks of 32 bytes: all bits of a key lie in one block, so a look at
// it costs one cache miss, and a point read looks at one for each sealed segment. It is the split
// block Bloom filter of Apache Parquet (BloomFilter.md), after Putze, Sanders and Singler, "Cache-,
// Hash- and Space-Efficient Bloom Filters" (2007): eight words a block, one bit in each.
type Filter []byte

const (
	filterBlock = 32
	// filterBits a key make about one false positive in 1,000 looks. With dozens of segments to
	// look at, each costs a leaf read in vain; 12 bits make five times as many.
	filterBits = 16
)

// filterSalt are the odd multipliers of the Parquet specification.
var filterSalt = [8]uint32{0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31}

// Hash is what filters know of a user key: Badger's hash, which its own filters on disk rely on,
// spread over 64 bits. Two keys of one hash are a false positive, which 32 bits make rare enough
// for the entries of a segment.
func Hash(key []byte) uint64 { return uint64(y.Hash(key)) * 0x9e3779b97f4a7c15 }

func newFilter(hashes []uint64) Filter {
	blocks := (len(hashes)*filterBits + 8*filterBlock - 1) / (8 * filterBlock)
	f := make(Filter, max(1, blocks)*filterBlock)
	for _, h := range hashes {
		part := f.block(h)
		for i, salt := range filterSalt {
			bit := uint32(h) * salt >> 27
			part[4*i+int(bit/8)] |= 1 << (bit % 8)
		}
	}
	return f
}

func (f Filter) block(h uint64) []byte {
	at := int(h >> 32 * uint64(len(f)/filterBlock) >> 32 * filterBlock)
	return f[at : at+filterBlock : at+filterBlock]
}

// MayContain is false if the key of this hash is certainly not in the set.
func (f Filter) MayContain(h uint64) bool {
	part := f.block(h)
	for i, salt := range filterSalt {
		bit := uint32(h) * salt >> 27
		if le.Uint32(part[4*i:])>>bit&1 == 0 {
			return false
		}
	}
	return true
}
