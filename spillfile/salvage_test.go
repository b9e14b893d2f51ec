package spillfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// damagedSpill is a spill of n commits, of which 3 and 9 are damaged.
func damagedSpill(t testing.TB, key []byte, n int) (src Source, want map[uint64]written) {
	t.Helper()
	src, all := smallSpill(t, key, n)
	_, places, _ := walkAll(t, src)
	want = bySeq(all)
	for _, seq := range []uint64{3, 9} {
		damage(t, places[seq].File, places[seq].Offset+60)
		delete(want, seq)
	}
	return src, want
}

// byTs is what a spill holds without the sequences, which Salvage gives anew.
func byTs(commits map[uint64]written) map[uint64]string {
	m := map[uint64]string{}
	for _, w := range commits {
		m[w.ts] = w.entries
	}
	return m
}

func TestSalvageKeepsEveryIntactCommit(t *testing.T) {
	for name, key := range map[string][]byte{"plaintext": nil, "encrypted": testKey} {
		t.Run(name, func(t *testing.T) {
			src, want := damagedSpill(t, key, 40)
			old := filesOf(t, src.Dir)
			_, _, found := walkAll(t, src)
			done, err := Salvage(t.Context(), src, found, false)
			require.NoError(t, err)
			require.EqualValues(t, len(want), done.Commits)
			require.False(t, done.Resumed)

			aside := filesOf(t, done.Aside)
			delete(old, lockName)
			require.Equal(t, old, aside, "the old files are set aside as they were")
			got, _, n := walkAll(t, src)
			require.Equal(t, byTs(want), byTs(got))
			require.Empty(t, n.Faults)
			require.NoDirExists(t, filepath.Join(src.Dir, rebuiltName))
			require.NoDirExists(t, filepath.Join(src.Dir, rebuildingName))

			o := testOptions(src.Dir)
			o.EncryptionKey, o.Existing = key, true
			l := mustOpen(t, o)
			require.EqualValues(t, len(want), l.State().LiveBatches)
			require.Equal(t, Unordered, l.State().DirectThrough, "Badger may have a part of what is lost")
			mustPut(t, l, 1000, "new", "commit")
			require.NoError(t, l.Close())
		})
	}
}

func TestSalvageOfThePrefix(t *testing.T) {
	src, _ := damagedSpill(t, nil, 40)
	_, _, found := walkAll(t, src)
	done, err := Salvage(t.Context(), src, found, true)
	require.NoError(t, err)
	require.EqualValues(t, 2, done.Commits)
	got, _, _ := walkAll(t, src)
	require.Len(t, got, 2)
	require.Contains(t, byTs(got), uint64(10))
	require.Contains(t, byTs(got), uint64(20))
}

// Without a manifest nothing is known to be lost, and recovery can still compare timestamps.
func TestSalvageWithoutAManifestKeepsWhatMayHaveGoneToBadger(t *testing.T) {
	src := Source{Dir: t.TempDir()}
	o := testOptions(src.Dir)
	o.SegmentSize = MinSegmentSize
	l := mustOpen(t, o)
	l.Rotate(5)
	all := fill(t, l, 12)
	require.NoError(t, l.Close())
	damage(t, filepath.Join(src.Dir, manifestName), 40)
	_, _, found := walkAll(t, src)
	require.True(t, found.ManifestLost)
	_, err := Salvage(t.Context(), src, found, false)
	require.NoError(t, err)
	got, _, n := walkAll(t, src)
	require.Equal(t, byTs(bySeq(all)), byTs(got))
	require.False(t, n.ManifestLost)
	in, err := Inspect(src)
	require.NoError(t, err)
	for _, seg := range in.Segments {
		require.False(t, seg.Unordered, "no entry has got a version of its own")
	}
	l = mustOpen(t, testOptions(src.Dir))
	require.EqualValues(t, 5, l.State().DirectThrough)
	require.NoError(t, l.Close())
}

func TestSalvageRefusesAnotherSpillThanWasLookedAt(t *testing.T) {
	src, _ := damagedSpill(t, nil, 40)
	_, places, found := walkAll(t, src)
	damage(t, places[20].File, places[20].Offset+60)
	before := filesOf(t, src.Dir)
	_, err := Salvage(t.Context(), src, found, false)
	require.ErrorIs(t, err, ErrChanged)
	require.Equal(t, before, filesOf(t, src.Dir))
	require.NoDirExists(t, filepath.Join(src.Dir, rebuildingName))
}

