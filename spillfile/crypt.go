package spillfile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// newDataKey makes a random data key and the cipher for it.
func newDataKey() ([]byte, cipher.AEAD, error) {
	key := make([]byte, dataKey)
	rand.Read(key)
	aead, err := newAEAD(key)
	return key, aead, err
}

// wrapKey stores a data key in wrapped under the user's key, bound to aad.
func wrapKey(userKey, key, nonce, wrapped, aad []byte) error {
	rand.Read(nonce)
	outer, err := newAEAD(userKey)
	if err != nil {
		return err
	}
	copy(wrapped, outer.Seal(nil, nonce, key, aad))
	return nil
}

// openKey undoes wrapKey. Its errors match ErrKeyMissing or ErrWrongKey.
func openKey(userKey, nonce, wrapped, aad []byte) (cipher.AEAD, error) {
	if len(userKey) == 0 {
		return nil, ErrKeyMissing
	}
	outer, err := newAEAD(userKey)
	if err != nil {
		return nil, err
	}
	key, err := outer.Open(nil, nonce, wrapped, aad)
	if err != nil {
		return nil, ErrWrongKey
	}
	return newAEAD(key)
}

// wrapDataKey makes the segment's own data key and returns the cipher for its blocks. h must be
// final but for nonce and wrapped: both are bound to the rest of the header.
func (h *segmentHeader) wrapDataKey(userKey []byte) (cipher.AEAD, error) {
	h.encrypted = true
	key, aead, err := newDataKey()
	if err != nil {
		return nil, err
	}
	return aead, wrapKey(userKey, key, h.nonce[:], h.wrapped[:], h.aad())
}

// openDataKey undoes wrapDataKey. It returns nil for a plaintext segment, whatever userKey is.
func (h *segmentHeader) openDataKey(file string, userKey []byte) (cipher.AEAD, error) {
	if !h.encrypted {
		return nil, nil
	}
	aead, err := openKey(userKey, h.nonce[:], h.wrapped[:], h.aad())
	switch {
	case errors.Is(err, ErrKeyMissing):
		return nil, fmt.Errorf("%w: %s; open the database with its EncryptionKey", err, file)
	case errors.Is(err, ErrWrongKey):
		return nil, fmt.Errorf("%w: %s; open the database with the EncryptionKey that it was spilled under", err, file)
	}
	return aead, err
}

func (h *segmentHeader) aad() []byte {
	var head [segmentHeaderSize]byte
	h.marshal(head[:])
	return head[:headerAAD]
}

// sealer holds the scratch space of one user of block ciphers: what goes through the cipher.AEAD
// interface would otherwise be allocated per block.
type sealer struct {
	nonce [nonceSize]byte
	aad   [blockHeaderSize - 4 + 8]byte
}

// prepare sets nonce and associated data. The nonce is the block's offset: an offset is written
// once in the life of a segment, and each segment has a data key of its own.
func (s *sealer) prepare(header []byte, at Position) (nonce, aad []byte) {
	le.PutUint64(s.nonce[:], uint64(at.Offset))
	copy(s.aad[:], header[4:blockHeaderSize])
	le.PutUint64(s.aad[blockHeaderSize-4:], at.Segment)
	return s.nonce[:], s.aad[:]
}
