package spillfile

import (
	"crypto/cipher"
	"hash/crc32"
	"io"
	"sync"
)

// decoder turns stored blocks into raw ones. Its buffers are reused; not safe for concurrent use.
type decoder struct {
	stored  []byte
	raw     []byte
	scratch [16]byte
	seal    sealer
}

// maxPooled is the size above which a buffer is left to the garbage collector.
const maxPooled = 1 << 20

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// newDecoder returns a decoder from a pool; free gives it back.
func newDecoder() *decoder { return decoders.Get().(*decoder) }

func (d *decoder) free() {
	if cap(d.stored) <= maxPooled && cap(d.raw) <= maxPooled {
		decoders.Put(d)
	}
}

// buffer returns n bytes to read a stored block into, valid until the next call.
func (d *decoder) buffer(n int) []byte {
	if cap(d.stored) < n {
		d.stored = make([]byte, n)
	}
	return d.stored[:n]
}

// memory returns the bytes that it keeps.
func (d *decoder) memory() int { return cap(d.stored) + cap(d.raw) }

// intact says whether payload and header pass the checksum at this place.
func (d *decoder) intact(crc uint32, header, payload []byte, at Position) bool {
	return crcTail(crc32.Checksum(payload, castagnoli), header, d.scratch[:], at) == crc
}

// decode decrypts in place and decompresses a block that passed intact. The result is valid until
// the next call.
func (d *decoder) decode(path string, aead cipher.AEAD, h *blockHeader, header, payload []byte, at Position) ([]byte, error) {
	if aead != nil {
		nonce, aad := d.seal.prepare(header, at)
		var err error
		if payload, err = aead.Open(payload[:0], nonce, payload, aad); err != nil {
			return nil, corrupt(path, at.Offset, "block does not authenticate under the segment's data key")
		}
	}
	raw, err := decompress(d.raw, payload, h.raw)
	d.raw = raw[:0]
	if err != nil {
		return nil, corrupt(path, at.Offset, "block does not decompress: %v", err)
	}
	return raw, nil
}

// open checks a whole block, as read from its place, whose payload should have stored bytes, and
// decodes it: it returns the raw entries, which are valid until the next call, and the timestamp of
// their batch.
func (d *decoder) open(path string, aead cipher.AEAD, whole []byte, stored uint32, at Position) (raw []byte, ts uint64, err error) {
	header, payload := whole[:blockHeaderSize], whole[blockHeaderSize:]
	var h blockHeader
	h.unmarshal(header)
	switch {
	case h.stored != stored:
		return nil, 0, corrupt(path, at.Offset, "block has %d bytes, the index says %d", h.stored, stored)
	case !d.intact(h.crc, header, payload, at):
		return nil, 0, corrupt(path, at.Offset, "block checksum does not match its %d bytes", len(whole))
	}
	if err := h.plausible(header, at, int64(len(payload)), aead != nil); err != nil {
		return nil, 0, corrupt(path, at.Offset, "block header: %v", err)
	}
	if err := inOnePiece(path, int64(h.raw)); err != nil {
		return nil, 0, err
	}
	raw, err = d.decode(path, aead, &h, header, payload, at)
	return raw, h.ts, err
}

// blockReader walks the blocks of one segment file through a window. Not safe for concurrent use.
type blockReader struct {
	file   io.ReaderAt
	path   string
	id     uint64
	aead   cipher.AEAD // nil: plaintext
	limit  int64       // nothing at or beyond is read
	window []byte      // file bytes from start on
	start  int64
	dec    decoder
}

const readWindow = 256 << 10

// reset points the reader at a file, keeping its memory.
func (r *blockReader) reset(file io.ReaderAt, path string, id uint64, aead cipher.AEAD, limit int64) {
	r.file, r.path, r.id, r.aead, r.limit = file, path, id, aead, limit
	r.window, r.start = r.window[:0], 0
}

// memory returns the bytes that it keeps.
func (r *blockReader) memory() int { return cap(r.window) + r.dec.memory() }

// trim lets go of its memory if that is much.
func (r *blockReader) trim() {
	if cap(r.window) > maxPooled || cap(r.dec.raw) > maxPooled {
		*r = blockReader{}
	}
}

// bytes returns n bytes at offset at, valid until the next call. The caller has checked at+n <=
// limit.
func (r *blockReader) bytes(at int64, n int) ([]byte, error) {
	if at >= r.start && at+int64(n) <= r.start+int64(len(r.window)) {
		return r.window[at-r.start:][:n], nil
	}
	size := int(min(max(int64(n), readWindow), r.limit-at))
	if cap(r.window) < size {
		r.window = make([]byte, size)
	}
	r.window, r.start = r.window[:size], at
	got, err := r.file.ReadAt(r.window, at)
	r.window = r.window[:got]
	if got >= n {
		return r.window[:n], nil
	}
	if err == nil || err == io.EOF {
		err = corrupt(r.path, at+int64(got), "file ends where %d bytes should follow", n-got)
	}
	return nil, err
}

// rawBlock is a block that passed its checksum.
type rawBlock struct {
	blockHeader
	at      Position
	next    int64
	header  []byte // valid, as payload, until the reader's next call
	payload []byte
}

// size returns the bytes that the block takes in its file.
func (b *rawBlock) size() int64 { return b.next - b.at.Offset }

// next reads the block at offset at and checks it. io.EOF: at is the limit. A *CorruptError: the
// bytes there are no intact block. Other errors are those of the file.
func (r *blockReader) next(at int64) (rawBlock, error) {
	room := r.limit - at - blockHeaderSize
	switch {
	case at == r.limit:
		return rawBlock{}, io.EOF
	case room < 0:
		return rawBlock{}, corrupt(r.path, at, "block header is cut off after %d bytes", r.limit-at)
	}
	b := rawBlock{at: Position{r.id, at}}
	header, err := r.bytes(at, blockHeaderSize)
	if err != nil {
		return rawBlock{}, err
	}
	b.unmarshal(header)
	if err := b.plausible(header, b.at, room, r.aead != nil); err != nil {
		return rawBlock{}, corrupt(r.path, at, "block header: %v", err)
	}
	if err := inOnePiece(r.path, blockHeaderSize+int64(max(b.stored, b.raw))); err != nil {
		return rawBlock{}, err
	}
	whole, err := r.bytes(at, blockHeaderSize+int(b.stored))
	if err != nil {
		return rawBlock{}, err
	}
	b.header, b.payload = whole[:blockHeaderSize], whole[blockHeaderSize:]
	if !r.dec.intact(b.crc, b.header, b.payload, b.at) {
		return rawBlock{}, corrupt(r.path, at, "block checksum does not match its %d bytes", len(whole))
	}
	b.next = at + int64(len(whole))
	return b, nil
}

// decode returns the raw entries of b, which must be the last block that next returned.
func (r *blockReader) decode(b *rawBlock) ([]byte, error) {
	return r.dec.decode(r.path, r.aead, &b.blockHeader, b.header, b.payload, b.at)
}
