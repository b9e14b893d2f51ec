package spillfile

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/pace"
)

// threeSealed is an open log with three sealed segments in files with indexes, and one that is
// written.
func threeSealed(t *testing.T, o Options) *Log {
	t.Helper()
	l := mustOpen(t, o)
	for seg := range uint64(4) {
		for i := range uint64(20) {
			mustPut(t, l, seg*100+i+1, string(rune('a'+seg))+string(rune('a'+i)), strings.Repeat("v", 300))
		}
		if seg < 3 {
			require.NoError(t, l.Seal())
		}
	}
	require.NoError(t, l.syncAll(false))
	require.NoError(t, l.indexSealed())
	return l
}

func TestVerifyOpenNamesAllDamage(t *testing.T) {
	for name, key := range map[string][]byte{"plaintext": nil, "encrypted": testKey} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.EncryptionKey = key
			l := threeSealed(t, o)
			defer l.Close()
			damage, err := l.VerifyOpen(t.Context(), 0, 0)
			require.NoError(t, err)
			require.Empty(t, damage)

			one, two, index := filepath.Join(o.Dir, block.SegmentName(1)), filepath.Join(o.Dir, block.SegmentName(2)), filepath.Join(o.Dir, index.Name(3))
			b, err := os.ReadFile(one)
			require.NoError(t, err)
			blocks := forgery.BlocksOf(b)
			damageAt := func(path string, at int64) { flipFile(t, path, at) }
			damageAt(one, blocks[3]+60)
			damageAt(one, blocks[7]+60)
			damageAt(two, 100) // its header
			damageAt(index, 10)
			damage, err = l.VerifyOpen(t.Context(), 0, 0)
			require.NoError(t, err)
			require.Len(t, damage, 3)
			require.Equal(t, []string{one, one, two}, []string{damage[0].File, damage[1].File, damage[2].File})
			require.Equal(t, []int64{blocks[3], blocks[7], 0}, []int64{damage[0].Offset, damage[1].Offset, damage[2].Offset})
			v, ok := get(t, l, "cb")
			require.True(t, ok, "the index is made again")
			require.NotEmpty(t, v)
		})
	}
}

func flipFile(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[at] ^= 0x40
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// What was read within the time is left out, and so is what is still written.
func TestVerifyOpenOnceInAWhile(t *testing.T) {
	o := testOptions(t.TempDir())
	l := threeSealed(t, o)
	defer l.Close()
	flipFile(t, filepath.Join(o.Dir, block.SegmentName(4)), 300)
	for i, row := range []struct {
		since time.Duration
		found int
	}{{time.Hour, 0}, {0, 1}, {time.Hour, 0}} {
		damage, err := l.VerifyOpen(t.Context(), 0, row.since)
		require.NoError(t, err)
		require.Len(t, damage, row.found, "%d", i)
	}
	flipFile(t, filepath.Join(o.Dir, block.SegmentName(1)), 300)
	damage, err := l.VerifyOpen(t.Context(), 0, time.Hour)
	require.NoError(t, err)
	require.Empty(t, damage, "it was read a moment ago")
	damage, err = l.VerifyOpen(t.Context(), 0, time.Nanosecond)
	require.NoError(t, err)
	require.Len(t, damage, 1)
}

// A segment that is replayed meanwhile is let go of, and is no error.
func TestVerifyOpenBesideReplay(t *testing.T) {
	o := testOptions(t.TempDir())
	l := threeSealed(t, o)
	defer l.Close()
	s := l.liveAfter(0)
	require.NoError(t, l.MarkReplayed(1000))
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that it is an error to read anything
	damage, err := l.verifySegment(ctx, &pace.Pacer{}, s)
	require.NoError(t, err)
	require.Empty(t, damage)
	l.unref(s)
	require.True(t, waitFor(func() bool { return l.State().DiskBytes == 0 }))
	mustPut(t, l, 2000, "a", "1")
	_, err = l.VerifyOpen(ctx, 1, 0)
	require.ErrorIs(t, err, context.Canceled)
}
