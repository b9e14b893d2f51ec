package spillfile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

var testKey = []byte("0123456789abcdef")

// written is a commit as it was given to the log, and as it is compared.
type written struct {
	seq, ts uint64
	entries string
}

func describe(entries []Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%q=%q version %d meta %d,%d expires %d\n", e.Key, e.Value, e.Version, e.Meta, e.UserMeta, e.ExpiresAt)
	}
	return b.String()
}

// fill writes n commits of every shape: one entry, several, several blocks, tombstones, expiry,
// none at all.
func fill(t testing.TB, l *Log, n int) (all []written) {
	t.Helper()
	for i := range n {
		ts := uint64(10 * (i + 1))
		var entries []Entry
		switch i % 5 {
		case 0:
			entries = []Entry{{Key: fmt.Appendf(nil, "key%03d", i), Value: fmt.Appendf(nil, "value of %d", i), UserMeta: 7}}
		case 1:
			for j := range 12 {
				entries = append(entries, Entry{Key: fmt.Appendf(nil, "key%03d.%d", i, j), Value: []byte(strings.Repeat("v", 50*j))})
			}
		case 2:
			entries = []Entry{{Key: fmt.Appendf(nil, "key%03d", i-2), Meta: MetaDelete}}
		case 3: // two blocks
			for j := range 2 {
				entries = append(entries, Entry{Key: fmt.Appendf(nil, "big%03d.%d", i, j), Value: []byte(strings.Repeat("big!", 2000))})
			}
		case 4:
			if i > 5 {
				entries = []Entry{{Key: []byte{0xff, 0, byte(i)}, Value: []byte{1}, ExpiresAt: 1 << 40, Meta: MetaDiscardEarlier}}
			}
		}
		mustPutEntries(t, l, ts, entries...)
		for j := range entries {
			entries[j].Version = ts
		}
		all = append(all, written{uint64(i + 1), ts, describe(entries)})
	}
	return all
}

func smallSpill(t testing.TB, key []byte, n int) (src Source, all []written) {
	t.Helper()
	src = Source{Dir: t.TempDir(), EncryptionKey: key}
	o := testOptions(src.Dir)
	o.SegmentSize, o.EncryptionKey = MinSegmentSize, key
	l := mustOpen(t, o)
	all = fill(t, l, n)
	require.NoError(t, l.Close())
	return src, all
}

// walkAll returns what Walk visits, by sequence, with the places of the commits.
func walkAll(t testing.TB, src Source) (map[uint64]written, map[uint64]Commit, *Findings) {
	t.Helper()
	got, places := map[uint64]written{}, map[uint64]Commit{}
	n, err := Walk(context.Background(), src, func(c *Commit) error {
		if !c.Replayed {
			got[c.Seq], places[c.Seq] = written{c.Seq, c.Ts, describe(c.Entries)}, *c
		}
		return nil
	})
	require.NoError(t, err)
	return got, places, n
}

func bySeq(all []written) map[uint64]written {
	m := map[uint64]written{}
	for _, w := range all {
		m[w.seq] = w
	}
	return m
}

