package block

import (
	"bytes"
	"crypto/cipher"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"
)

// segmentOf returns the bytes of segment 1 with a batch of one block for each list of values, and
// where the blocks begin. aead, if it is not nil, encrypts them.
func segmentOf(aead cipher.AEAD, batches ...[]string) (b []byte, at []int64) {
	b = make([]byte, SegmentHeaderSize)
	var stamp Stamper
	for i, values := range batches {
		var raw []byte
		for _, v := range values {
			raw, _ = AppendEntry(raw, &Entry{Key: []byte("key " + v), Value: []byte(v), UserMeta: byte(i)})
		}
		whole, crc := AppendBlock(nil, raw)
		place := Position{Segment: 1, Offset: int64(len(b))}
		h := Header{Stored: uint32(len(whole) - HeaderSize), Raw: uint32(len(raw)), Count: uint32(len(values)), Ts: 100, Seq: uint64(i + 1)}
		h.SetLast(true)
		at = append(at, place.Offset)
		if aead == nil {
			stamp.Stamp(whole[:HeaderSize], &h, crc, place)
			b = append(b, whole...)
			continue
		}
		h.Stored += TagSize
		h.Marshal(whole)
		b = stamp.Encrypt(b, whole[:HeaderSize], whole[HeaderSize:], aead, place)
	}
	return b, at
}

func ciphers(t *testing.T) map[string]cipher.AEAD {
	_, aead, err := NewDataKey()
	require.NoError(t, err)
	return map[string]cipher.AEAD{"plaintext": nil, "encrypted": aead}
}

// What is written is read, by a walk and by its place; and what is not where it was written is not
// intact.
func TestBlocks(t *testing.T) {
	for name, aead := range ciphers(t) {
		t.Run(name, func(t *testing.T) {
			b, places := segmentOf(aead, []string{"one"}, []string{}, []string{"two", "three"})
			var rd Reader
			rd.Reset(bytes.NewReader(b), "f", 1, aead, int64(len(b)))
			var got []string
			next := places[0]
			for i := range places {
				blk, err := rd.Next(next)
				require.NoError(t, err)
				require.Equal(t, Position{Segment: 1, Offset: places[i]}, blk.At)
				require.EqualValues(t, i+1, blk.Seq)
				require.True(t, blk.Last())
				raw, err := rd.Decode(&blk)
				require.NoError(t, err)
				e := blk.Entries(raw)
				for e.Next() {
					require.EqualValues(t, 100, e.Version, "that of the batch")
					require.False(t, e.Own)
					require.Equal(t, "key "+string(e.Value), string(e.Key))
					got = append(got, string(e.Value))
				}
				require.NoError(t, e.Err("f"))
				next = blk.Next

				d := NewDecoder()
				whole := append(d.Buffer(0), b[blk.At.Offset:blk.Next]...)
				again, ts, err := d.Open("f", aead, bytes.Clone(whole), blk.Stored, blk.At)
				require.NoError(t, err)
				require.EqualValues(t, 100, ts)
				require.Equal(t, int(blk.Raw), len(again))
				for _, elsewhere := range []Position{{Segment: 2, Offset: blk.At.Offset}, {Segment: 1, Offset: blk.At.Offset + 1}} {
					_, _, err = d.Open("f", aead, bytes.Clone(whole), blk.Stored, elsewhere)
					require.ErrorIs(t, err, ErrCorrupt)
				}
				_, _, err = d.Open("f", aead, bytes.Clone(whole), blk.Stored+1, blk.At)
				require.ErrorIs(t, err, ErrCorrupt)
				d.Free()
			}
			_, err := rd.Next(next)
			require.Equal(t, io.EOF, err)
			require.Equal(t, []string{"one", "two", "three"}, got)
		})
	}
}

