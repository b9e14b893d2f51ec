package block

// Search looks for intact blocks where lengths can not be trusted: at every offset.
type Search struct {
	At     int64 // where the last block was found, or a read failed
	budget int64 // bytes of candidates that may still be read

	// Ask is called now and then, for a search is slow; its error ends the search. nil: not called
	Ask     func() error
	asked   int64 // where
	Refused bool  // the error of Ask has ended the search
}

// askStep is after how many bytes it asks.
const askStep = 64 << 10

// NewSearch returns a search through size bytes. A candidate's payload is read whole: content that
// is made of plausible headers must not make this quadratic.
func NewSearch(size int64) *Search { return &Search{budget: 16*size + 64<<20} }

// Next finds the first intact block from an offset on, and sets At to where it is.
func (s *Search) Next(rd *Reader, from int64) (h Header, found bool, err error) {
	for s.At = from; s.At+HeaderSize <= rd.Limit && s.budget > 0; s.At++ {
		if s.Ask != nil && s.At >= s.asked {
			if err := s.Ask(); err != nil {
				s.Refused = true
				return h, false, err
			}
			s.asked = s.At + askStep
		}
		header, err := rd.Bytes(s.At, HeaderSize)
		if err != nil {
			return h, false, err
		}
		h.unmarshal(header)
		place := Position{rd.id, s.At}
		if h.plausible(header, place, rd.Limit-s.At-HeaderSize, false) != nil {
			continue
		}
		size := HeaderSize + int64(h.Stored)
		s.budget -= size
		if err := InOnePiece(rd.Path, size); err != nil {
			return h, false, err
		}
		b, err := rd.Bytes(s.At, int(size))
		if err != nil {
			return h, false, err
		}
		if rd.dec.intact(h.crc, b[:HeaderSize], b[HeaderSize:], place) {
			return h, true, nil
		}
	}
	return h, false, nil
}
