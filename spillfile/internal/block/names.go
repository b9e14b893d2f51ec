package block

import (
	"fmt"
	"strconv"
	"strings"
)

// SegmentSuffix ends the name of a segment's file.
const SegmentSuffix = ".seg"

// SegmentName returns the name of the file of a segment.
func SegmentName(id uint64) string { return fmt.Sprintf("%010d", id) + SegmentSuffix }

// ParseSegmentName undoes SegmentName. It is false for a name that SegmentName does not return.
func ParseSegmentName(name string) (id uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, SegmentSuffix)
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, err == nil && id > 0 && SegmentName(id) == name
}
