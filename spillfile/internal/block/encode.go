package block

import (
	"crypto/cipher"
	"hash/crc32"
	"slices"

	"github.com/golang/snappy"
)

// AppendBlock appends a block with raw entries to dst: room for its header, and behind it the
// payload, compressed. It returns also the CRC of the payload. The header is filled in by a
// Stamper, once the block has its place.
func AppendBlock(dst, raw []byte) (out []byte, crc uint32) {
	payload := len(dst) + HeaderSize
	dst = slices.Grow(dst, HeaderSize+snappy.MaxEncodedLen(len(raw)))
	dst = dst[:cap(dst)]
	n := len(snappy.Encode(dst[payload:], raw))
	dst = dst[:payload+n]
	return dst, crc32.Checksum(dst[payload:], castagnoli)
}

// Stamper completes blocks for their place in a segment. It holds scratch space: not safe for
// concurrent use.
type Stamper struct {
	crc  [16]byte
	seal sealer
}

// Stamp fills in the header of a plaintext block at a place. header is the room for it, payload the
// CRC of what follows.
func (s *Stamper) Stamp(header []byte, h *Header, payload uint32, at Position) {
	h.crc = 0
	h.Marshal(header)
	le.PutUint32(header, crcTail(payload, header, s.crc[:], at))
}

// Encrypt appends to dst the block at a place with its payload encrypted. The header must be
// marshalled; its CRC, which covers what is stored, is filled in in dst only.
func (s *Stamper) Encrypt(dst, header, plain []byte, aead cipher.AEAD, at Position) []byte {
	nonce, aad := s.seal.prepare(header, at)
	start := len(dst)
	dst = append(dst, header...)
	dst = aead.Seal(dst, nonce, plain, aad)
	payload := dst[start+HeaderSize:]
	le.PutUint32(dst[start:], crcTail(crc32.Checksum(payload, castagnoli), header, s.crc[:], at))
	return dst
}