// damage changes one byte of a file, counted from its end if at is negative.
func damage(t testing.TB, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	if at < 0 {
		at += int64(len(b))
	}
	b[at] ^= 0x5a
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

func TestWalkReadsWhatWasWritten(t *testing.T) {
	for name, key := range map[string][]byte{"plaintext": nil, "encrypted": testKey} {
		t.Run(name, func(t *testing.T) {
			src, all := smallSpill(t, key, 40)
			before := filesOf(t, src.Dir)
			got, _, n := walkAll(t, src)
			require.Equal(t, bySeq(all), got)
			require.Empty(t, n.Faults)
			require.Empty(t, n.Lost)
			require.NoError(t, n.OpenError)
			require.EqualValues(t, 40, n.Commits)
			require.EqualValues(t, 10, n.FirstTs)
			require.EqualValues(t, 400, n.LastTs)
			v, err := Verify(t.Context(), src, nil)
			require.NoError(t, err)
			require.Empty(t, v.Faults)
			require.Positive(t, v.Indexes)
			require.Equal(t, before, filesOf(t, src.Dir), "looking has changed a file")
		})
	}
}

func filesOf(t testing.TB, dir string) map[string]string {
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

// Every seventh byte, from a random one on, of every file of a spill that was closed. Verify names
// the file and the structure that the byte is in, and Walk still finds every commit that does not
// have the byte.
func TestEveryFlippedByteIsNamed(t *testing.T) {
	for name, key := range map[string][]byte{"plaintext": nil, "encrypted": testKey} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, all := smallSpill(t, key, 7)
			files := filesOf(t, src.Dir)
			_, places, _ := walkAll(t, src)
			disk := src
			const stride = 7
			first := newRand(t).Int64N(stride)
			for file, content := range files {
				// after a close neither says what the manifest does not
				if file == manifestTemp || file == newestName {
					continue
				}
				blocks := []int64{0}
				if strings.HasSuffix(file, block.SegmentSuffix) {
					blocks = append(blocks, blocksOf([]byte(content))...)
				}
				path := filepath.Join(src.Dir, file)
				for at := first; at < int64(len(content)); at += stride {
					want := bySeq(all)
					if strings.HasSuffix(file, block.SegmentSuffix) {
						for seq, c := range places {
							// the data key is gone
							inHeader := at < block.SegmentHeaderSize && key != nil
							if c.File == path && (inHeader || c.Offset <= at && at < c.End) {
								delete(want, seq)
							}
						}
					}
					bad := clone(files)
					bad[file] = flip(content, int(at), 0x5a)
					disk.FS = vfstest.DiskOf(src.Dir, bad)
					v, err := Verify(t.Context(), disk, nil)
					if err != nil { // the version, or the flag that says that it is encrypted
						require.True(t, at >= 8 && at < 12 && errors.Is(err, ErrFormatVersion), "%s %d: %v", file, at, err)
						continue
					}
					fault := func(f Fault) bool {
						if f.File != path {
							return false
						}
						if strings.HasSuffix(file, block.SegmentSuffix) {
							i, exact := slices.BinarySearch(blocks, at)
							if !exact {
								i--
							}
							return f.Kind == Damage && f.Offset == blocks[i]
						}
						return f.Kind == IndexDamage && f.Offset <= at || f.Kind == Damage && file == manifestName
					}
					require.True(t, slices.ContainsFunc(v.Faults, fault), "%s byte %d: %+v", file, at, v.Faults)
					got, _, n := walkAll(t, disk)
					require.Equal(t, want, got, "%s byte %d", file, at)
					lost := uint64(0)
					for _, l := range n.Lost {
						lost += l.Commits()
					}
					require.EqualValues(t, len(all)-len(want), lost, "%s byte %d: %+v", file, at, n.Lost)
				}
			}
		})
	}
}

// Several faults in one spill are all named, and what is between them is found.
func TestWalkGoesOnAfterFaults(t *testing.T) {
	src, all := smallSpill(t, nil, 40)
	_, places, _ := walkAll(t, src)
	want := bySeq(all)
	for _, seq := range []uint64{2, 3, 9, 17, 40} {
		damage(t, places[seq].File, places[seq].Offset+60)
		delete(want, seq)
	}
	gone := places[30].Segment
	require.NoError(t, os.Remove(places[30].File))
	maps.DeleteFunc(want, func(seq uint64, _ written) bool { return places[seq].Segment == gone })
	got, after, n := walkAll(t, src)
	require.Equal(t, want, got)
	require.True(t, n.Damaged())
	require.ErrorIs(t, n.OpenError, ErrCorrupt)
	lost := map[uint64]bool{}
	for i, l := range n.Lost {
		for seq := l.FirstSeq; seq <= l.LastSeq; seq++ {
			lost[seq] = true
		}
		require.Equal(t, 10*(l.FirstSeq-1), l.AfterTs, "%+v", l)
		if i < len(n.Lost)-1 {
			require.Equal(t, 10*(l.LastSeq+1), l.BeforeTs, "%+v", l)
		} else {
			require.Zero(t, l.BeforeTs)
		}
	}
	for _, w := range all {
		require.Equal(t, !lost[w.seq], got[w.seq].seq == w.seq, "commit %d", w.seq)
	}
	for seq := range got {
		require.Equal(t, seq > 2, after[seq].AfterLoss, "commit %d", seq)
	}
	require.Contains(t, fmt.Sprint(n.Faults), "is missing")
}

