package spillfile

import (
	"bytes"
	"hash/crc32"
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"
)

func FuzzBlock(f *testing.F) {
	raw, _ := appendEntry(nil, &Entry{Key: []byte("key"), Value: []byte("value"), Version: 3, ExpiresAt: 1 << 40})
	f.Add(snappy.Encode(nil, raw), uint32(len(raw)), uint32(1))
	f.Add([]byte{0}, uint32(0), uint32(0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, uint32(1<<31), uint32(7))
	f.Fuzz(func(t *testing.T, payload []byte, raw, count uint32) {
		h := blockHeader{stored: uint32(len(payload)), raw: raw, count: count, seq: 1, flags: flagLast}
		b := make([]byte, blockHeaderSize, blockHeaderSize+len(payload))
		at := Position{1, segmentHeaderSize}
		var d decoder
		h.marshal(b)
		h.crc = crcTail(crc32.Checksum(payload, castagnoli), b, d.scratch[:], at)
		h.marshal(b)
		b = append(b, payload...)
		file := bytes.NewReader(append(make([]byte, segmentHeaderSize), b...))
		rd := new(blockReader)
		rd.reset(file, "block", 1, nil, int64(segmentHeaderSize+len(b)))
		got, err := rd.next(segmentHeaderSize)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		list, err := rd.decode(&got)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.Len(t, list, int(raw))
		require.LessOrEqual(t, cap(list), len(payload)*snappyMaxRatio+1)
		n := 0
		e := got.entries(list)
		for e.next() {
			n++
		}
		if err := e.err("block"); err == nil {
			require.Equal(t, int(count), n)
		} else {
			require.ErrorIs(t, err, ErrCorrupt)
		}
	})
}
