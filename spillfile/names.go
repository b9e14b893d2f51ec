package spillfile

import (
	"fmt"
	"strconv"
	"strings"
)

const segmentSuffix = ".seg"

func segmentStem(id uint64) string { return fmt.Sprintf("%010d", id) }

func segmentName(id uint64) string { return segmentStem(id) + segmentSuffix }

func parseSegmentName(name string) (id uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, err == nil && id > 0 && segmentName(id) == name
}
