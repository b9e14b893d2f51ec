package block

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testHeader() SegmentHeader {
	return SegmentHeader{DatabaseID: [16]byte{1, 2}, ID: 7, Prev: 5, PrevEnd: 4_000, PrevLastSeq: 30, FirstSeq: 32, DirectThrough: 99,
		Created: time.Unix(0, 1_700_000_000_123_456_789)}
}

func TestSegmentHeader(t *testing.T) {
	want := testHeader()
	b := make([]byte, SegmentHeaderSize)
	want.Marshal(b)
	var got SegmentHeader
	require.NoError(t, got.Unmarshal("f", b))
	require.Equal(t, want, got)
	require.Equal(t, want.Checksum(), got.Checksum())
	for at := range b {
		bad := bytes.Clone(b)
		bad[at] ^= 2 // not version 0, which is that of a torn header
		err := got.Unmarshal("f", bad)
		if at >= 8 && at < 12 {
			require.ErrorIs(t, err, ErrFormatVersion, "%d", at)
		} else {
			require.ErrorIs(t, err, ErrCorrupt, "%d", at)
		}
		require.ErrorIs(t, got.Unmarshal("f", b[:at]), ErrCorrupt, "%d", at)
	}
	torn := make([]byte, SegmentHeaderSize)
	copy(torn, segmentMagic)
	require.ErrorIs(t, got.Unmarshal("f", torn), ErrCorrupt, "only the magic got through")
}

// A header with a sound checksum that no log writes.
func TestSegmentHeaderThatContradictsItself(t *testing.T) {
	for name, change := range map[string]func(h *SegmentHeader){
		"segment 0":                         func(h *SegmentHeader) { h.ID, h.Prev, h.PrevEnd = 0, 0, 0 },
		"it follows itself":                 func(h *SegmentHeader) { h.Prev = h.ID },
		"the one before ends in its header": func(h *SegmentHeader) { h.PrevEnd = SegmentHeaderSize - 1 },
		"an end without a segment":          func(h *SegmentHeader) { h.Prev = 0 },
		"sequences that do not rise":        func(h *SegmentHeader) { h.FirstSeq = h.PrevLastSeq },
	} {
		t.Run(name, func(t *testing.T) {
			h := testHeader()
			change(&h)
			b := make([]byte, SegmentHeaderSize)
			h.Marshal(b)
			require.ErrorIs(t, new(SegmentHeader).Unmarshal("f", b), ErrCorrupt)
		})
	}
}

func TestDataKeys(t *testing.T) {
	key, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	h := testHeader()
	aead, err := h.OpenDataKey("f", key)
	require.NoError(t, err)
	require.Nil(t, aead, "plaintext")
	sealing, err := h.WrapDataKey(key)
	require.NoError(t, err)
	b := make([]byte, SegmentHeaderSize)
	h.Marshal(b)
	var got SegmentHeader
	require.NoError(t, got.Unmarshal("f", b))
	_, err = got.OpenDataKey("f", nil)
	require.ErrorIs(t, err, ErrKeyMissing)
	_, err = got.OpenDataKey("f", other)
	require.ErrorIs(t, err, ErrWrongKey)
	opening, err := got.OpenDataKey("f", key)
	require.NoError(t, err)
	nonce := make([]byte, NonceSize)
	plain, err := opening.Open(nil, nonce, sealing.Seal(nil, nonce, []byte("text"), nil), nil)
	require.NoError(t, err)
	require.Equal(t, "text", string(plain))
	got.FirstSeq++ // the key is bound to the header
	_, err = got.OpenDataKey("f", key)
	require.ErrorIs(t, err, ErrWrongKey)
}

func TestSegmentNames(t *testing.T) {
	for id, name := range map[uint64]string{1: "0000000001.seg", 12_345_678_901: "12345678901.seg"} {
		require.Equal(t, name, SegmentName(id))
		got, ok := ParseSegmentName(name)
		require.True(t, ok)
		require.Equal(t, id, got)
	}
	for _, name := range []string{"", "1.seg", "0000000000.seg", "00000000001.seg", "0000000001.idx", "+000000001.seg", "0000000001.seg.tmp"} {
		_, ok := ParseSegmentName(name)
		require.False(t, ok, name)
	}
}