func TestWalkLeavesOutWhatIsReplayed(t *testing.T) {
	src, all := smallSpill(t, nil, 40)
	o := testOptions(src.Dir)
	l := mustOpen(t, o)
	segments := l.w.live
	middle := segments[len(segments)/2]
	through := middle.header.FirstSeq + 1
	require.Less(t, through, middle.lastSeq.Load(), "a part of a segment is replayed")
	require.NoError(t, l.MarkReplayed(through))
	require.NoError(t, l.Close())
	for range 2 {
		got, _, n := walkAll(t, src)
		require.Equal(t, bySeq(all[through:]), got)
		require.Empty(t, n.Faults)
		v, err := Verify(t.Context(), src, nil)
		require.NoError(t, err)
		require.Empty(t, v.Faults)
		require.Positive(t, v.Indexes)
		in, err := Inspect(src)
		require.NoError(t, err)
		require.EqualValues(t, 40-through, in.Commits)
		require.Equal(t, n.Entries, in.Entries)
		// The index of the segment that is half replayed is made again, without that half.
		require.NoError(t, mustOpen(t, o).Close())
	}
}

func TestWalkWithoutAManifest(t *testing.T) {
	src, all := smallSpill(t, nil, 12)
	require.NoError(t, os.Remove(filepath.Join(src.Dir, manifestName)))
	got, _, n := walkAll(t, src)
	require.Equal(t, bySeq(all), got)
	require.True(t, n.ManifestLost)
	require.ErrorIs(t, n.OpenError, ErrNoManifest)
	require.Len(t, n.Faults, 1)
	require.Equal(t, filepath.Join(src.Dir, manifestName), n.Faults[0].File)
	require.Empty(t, n.Lost)
}

func TestWalkNeedsTheKey(t *testing.T) {
	src, _ := smallSpill(t, testKey, 12)
	for _, row := range []struct {
		key  []byte
		want error
	}{{nil, ErrKeyMissing}, {[]byte("another key, 16b"), ErrWrongKey}} {
		src.EncryptionKey = row.key
		_, err := Walk(t.Context(), src, nil)
		require.ErrorIs(t, err, row.want)
		in, err := Inspect(src)
		require.NoError(t, err)
		require.ErrorIs(t, in.OpenError, row.want)
		require.EqualValues(t, 12, in.Commits, "the key is not needed to count")
	}
}

func TestWalkEndsWithItsContextAndItsVisitor(t *testing.T) {
	src, _ := smallSpill(t, nil, 12)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Walk(ctx, src, nil)
	require.ErrorIs(t, err, context.Canceled)
	enough := errors.New("enough")
	visits := 0
	_, err = Walk(t.Context(), src, func(*Commit) error { visits++; return enough })
	require.ErrorIs(t, err, enough)
	require.Equal(t, 1, visits)
}

func TestSourceLock(t *testing.T) {
	src, _ := smallSpill(t, nil, 2)
	a, err := src.Lock()
	require.NoError(t, err)
	b, err := src.Lock()
	require.NoError(t, err, "readers share it")
	_, err = Open(testOptions(src.Dir))
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, errors.Join(a.Close(), b.Close()))
	l := mustOpen(t, testOptions(src.Dir))
	_, err = src.Lock()
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, src.Dir)
	require.NoError(t, l.Close())
	empty := Source{Dir: t.TempDir()}
	c, err := empty.Lock()
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Empty(t, filesOf(t, empty.Dir))
}

// Sequences of commits that failed are missing, and nothing is lost.
func TestFailedCommitsAreNotLost(t *testing.T) {
	src := Source{Dir: t.TempDir()}
	l := mustOpen(t, testOptions(src.Dir))
	mustPut(t, l, 1, "a", "1")
	require.ErrorIs(t, put(l, 2, strings.Repeat("k", MaxKeySize+1), ""), ErrTooLarge)
	mustPut(t, l, 3, "b", "2")
	require.NoError(t, l.Close())
	got, _, n := walkAll(t, src)
	require.Len(t, got, 2)
	require.Contains(t, got, uint64(3))
	require.Empty(t, n.Lost)
	require.Empty(t, n.Faults)
}