func TestSalvageIsKeptOutByALock(t *testing.T) {
	src, _ := damagedSpill(t, nil, 40)
	_, _, found := walkAll(t, src)
	lock, err := src.Lock()
	require.NoError(t, err)
	defer lock.Close()
	_, err = Salvage(t.Context(), src, found, false)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, src.Dir)
}

func TestSalvageIsInterruptedBetweenCommits(t *testing.T) {
	src, _ := damagedSpill(t, nil, 40)
	_, _, found := walkAll(t, src)
	before := filesOf(t, src.Dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Salvage(ctx, src, found, false)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, before, filesOf(t, src.Dir))
	require.NoDirExists(t, filepath.Join(src.Dir, rebuildingName))
}

var errCut = errors.New("cut")

// cutWhen is the operating system until a change for which cut is true; from there on every change
// fails, as if the process had been killed.
func cutWhen(cut func(op, path string) bool) FS {
	var gone atomic.Bool
	return vfstest.NewFaults(OS, func(op, path string) error {
		switch op {
		case "create", "rename", "remove", "mkdir":
			if gone.Load() || cut(op, path) {
				gone.Store(true)
				return errCut
			}
		}
		return nil
	})
}

// cutAfter lets so many changes through.
func cutAfter(changes int64) FS {
	var n atomic.Int64
	return cutWhen(func(string, string) bool { return n.Add(1) > changes })
}

// Salvage fails at its k-th change, k+1, and so on: the spill is the old one, or refused, or the
// new one; and another Salvage ends well. Never is it something else that opens.
func TestSalvageCutAtEveryStep(t *testing.T) {
	for _, lostManifest := range []bool{false, true} {
		for k, done := int64(0), false; !done; k++ {
			src, want := damagedSpill(t, nil, 12)
			if lostManifest {
				require.NoError(t, os.Remove(filepath.Join(src.Dir, manifestName)))
			}
			_, _, found := walkAll(t, src)
			first := found.OpenError
			cut := src
			cut.FS = cutAfter(k)
			_, err := Salvage(t.Context(), cut, found, false)
			done = err == nil
			require.Less(t, k, int64(200))
			if !done {
				require.ErrorIs(t, err, errCut)
			}
			// the old one, or refused until it is finished
			if _, _, found = walkAll(t, src); found.Damaged() {
				if now := found.OpenError; first != nil || now != nil {
					require.True(t, errors.Is(now, ErrNoManifest) || first != nil && now.Error() == first.Error(), "step %d: %v", k, now)
				}
				again, err := Salvage(t.Context(), src, found, false)
				require.NoError(t, err, "step %d", k)
				require.NotEmpty(t, filesOf(t, again.Aside))
			}
			got, _, n := walkAll(t, src)
			require.Equal(t, byTs(want), byTs(got), "step %d", k)
			require.Empty(t, n.Faults)
			require.NoError(t, n.OpenError)
			l := mustOpen(t, testOptions(src.Dir))
			require.EqualValues(t, len(want), l.State().LiveBatches, "step %d", k)
			require.NoError(t, l.Close())
		}
	}
}

func TestSalvageOfNothing(t *testing.T) {
	src, _ := smallSpill(t, testKey, 3)
	for name := range filesOf(t, src.Dir) {
		if strings.HasSuffix(name, block.SegmentSuffix) {
			damage(t, filepath.Join(src.Dir, name), 40) // the data key
		}
	}
	got, _, found := walkAll(t, src)
	require.Empty(t, got)
	require.Equal(t, []Loss{{FirstSeq: 1, LastSeq: 3}}, found.Lost)
	done, err := Salvage(t.Context(), src, found, false)
	require.NoError(t, err)
	require.Zero(t, done.Commits)
	o := testOptions(src.Dir)
	o.EncryptionKey, o.Existing = testKey, true
	l := mustOpen(t, o)
	require.True(t, l.Empty())
	require.NoError(t, l.Close())
}