// Every flipped bit and every cut is noticed.
func TestBlockDamage(t *testing.T) {
	for name, aead := range ciphers(t) {
		t.Run(name, func(t *testing.T) {
			b, places := segmentOf(aead, []string{"a value"})
			var rd Reader
			for at := int(places[0]); at < len(b); at++ {
				bad := bytes.Clone(b)
				bad[at] ^= 4
				rd.Reset(bytes.NewReader(bad), "f", 1, aead, int64(len(b)))
				_, err := rd.Next(places[0])
				require.ErrorIs(t, err, ErrCorrupt, "%d", at)
				rd.Reset(bytes.NewReader(b[:at]), "f", 1, aead, int64(at))
				_, err = rd.Next(places[0])
				if at == int(places[0]) {
					require.Equal(t, io.EOF, err)
				} else {
					require.ErrorIs(t, err, ErrCorrupt, "%d", at)
				}
			}
		})
	}
}

// Behind damage a search finds the next block that is intact, and not what lies in a value and
// merely looks like one.
func TestSearch(t *testing.T) {
	inner, at := segmentOf(nil, []string{"within"})
	b, places := segmentOf(nil, []string{"one"}, []string{string(inner[at[0]:])}, []string{"three"})
	b[places[0]+HeaderSize] ^= 1
	b[places[1]+HeaderSize] ^= 1
	var rd Reader
	rd.Reset(bytes.NewReader(b), "f", 1, nil, int64(len(b)))
	s := NewSearch(int64(len(b)))
	h, found, err := s.Next(&rd, places[0])
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, places[2], s.At)
	require.EqualValues(t, 3, h.Seq)
	_, found, err = s.Next(&rd, places[2]+1)
	require.NoError(t, err)
	require.False(t, found)

	enough := errors.New("enough")
	s = NewSearch(int64(len(b)))
	s.Ask = func() error { return enough }
	_, _, err = s.Next(&rd, places[0])
	require.Equal(t, enough, err)
	require.True(t, s.Refused)
}

// Buffers that one large block has made do not stay.
func TestTrim(t *testing.T) {
	var rd Reader
	rd.window = make([]byte, 0, maxPooled)
	rd.Trim()
	require.Equal(t, maxPooled, rd.Memory())
	rd.dec.raw = make([]byte, 0, maxPooled+1)
	rd.Trim()
	require.Zero(t, rd.Memory())
}

func FuzzBlock(f *testing.F) {
	raw, _ := AppendEntry(nil, &Entry{Key: []byte("key"), Value: []byte("value"), Version: 3, ExpiresAt: 1 << 40})
	f.Add(snappy.Encode(nil, raw), uint32(len(raw)), uint32(1))
	f.Add([]byte{0}, uint32(0), uint32(0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, uint32(1<<31), uint32(7))
	f.Fuzz(func(t *testing.T, payload []byte, raw, count uint32) {
		h := Header{Stored: uint32(len(payload)), Raw: raw, Count: count, Seq: 1, flags: flagLast}
		b := make([]byte, HeaderSize, HeaderSize+len(payload))
		at := Position{1, SegmentHeaderSize}
		var d Decoder
		h.Marshal(b)
		h.crc = crcTail(crc32.Checksum(payload, castagnoli), b, d.scratch[:], at)
		h.Marshal(b)
		b = append(b, payload...)
		file := bytes.NewReader(append(make([]byte, SegmentHeaderSize), b...))
		rd := new(Reader)
		rd.Reset(file, "block", 1, nil, int64(SegmentHeaderSize+len(b)))
		got, err := rd.Next(SegmentHeaderSize)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		list, err := rd.Decode(&got)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.Len(t, list, int(raw))
		require.LessOrEqual(t, cap(list), len(payload)*MaxRatio+1)
		n := 0
		e := got.Entries(list)
		for e.Next() {
			n++
		}
		if err := e.Err("block"); err == nil {
			require.Equal(t, int(count), n)
		} else {
			require.ErrorIs(t, err, ErrCorrupt)
		}
	})
}
