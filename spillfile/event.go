package spillfile

import "fmt"

// EventKind says what an Event reports.
type EventKind int

// The kinds of Event.
const (
	SegmentCreated  EventKind = iota + 1 // a segment took its first batch
	SegmentSealed                        // a segment takes no more batches
	SegmentDropped                       // a segment left the log: all of it was replayed
	SegmentRemoved                       // its file is gone, and its bytes on disk
	SegmentPoisoned                      // a write or sync of a segment failed; Err says how
	TailTruncated                        // Open dropped Bytes that were never known to be synced
	// work that nobody waits for failed; it is tried again where that is safe
	BackgroundError
)

// String returns the kind in words.
func (k EventKind) String() string {
	switch k {
	case SegmentCreated:
		return "segment created"
	case SegmentSealed:
		return "segment sealed"
	case SegmentDropped:
		return "segment dropped"
	case SegmentRemoved:
		return "segment removed"
	case SegmentPoisoned:
		return "segment poisoned"
	case TailTruncated:
		return "tail truncated"
	case BackgroundError:
		return "background error"
	}
	return fmt.Sprintf("EventKind(%d)", int(k))
}

// Event reports a change of the set of segments.
type Event struct {
	Kind    EventKind // what has happened
	Segment uint64    // 0 where no segment is meant
	File    string    // path of the segment's file
	Bytes   int64     // size of the segment, or the bytes dropped for TailTruncated
	Err     error     // SegmentPoisoned, BackgroundError
}
