package block

// Position is a place in the log: a segment and a byte offset in it. The zero Position is the first
// live block.
type Position struct {
	Segment uint64 // number of the segment, from 1; 0 in the zero Position
	Offset  int64  // bytes from the beginning of its file
}

// After says whether p lies behind q in the log.
func (p Position) After(q Position) bool {
	return p.Segment > q.Segment || p.Segment == q.Segment && p.Offset > q.Offset
}
