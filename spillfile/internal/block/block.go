package block

import (
	"crypto/cipher"
	"hash/crc32"
	"io"
	"sync"
)

// Decoder turns stored blocks into raw ones. Its buffers are reused; not safe for concurrent use.
type Decoder struct {
	stored  []byte
	raw     []byte
	scratch [16]byte
	seal    sealer
}

// maxPooled is the size above which a buffer is left to the garbage collector.
const maxPooled = 1 << 20

var decoders = sync.Pool{New: func() any { return new(Decoder) }}

// NewDecoder returns a decoder from a pool.
func NewDecoder() *Decoder { return decoders.Get().(*Decoder) }

// Free gives the decoder back to the pool, and what it has decoded with it.
func (d *Decoder) Free() {
	if cap(d.stored) <= maxPooled && cap(d.raw) <= maxPooled {
		decoders.Put(d)
	}
}

// Buffer returns n bytes to read stored blocks into. They stay until Buffer is called again, also
// while Open decodes what lies in them.
func (d *Decoder) Buffer(n int) []byte {
	if cap(d.stored) < n {
		d.stored = make([]byte, n)
	}
	return d.stored[:n]
}

// Memory returns the bytes that it keeps.
func (d *Decoder) Memory() int { return cap(d.stored) + cap(d.raw) }

// intact says whether payload and header pass the checksum at this place.
func (d *Decoder) intact(crc uint32, header, payload []byte, at Position) bool {
	return crcTail(crc32.Checksum(payload, castagnoli), header, d.scratch[:], at) == crc
}

// decode decrypts in place and decompresses a block that passed intact. The result is valid until
// the next call.
func (d *Decoder) decode(path string, aead cipher.AEAD, h *Header, header, payload []byte, at Position) ([]byte, error) {
	if aead != nil {
		nonce, aad := d.seal.prepare(header, at)
		var err error
		if payload, err = aead.Open(payload[:0], nonce, payload, aad); err != nil {
			return nil, Corrupt(path, at.Offset, "block does not authenticate under the segment's data key")
		}
	}
	raw, err := decompress(d.raw, payload, h.Raw)
	d.raw = raw[:0]
	if err != nil {
		return nil, Corrupt(path, at.Offset, "block does not decompress: %v", err)
	}
	return raw, nil
}

// Open checks a whole block, as read from its place, whose payload should have stored bytes, and
// decodes it: it returns the raw entries, which are valid until the next call, and the timestamp of
// their batch. It decrypts in place.
func (d *Decoder) Open(path string, aead cipher.AEAD, whole []byte, stored uint32, at Position) (raw []byte, ts uint64, err error) {
	header, payload := whole[:HeaderSize], whole[HeaderSize:]
	var h Header
	h.unmarshal(header)
	switch {
	case h.Stored != stored:
		return nil, 0, Corrupt(path, at.Offset, "block has %d bytes, the index says %d", h.Stored, stored)
	case !d.intact(h.crc, header, payload, at):
		return nil, 0, Corrupt(path, at.Offset, "block checksum does not match its %d bytes", len(whole))
	}
	if err := h.plausible(header, at, int64(len(payload)), aead != nil); err != nil {
		return nil, 0, Corrupt(path, at.Offset, "block header: %v", err)
	}
	if err := InOnePiece(path, int64(h.Raw)); err != nil {
		return nil, 0, err
	}
	raw, err = d.decode(path, aead, &h, header, payload, at)
	return raw, h.Ts, err
}

// Reader walks the blocks of one segment file through a window. Not safe for concurrent use.
type Reader struct {
	file   io.ReaderAt
	Path   string // of the file, for errors
	id     uint64
	aead   cipher.AEAD // nil: plaintext
	Limit  int64       // nothing at or beyond this offset is read
	window []byte      // file bytes from start on
	start  int64
	dec    Decoder
}

// ReadWindow is how many bytes a Reader reads at once, if no block is larger.
const ReadWindow = 256 << 10

// Reset points the reader at a file, keeping its memory.
func (r *Reader) Reset(file io.ReaderAt, path string, id uint64, aead cipher.AEAD, limit int64) {
	r.file, r.Path, r.id, r.aead, r.Limit = file, path, id, aead, limit
	r.window, r.start = r.window[:0], 0
}

// Memory returns the bytes that it keeps.
func (r *Reader) Memory() int { return cap(r.window) + r.dec.Memory() }

// Trim lets go of its memory if that is much.
func (r *Reader) Trim() {
	if cap(r.window) > maxPooled || cap(r.dec.raw) > maxPooled {
		*r = Reader{}
	}
}

// Bytes returns n bytes at offset at, valid until the next call. at+n must not be above Limit.
func (r *Reader) Bytes(at int64, n int) ([]byte, error) {
	if at >= r.start && at+int64(n) <= r.start+int64(len(r.window)) {
		return r.window[at-r.start:][:n], nil
	}
	size := int(min(max(int64(n), ReadWindow), r.Limit-at))
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
		err = Corrupt(r.Path, at+int64(got), "file ends where %d bytes should follow", n-got)
	}
	return nil, err
}

// Block is a block that passed its checksum.
type Block struct {
	Header
	At      Position // where it begins
	Next    int64    // offset behind it
	header  []byte   // valid, as payload, until the reader's next call
	payload []byte
}

// Size returns the bytes that the block takes in its file.
func (b *Block) Size() int64 { return b.Next - b.At.Offset }

// Next reads the block at offset at and checks it. io.EOF: at is Limit. A *CorruptError: the bytes
// there are no intact block. ErrTooLarge: see InOnePiece. Other errors are those of the file.
func (r *Reader) Next(at int64) (Block, error) {
	room := r.Limit - at - HeaderSize
	switch {
	case at == r.Limit:
		return Block{}, io.EOF
	case room < 0:
		return Block{}, Corrupt(r.Path, at, "block header is cut off after %d bytes", r.Limit-at)
	}
	b := Block{At: Position{r.id, at}}
	header, err := r.Bytes(at, HeaderSize)
	if err != nil {
		return Block{}, err
	}
	b.unmarshal(header)
	if err := b.plausible(header, b.At, room, r.aead != nil); err != nil {
		return Block{}, Corrupt(r.Path, at, "block header: %v", err)
	}
	if err := InOnePiece(r.Path, HeaderSize+int64(max(b.Stored, b.Raw))); err != nil {
		return Block{}, err
	}
	whole, err := r.Bytes(at, HeaderSize+int(b.Stored))
	if err != nil {
		return Block{}, err
	}
	b.header, b.payload = whole[:HeaderSize], whole[HeaderSize:]
	if !r.dec.intact(b.crc, b.header, b.payload, b.At) {
		return Block{}, Corrupt(r.Path, at, "block checksum does not match its %d bytes", len(whole))
	}
	b.Next = at + int64(len(whole))
	return b, nil
}

// Decode returns the raw entries of b, which must be the last block that Next returned. They are
// valid until the next call.
func (r *Reader) Decode(b *Block) ([]byte, error) {
	return r.dec.decode(r.Path, r.aead, &b.Header, b.header, b.payload, b.At)
}
