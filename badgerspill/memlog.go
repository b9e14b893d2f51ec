package badgerspill

import (
	"bufio"
	"encoding/binary"
	"io"
	"os"
)

// memLogHeader is what comes before the entries of a memtable's log: the id of the data key, and the base of the IVs.
const memLogHeader = 20

// memLogEntries returns how many bytes the entries take in a memtable's log, without those that fill it (badgerEngine.seal): all
// have the same key and make one entry of a table. The headers of entries are not encrypted. What cannot be understood ends the
// walk and counts as if all bytes to the end were entries.
func memLogEntries(path string, size, fillerKey int64) int64 {
	f, err := os.Open(path)
	if err != nil {
		return size
	}
	defer f.Close()
	in := bufio.NewReaderSize(io.LimitReader(f, size), 1<<20)
	if _, err := in.Discard(memLogHeader); err != nil {
		return size
	}
	var kept int64
	for at := int64(memLogHeader); ; {
		header, err := in.Peek(2 + 3*binary.MaxVarintLen64)
		n := 2
		var fields [3]uint64 // length of the key, of the value, and when it expires
		for i := range fields {
			if n > len(header) {
				return kept + size - at
			}
			v, used := binary.Uvarint(header[n:])
			if used <= 0 {
				if err != nil { // the rest is too short for an entry
					return kept
				}
				return kept + size - at
			}
			fields[i] = v
			n += used
		}
		key, value := fields[0], fields[1]
		if key == 0 { // nothing was written from here on
			return kept
		}
		const checksum = 4
		if key > uint64(size) || value > uint64(size) {
			return kept + size - at
		}
		entry := int64(n) + int64(key) + int64(value) + checksum
		if got, err := in.Discard(int(entry)); err != nil { // torn
			return kept + int64(got)
		}
		at += entry
		if key != uint64(fillerKey)+8 || value != 0 { // 8: the version
			kept += entry
		}
	}
}
