package spillfile

// search looks for intact blocks where lengths can not be trusted: at every offset.
type search struct {
	at     int64 // where the last block was found, or a read failed
	budget int64 // bytes of candidates that may still be read

	// is asked now and then, for it is slow; its error ends the search. nil: not asked
	goOn   func() error
	asked  int64 // where
	byGoOn bool  // it has ended the search
}

// askStep is after how many bytes it asks.
const askStep = 64 << 10

// newSearch returns a search through size bytes. A candidate's payload is read whole: content that
// is made of plausible headers must not make this quadratic.
func newSearch(size int64) *search { return &search{budget: 16*size + 64<<20} }

// next finds the first intact block from an offset on.
func (s *search) next(rd *blockReader, from int64) (h blockHeader, found bool, err error) {
	for s.at = from; s.at+blockHeaderSize <= rd.limit && s.budget > 0; s.at++ {
		if s.goOn != nil && s.at >= s.asked {
			if err := s.goOn(); err != nil {
				s.byGoOn = true
				return h, false, err
			}
			s.asked = s.at + askStep
		}
		header, err := rd.bytes(s.at, blockHeaderSize)
		if err != nil {
			return h, false, err
		}
		h.unmarshal(header)
		place := Position{rd.id, s.at}
		if h.plausible(header, place, rd.limit-s.at-blockHeaderSize, false) != nil {
			continue
		}
		size := blockHeaderSize + int64(h.stored)
		s.budget -= size
		if err := inOnePiece(rd.path, size); err != nil {
			return h, false, err
		}
		b, err := rd.bytes(s.at, int(size))
		if err != nil {
			return h, false, err
		}
		if rd.dec.intact(h.crc, b[:blockHeaderSize], b[blockHeaderSize:], place) {
			return h, true, nil
		}
	}
	return h, false, nil
}
