package check_test

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

	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/internal/spilltest"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

func TestWalkReadsWhatWasWritten(t *testing.T) {
	for name, key := range map[string][]byte{"plaintext": nil, "encrypted": spilltest.Key} {
		t.Run(name, func(t *testing.T) {
			src, all := spilltest.Small(t, key, 40)
			before := spilltest.Files(t, src.Dir)
			got, _, n := spilltest.WalkAll(t, src)
			require.Equal(t, spilltest.BySeq(all), got)
			require.Empty(t, n.Faults)
			require.Empty(t, n.Lost)
			require.NoError(t, n.OpenError)
			require.EqualValues(t, 40, n.Commits)
			require.EqualValues(t, 10, n.FirstTs)
			require.EqualValues(t, 400, n.LastTs)
			v, err := check.Verify(t.Context(), src, nil)
			require.NoError(t, err)
			require.Empty(t, v.Faults)
			require.Positive(t, v.Indexes)
			require.Equal(t, before, spilltest.Files(t, src.Dir), "looking has changed a file")
		})
	}
}

// Every seventh byte, from a random one on, of every file of a spill that was closed. Verify names
// the file and the structure that the byte is in, and Walk still finds every commit that does not
// have the byte.
func TestEveryFlippedByteIsNamed(t *testing.T) {
	for name, key := range map[string][]byte{"plaintext": nil, "encrypted": spilltest.Key} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, all := spilltest.Small(t, key, 7)
			files := spilltest.Files(t, src.Dir)
			_, places, _ := spilltest.WalkAll(t, src)
			disk := src
			const stride = 7
			first := seed.Random(t).Int64N(stride)
			for file, content := range files {
				// after a close neither says what the manifest does not
				if file == layout.ManifestTemp || file == layout.NewestName {
					continue
				}
				blocks := []int64{0}
				if strings.HasSuffix(file, block.SegmentSuffix) {
					blocks = append(blocks, forgery.BlocksOf([]byte(content))...)
				}
				path := filepath.Join(src.Dir, file)
				for at := first; at < int64(len(content)); at += stride {
					want := spilltest.BySeq(all)
					if strings.HasSuffix(file, block.SegmentSuffix) {
						for seq, c := range places {
							// the data key is gone
							inHeader := at < block.SegmentHeaderSize && key != nil
							if c.File == path && (inHeader || c.Offset <= at && at < c.End) {
								delete(want, seq)
							}
						}
					}
					bad := maps.Clone(files)
					bad[file] = forgery.Flip(content, int(at), 0x5a)
					disk.FS = vfstest.DiskOf(src.Dir, bad)
					v, err := check.Verify(t.Context(), disk, nil)
					if err != nil { // the version, or the flag that says that it is encrypted
						require.True(t, at >= 8 && at < 12 && errors.Is(err, spillfile.ErrFormatVersion), "%s %d: %v", file, at, err)
						continue
					}
					fault := func(f check.Fault) bool {
						if f.File != path {
							return false
						}
						if strings.HasSuffix(file, block.SegmentSuffix) {
							i, exact := slices.BinarySearch(blocks, at)
							if !exact {
								i--
							}
							return f.Kind == check.Damage && f.Offset == blocks[i]
						}
						return f.Kind == check.IndexDamage && f.Offset <= at || f.Kind == check.Damage && file == layout.ManifestName
					}
					require.True(t, slices.ContainsFunc(v.Faults, fault), "%s byte %d: %+v", file, at, v.Faults)
					got, _, n := spilltest.WalkAll(t, disk)
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
	src, all := spilltest.Small(t, nil, 40)
	_, places, _ := spilltest.WalkAll(t, src)
	want := spilltest.BySeq(all)
	for _, seq := range []uint64{2, 3, 9, 17, 40} {
		spilltest.Damage(t, places[seq].File, places[seq].Offset+60)
		delete(want, seq)
	}
	gone := places[30].Segment
	require.NoError(t, os.Remove(places[30].File))
	maps.DeleteFunc(want, func(seq uint64, _ spilltest.Written) bool { return places[seq].Segment == gone })
	got, after, n := spilltest.WalkAll(t, src)
	require.Equal(t, want, got)
	require.True(t, n.Damaged())
	require.ErrorIs(t, n.OpenError, spillfile.ErrCorrupt)
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
		require.Equal(t, !lost[w.Seq], got[w.Seq].Seq == w.Seq, "commit %d", w.Seq)
	}
	for seq := range got {
		require.Equal(t, seq > 2, after[seq].AfterLoss, "commit %d", seq)
	}
	require.Contains(t, fmt.Sprint(n.Faults), "is missing")
}

func TestWalkLeavesOutWhatIsReplayed(t *testing.T) {
	src, all := spilltest.Small(t, nil, 40)
	in, err := check.Inspect(src)
	require.NoError(t, err)
	middle := in.Segments[len(in.Segments)/2]
	through := middle.FirstSeq + 1
	require.Less(t, through, middle.LastSeq, "a part of a segment is replayed")
	o := spilltest.Options(src.Dir)
	l := spilltest.MustOpen(t, o)
	require.NoError(t, l.MarkReplayed(through))
	require.NoError(t, l.Close())
	for range 2 {
		got, _, n := spilltest.WalkAll(t, src)
		require.Equal(t, spilltest.BySeq(all[through:]), got)
		require.Empty(t, n.Faults)
		v, err := check.Verify(t.Context(), src, nil)
		require.NoError(t, err)
		require.Empty(t, v.Faults)
		require.Positive(t, v.Indexes)
		in, err := check.Inspect(src)
		require.NoError(t, err)
		require.EqualValues(t, 40-through, in.Commits)
		require.Equal(t, n.Entries, in.Entries)
		// The index of the segment that is half replayed is made again, without that half.
		require.NoError(t, spilltest.MustOpen(t, o).Close())
	}
}

func TestWalkWithoutAManifest(t *testing.T) {
	src, all := spilltest.Small(t, nil, 12)
	require.NoError(t, os.Remove(filepath.Join(src.Dir, layout.ManifestName)))
	got, _, n := spilltest.WalkAll(t, src)
	require.Equal(t, spilltest.BySeq(all), got)
	require.True(t, n.ManifestLost)
	require.ErrorIs(t, n.OpenError, spillfile.ErrNoManifest)
	require.Len(t, n.Faults, 1)
	require.Equal(t, filepath.Join(src.Dir, layout.ManifestName), n.Faults[0].File)
	require.Empty(t, n.Lost)
}

func TestWalkNeedsTheKey(t *testing.T) {
	src, _ := spilltest.Small(t, spilltest.Key, 12)
	for _, row := range []struct {
		key  []byte
		want error
	}{{nil, spillfile.ErrKeyMissing}, {[]byte("another key, 16b"), spillfile.ErrWrongKey}} {
		src.EncryptionKey = row.key
		_, err := check.Walk(t.Context(), src, nil)
		require.ErrorIs(t, err, row.want)
		in, err := check.Inspect(src)
		require.NoError(t, err)
		require.ErrorIs(t, in.OpenError, row.want)
		require.EqualValues(t, 12, in.Commits, "the key is not needed to count")
	}
}

func TestWalkEndsWithItsContextAndItsVisitor(t *testing.T) {
	src, _ := spilltest.Small(t, nil, 12)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := check.Walk(ctx, src, nil)
	require.ErrorIs(t, err, context.Canceled)
	enough := errors.New("enough")
	visits := 0
	_, err = check.Walk(t.Context(), src, func(*check.Commit) error { visits++; return enough })
	require.ErrorIs(t, err, enough)
	require.Equal(t, 1, visits)
}

func TestSourceLock(t *testing.T) {
	src, _ := spilltest.Small(t, nil, 2)
	a, err := src.Lock()
	require.NoError(t, err)
	b, err := src.Lock()
	require.NoError(t, err, "readers share it")
	_, err = spillfile.Open(spilltest.Options(src.Dir))
	require.ErrorIs(t, err, spillfile.ErrLocked)
	require.NoError(t, errors.Join(a.Close(), b.Close()))
	l := spilltest.MustOpen(t, spilltest.Options(src.Dir))
	_, err = src.Lock()
	require.ErrorIs(t, err, spillfile.ErrLocked)
	require.ErrorContains(t, err, src.Dir)
	require.NoError(t, l.Close())
	empty := check.Source{Dir: t.TempDir()}
	c, err := empty.Lock()
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Empty(t, spilltest.Files(t, empty.Dir))
}

// Sequences of commits that failed are missing, and nothing is lost.
func TestFailedCommitsAreNotLost(t *testing.T) {
	src := check.Source{Dir: t.TempDir()}
	l := spilltest.MustOpen(t, spilltest.Options(src.Dir))
	spilltest.MustPut(t, l, 1, "a", "1")
	require.ErrorIs(t, spilltest.Put(l, 2, strings.Repeat("k", spillfile.MaxKeySize+1), ""), spillfile.ErrTooLarge)
	spilltest.MustPut(t, l, 3, "b", "2")
	require.NoError(t, l.Close())
	got, _, n := spilltest.WalkAll(t, src)
	require.Len(t, got, 2)
	require.Contains(t, got, uint64(3))
	require.Empty(t, n.Lost)
	require.Empty(t, n.Faults)
}
