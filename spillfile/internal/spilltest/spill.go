package spilltest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

// Key is that of the spills that are encrypted.
var Key = []byte("0123456789abcdef")

// Written is a commit as it was given to the log, and as it is compared.
type Written struct {
	Seq, Ts uint64 // sequence and commit timestamp
	Entries string // in words
}

func describe(entries []block.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%q=%q version %d meta %d,%d expires %d\n", e.Key, e.Value, e.Version, e.Meta, e.UserMeta, e.ExpiresAt)
	}
	return b.String()
}

// Fill writes n commits of every shape: one entry, several, several blocks, tombstones, expiry,
// none at all.
func Fill(t testing.TB, l *spillfile.Log, n int) (all []Written) {
	t.Helper()
	for i := range n {
		ts := uint64(10 * (i + 1))
		var entries []block.Entry
		switch i % 5 {
		case 0:
			entries = []block.Entry{{Key: fmt.Appendf(nil, "key%03d", i), Value: fmt.Appendf(nil, "value of %d", i), UserMeta: 7}}
		case 1:
			for j := range 12 {
				entries = append(entries, block.Entry{Key: fmt.Appendf(nil, "key%03d.%d", i, j), Value: []byte(strings.Repeat("v", 50*j))})
			}
		case 2:
			entries = []block.Entry{{Key: fmt.Appendf(nil, "key%03d", i-2), Meta: block.MetaDelete}}
		case 3: // two blocks
			for j := range 2 {
				entries = append(entries, block.Entry{Key: fmt.Appendf(nil, "big%03d.%d", i, j), Value: []byte(strings.Repeat("big!", 2000))})
			}
		case 4:
			if i > 5 {
				entries = []block.Entry{{Key: []byte{0xff, 0, byte(i)}, Value: []byte{1}, ExpiresAt: 1 << 40, Meta: block.MetaDiscardEarlier}}
			}
		}
		MustPutEntries(t, l, ts, entries...)
		for j := range entries {
			entries[j].Version = ts
		}
		all = append(all, Written{uint64(i + 1), ts, describe(entries)})
	}
	return all
}

// Small makes a spill of small segments with n commits of Fill, closes it, and returns them.
func Small(t testing.TB, key []byte, n int) (src check.Source, all []Written) {
	t.Helper()
	src = check.Source{Dir: t.TempDir(), EncryptionKey: key}
	o := Options(src.Dir)
	o.SegmentSize, o.EncryptionKey = spillfile.MinSegmentSize, key
	l := MustOpen(t, o)
	all = Fill(t, l, n)
	require.NoError(t, l.Close())
	return src, all
}

// WalkAll returns what Walk visits, by sequence, with the places of the commits.
func WalkAll(t testing.TB, src check.Source) (map[uint64]Written, map[uint64]check.Commit, *check.Findings) {
	t.Helper()
	got, places := map[uint64]Written{}, map[uint64]check.Commit{}
	n, err := check.Walk(context.Background(), src, func(c *check.Commit) error {
		if !c.Replayed {
			got[c.Seq], places[c.Seq] = Written{c.Seq, c.Ts, describe(c.Entries)}, *c
		}
		return nil
	})
	require.NoError(t, err)
	return got, places, n
}

// BySeq returns the commits by their sequence.
func BySeq(all []Written) map[uint64]Written {
	m := map[uint64]Written{}
	for _, w := range all {
		m[w.Seq] = w
	}
	return m
}

// Damage changes one byte of a file, counted from its end if at is negative.
func Damage(t testing.TB, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	if at < 0 {
		at += int64(len(b))
	}
	b[at] ^= 0x5a
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// Files returns the content of each file in a directory, by its name.
func Files(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if !e.IsDir() {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			require.NoError(t, err)
			files[e.Name()] = string(b)
		}
	}
	return files
}

// Damaged is a spill of n commits, of which 3 and 9 are damaged.
func Damaged(t testing.TB, key []byte, n int) (src check.Source, want map[uint64]Written) {
	t.Helper()
	src, all := Small(t, key, n)
	_, places, _ := WalkAll(t, src)
	want = BySeq(all)
	for _, seq := range []uint64{3, 9} {
		Damage(t, places[seq].File, places[seq].Offset+60)
		delete(want, seq)
	}
	return src, want
}
