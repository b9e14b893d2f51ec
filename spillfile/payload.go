package spillfile

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/golang/snappy"
)

const (
	// meta, user meta, four one-byte lengths
	minEntrySize = 6
	// everything but key and value
	maxEntryHead = 2 + 2*binary.MaxVarintLen64 + 2*binary.MaxVarintLen32
)

// appendEntry encodes e and returns where in dst its key begins.
func appendEntry(dst []byte, e *Entry) ([]byte, int) {
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

// parseEntry decodes the entry at the start of b. Key and Value point into b; Version stays 0 where
// the entry has none of its own. It returns the bytes taken.
func parseEntry(b []byte, e *Entry) (int, error) {
	if len(b) < minEntrySize {
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

// entries walks the entries of a raw block, which must lie in memory until the end.
//
//	for e.next() { ... e.Entry ... }
//
// and then e.err: nothing is known of a block before its last entry is parsed.
type entries struct {
	Entry       // the one at hand; its version is filled in
	own    bool // it has a version of its own
	offset int  // in raw

	block *rawBlock
	raw   []byte
	at    int    // of the next one in raw
	n     uint32 // how many were parsed
	bad   error
}

func (b *rawBlock) entries(raw []byte) entries { return entries{block: b, raw: raw} }

func (e *entries) next() bool {
	if e.n == e.block.count {
		return false
	}
	size, err := parseEntry(e.raw[e.at:], &e.Entry)
	if err != nil {
		e.bad = err
		return false
	}
	e.offset, e.at, e.n = e.at, e.at+size, e.n+1
	if e.own = e.Version != 0; !e.own {
		e.Version = e.block.ts
	}
	return true
}

// err returns a *CorruptError unless the block holds its entries and nothing else.
func (e *entries) err(path string) error {
	switch {
	case e.bad != nil:
		return corrupt(path, e.block.at.Offset, "block of %d entries: %v", e.block.count, e.bad)
	case e.at != len(e.raw):
		return corrupt(path, e.block.at.Offset, "block of %d entries has %d bytes more", e.block.count, len(e.raw)-e.at)
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
