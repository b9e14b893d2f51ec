package raftstore

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// An entry is stored as
//
//	version       1 byte, entryVersion
//	type          1 byte
//	term          uvarint
//	appended at   varint seconds since 1970, uvarint nanoseconds
//	extensions    uvarint length, bytes
//	data          the rest
//
// The index is in the key. Badger and the spill have checksums of their own.
const entryVersion = 1

func encodeEntry(l *raft.Log) []byte {
	b := make([]byte, 0, 2+4*binary.MaxVarintLen64+len(l.Extensions)+len(l.Data))
	b = append(b, entryVersion, byte(l.Type))
	b = binary.AppendUvarint(b, l.Term)
	b = binary.AppendVarint(b, l.AppendedAt.Unix()) // of the zero time, too
	b = binary.AppendUvarint(b, uint64(l.AppendedAt.Nanosecond()))
	b = binary.AppendUvarint(b, uint64(len(l.Extensions)))
	b = append(b, l.Extensions...)
	return append(b, l.Data...)
}

// decodeEntry sets l to the entry at index that b holds, or leaves it alone if that is none. It
// keeps nothing of b.
func decodeEntry(b []byte, index uint64, l *raft.Log) error {
	if len(b) < 2 {
		return fmt.Errorf("entry of %d bytes is cut short", len(b))
	}
	if b[0] != entryVersion {
		return fmt.Errorf("entry of format version %d, this program knows %d", b[0], entryVersion)
	}
	r := reader{rest: b[2:]}
	out := raft.Log{Index: index, Type: raft.LogType(b[1]), Term: r.uvarint()}
	seconds, nanos := r.varint(), r.uvarint()
	if nanos >= uint64(time.Second) {
		r.short = true
	}
	out.AppendedAt = time.Unix(seconds, int64(nanos))
	out.Extensions = r.bytes(r.uvarint())
	out.Data = r.bytes(uint64(len(r.rest)))
	if r.short {
		return fmt.Errorf("entry of %d bytes is not one that was stored here", len(b))
	}
	*l = out
	return nil
}

// reader reads from rest. After a failure it sets short, and yields zeros.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.skip(n)
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	r.skip(n)
	return v
}

func (r *reader) skip(n int) {
	if n <= 0 {
		r.short, r.rest = true, nil
		return
	}
	r.rest = r.rest[n:]
}

// bytes returns a copy of the next n bytes, nil if n is 0.
func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.short, r.rest = true, nil
		return nil
	}
	b := append([]byte(nil), r.rest[:n]...)
	r.rest = r.rest[n:]
	return b
}
