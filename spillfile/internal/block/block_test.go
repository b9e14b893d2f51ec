package block

import (
	"bytes"
	"hash/crc32"
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"
)

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
