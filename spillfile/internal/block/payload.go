package block

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/golang/snappy"
)

const (
	// MinEntrySize is what an entry takes at least: meta, user meta, four one-byte numbers.
	MinEntrySize = 6
	// MaxEntryHead is what it takes at most beside key and value.
	MaxEntryHead = 2 + 2*binary.MaxVarintLen64 + 2*binary.MaxVarintLen32
)

// AppendEntry encodes e and returns where in dst its key begins.
func AppendEntry(dst []byte, e *Entry) ([]byte, int) {
	dst = append(dst, e.Meta, e.UserMeta)
	dst = binary.AppendUvarint(dst, e.ExpiresAt)
	dst = binary.AppendUvarint(dst, e.Version)
	dst = binary.AppendUvarint(dst, uint64(len(e.Key)))
	dst = binary.AppendUvarint(dst, uint64(len(e.Value)))
	key := len(dst)
	dst = append(dst, e.Key...)
	return append(dst, e.Value...), key
}

var errEntry = errors.New("entry does not fit its block")

// ParseEntry decodes the entry at the start of b. Key and Value point into b; Version stays 0 where
// the entry has none of its own. It returns the bytes taken.
func ParseEntry(b []byte, e *Entry) (int, error) {
	if len(b) < MinEntrySize {
		return 0, errEntry
	}
	e.Meta, e.UserMeta = b[0], b[1]
	at := 2
	var klen, vlen uint64
	for _, field := range [...]*uint64{&e.ExpiresAt, &e.Version, &klen, &vlen} {
		v, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return 0, errEntry
		}
		*field = v
		at += n
	}
	left := uint64(len(b) - at)
	if klen > MaxKeySize || klen > left || vlen > left-klen {
		return 0, errEntry
	}
	k, v := at+int(klen), at+int(klen)+int(vlen)
	e.Key, e.Value = b[at:k:k], b[k:v:v]
	return v, nil
}

// Entries walks the entries of a raw block, which must lie in memory until the end.
//
//	for e.Next() { ... e.Entry ... }
//
// and then e.Err: nothing is known of a block before its last entry is parsed.
type Entries struct {
	Entry       // the one at hand; its version is filled in
	Own    bool // it has a version of its own
	Offset int  // in raw

	block *Block
	raw   []byte
	at    int    // of the next one in raw
	n     uint32 // how many were parsed
	bad   error
}

// Entries begins a walk of the entries of b, whose decoded payload is raw.
func (b *Block) Entries(raw []byte) Entries { return Entries{block: b, raw: raw} }

// Next goes to the next entry. It returns false at the end, and before an entry that is not sound.
func (e *Entries) Next() bool {
	if e.n == e.block.Count {
		return false
	}
	size, err := ParseEntry(e.raw[e.at:], &e.Entry)
	if err != nil {
		e.bad = err
		return false
	}
	e.Offset, e.at, e.n = e.at, e.at+size, e.n+1
	if e.Own = e.Version != 0; !e.Own {
		e.Version = e.block.Ts
	}
	return true
}

// Err returns a *CorruptError unless the block holds its entries and nothing else.
func (e *Entries) Err(path string) error {
	switch {
	case e.bad != nil:
		return Corrupt(path, e.block.At.Offset, "block of %d entries: %v", e.block.Count, e.bad)
	case e.at != len(e.raw):
		return Corrupt(path, e.block.At.Offset, "block of %d entries has %d bytes more", e.block.Count, len(e.raw)-e.at)
	}
	return nil
}

// decompress decodes a snappy payload of exactly raw bytes into buf, growing it. The caller has
// checked the CRC and that raw is plausible for len(payload).
func decompress(buf, payload []byte, raw uint32) ([]byte, error) {
	n, err := snappy.DecodedLen(payload)
	if err != nil {
		return buf, err
	}
	if n != int(raw) {
		return buf, fmt.Errorf("snappy holds %d bytes, the header says %d", n, raw)
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	out, err := snappy.Decode(buf[:n], payload)
	if err != nil {
		return buf, err
	}
	return out, nil
}
