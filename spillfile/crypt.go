package spillfile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
)

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// wrapDataKey makes the segment's own data key, stores it in h under the user's key, and returns the cipher for its
// blocks. h must be final but for nonce and wrapped: both are bound to the rest of the header.
func (h *segmentHeader) wrapDataKey(userKey []byte) (cipher.AEAD, error) {
	var key [dataKey]byte
	rand.Read(key[:])
	rand.Read(h.nonce[:])
	h.encrypted = true
	outer, err := newAEAD(userKey)
	if err != nil {
		return nil, err
	}
	var head [segmentHeaderSize]byte
	h.marshal(head[:])
	copy(h.wrapped[:], outer.Seal(nil, h.nonce[:], key[:], head[:headerAAD]))
	return newAEAD(key[:])
}

// openDataKey undoes wrapDataKey. It returns nil for a plaintext segment, whatever userKey is.
func (h *segmentHeader) openDataKey(file string, userKey []byte) (cipher.AEAD, error) {
	if !h.encrypted {
		return nil, nil
	}
	if len(userKey) == 0 {
		return nil, fmt.Errorf("%w: %s; open the database with its EncryptionKey", ErrKeyMissing, file)
	}
	outer, err := newAEAD(userKey)
	if err != nil {
		return nil, err
	}
	var head [segmentHeaderSize]byte
	h.marshal(head[:])
	key, err := outer.Open(nil, h.nonce[:], h.wrapped[:], head[:headerAAD])
	if err != nil {
		return nil, fmt.Errorf("%w: %s; open the database with the EncryptionKey that it was spilled under", ErrWrongKey, file)
	}
	return newAEAD(key)
}

// sealer holds the scratch space of one user of block ciphers: what goes through the cipher.AEAD interface would
// otherwise be allocated per block.
type sealer struct {
	nonce [nonceSize]byte
	aad   [blockHeaderSize - 4 + 8]byte
}

// prepare sets nonce and associated data. The nonce is the block's offset: an offset is written once in the life
// of a segment, and each segment has a data key of its own.
func (s *sealer) prepare(header []byte, at Position) (nonce, aad []byte) {
	le.PutUint64(s.nonce[:], uint64(at.Offset))
	copy(s.aad[:], header[4:blockHeaderSize])
	le.PutUint64(s.aad[blockHeaderSize-4:], at.Segment)
	return s.nonce[:], s.aad[:]
}
