package block

import "slices"

// SlabSize is how many bytes are allocated at once for small pieces that are kept together.
const SlabSize = 256 << 10

// Slabs keeps copies of raw blocks, and reuses their memory. Not safe for concurrent use.
type Slabs struct {
	slabs [][]byte // raw blocks lie here
	slab  int      // the one being filled
}

// Reset gives up what is kept: it may be overwritten from here on.
func (s *Slabs) Reset() {
	// those of large entries
	s.slabs = slices.DeleteFunc(s.slabs, func(s []byte) bool { return cap(s) > SlabSize })
	for i := range s.slabs {
		s.slabs[i] = s.slabs[i][:0]
	}
	s.slab = 0
}

// Keep returns a copy of a raw block, which is valid until Reset.
func (s *Slabs) Keep(raw []byte) []byte {
	for ; s.slab < len(s.slabs); s.slab++ {
		b := s.slabs[s.slab]
		if cap(b)-len(b) >= len(raw) {
			s.slabs[s.slab] = append(b, raw...)
			return s.slabs[s.slab][len(b):]
		}
	}
	s.slabs = append(s.slabs, append(make([]byte, 0, max(SlabSize, len(raw))), raw...))
	return s.slabs[s.slab]
}

// Memory returns the bytes that it holds.
func (s *Slabs) Memory() (bytes int) {
	for _, b := range s.slabs {
		bytes += cap(b)
	}
	return bytes
}
