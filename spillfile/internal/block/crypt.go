package block

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// NewAEAD makes the cipher for a key of 16, 24 or 32 bytes.
func NewAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// NewDataKey makes a random data key and the cipher for it.
func NewDataKey() ([]byte, cipher.AEAD, error) {
	key := make([]byte, KeySize)
	rand.Read(key)
	aead, err := NewAEAD(key)
	return key, aead, err
}

// WrapKey stores a data key in wrapped under the user's key, bound to aad.
func WrapKey(userKey, key, nonce, wrapped, aad []byte) error {
	rand.Read(nonce)
	outer, err := NewAEAD(userKey)
	if err != nil {
		return err
	}
	copy(wrapped, outer.Seal(nil, nonce, key, aad))
	return nil
}

// OpenKey undoes WrapKey. Its errors match ErrKeyMissing or ErrWrongKey.
func OpenKey(userKey, nonce, wrapped, aad []byte) (cipher.AEAD, error) {
	if len(userKey) == 0 {
		return nil, ErrKeyMissing
	}
	outer, err := NewAEAD(userKey)
	if err != nil {
		return nil, err
	}
	key, err := outer.Open(nil, nonce, wrapped, aad)
	if err != nil {
		return nil, ErrWrongKey
	}
	return NewAEAD(key)
}

// WrapDataKey makes the segment's own data key and returns the cipher for its blocks. h must be
// final otherwise: the key is bound to the rest of the header.
func (h *SegmentHeader) WrapDataKey(userKey []byte) (cipher.AEAD, error) {
	h.Encrypted = true
	key, aead, err := NewDataKey()
	if err != nil {
		return nil, err
	}
	return aead, WrapKey(userKey, key, h.nonce[:], h.wrapped[:], h.aad())
}

// OpenDataKey undoes WrapDataKey. It returns nil for a plaintext segment, whatever userKey is. Its
// errors match ErrKeyMissing or ErrWrongKey and name the file.
func (h *SegmentHeader) OpenDataKey(file string, userKey []byte) (cipher.AEAD, error) {
	if !h.Encrypted {
		return nil, nil
	}
	aead, err := OpenKey(userKey, h.nonce[:], h.wrapped[:], h.aad())
	switch {
	case errors.Is(err, ErrKeyMissing):
		return nil, fmt.Errorf("%w: %s; open the database with its EncryptionKey", err, file)
	case errors.Is(err, ErrWrongKey):
		return nil, fmt.Errorf("%w: %s; open the database with the EncryptionKey that it was spilled under", err, file)
	}
	return aead, err
}

func (h *SegmentHeader) aad() []byte {
	var head [SegmentHeaderSize]byte
	h.Marshal(head[:])
	return head[:headerAAD]
}

// sealer holds the scratch space of one user of block ciphers: what goes through the cipher.AEAD
// interface would otherwise be allocated per block.
type sealer struct {
	nonce [NonceSize]byte
	aad   [HeaderSize - 4 + 8]byte
}

// prepare sets nonce and associated data. The nonce is the block's offset: an offset is written
// once in the life of a segment, and each segment has a data key of its own.
func (s *sealer) prepare(header []byte, at Position) (nonce, aad []byte) {
	le.PutUint64(s.nonce[:], uint64(at.Offset))
	copy(s.aad[:], header[4:HeaderSize])
	le.PutUint64(s.aad[HeaderSize-4:], at.Segment)
	return s.nonce[:], s.aad[:]
}
