package repair_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/internal/spilltest"
	"github.com/badgerspill/badgerspill/spillfile/repair"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// byTs is what a spill holds without the sequences, which Salvage gives anew.
func byTs(commits map[uint64]spilltest.Written) map[uint64]string {
	m := map[uint64]string{}
	for _, w := range commits {
		m[w.Ts] = w.Entries
	}
	return m
}

func TestSalvageKeepsEveryIntactCommit(t *testing.T) {
	for name, key := range map[string][]byte{"plaintext": nil, "encrypted": spilltest.Key} {
		t.Run(name, func(t *testing.T) {
			src, want := spilltest.Damaged(t, key, 40)
			old := spilltest.Files(t, src.Dir)
			_, _, found := spilltest.WalkAll(t, src)
			done, err := repair.Salvage(t.Context(), src, found, false)
			require.NoError(t, err)
			require.EqualValues(t, len(want), done.Commits)
			require.False(t, done.Resumed)

			aside := spilltest.Files(t, done.Aside)
			delete(old, layout.LockName)
			require.Equal(t, old, aside, "the old files are set aside as they were")
			got, _, n := spilltest.WalkAll(t, src)
			require.Equal(t, byTs(want), byTs(got))
			require.Empty(t, n.Faults)
			require.NoDirExists(t, filepath.Join(src.Dir, layout.RebuiltName))
			require.NoDirExists(t, filepath.Join(src.Dir, layout.RebuildingName))

			o := spilltest.Options(src.Dir)
			o.EncryptionKey, o.Existing = key, true
			l := spilltest.MustOpen(t, o)
			require.EqualValues(t, len(want), l.State().LiveBatches)
			require.Equal(t, spillfile.Unordered, l.State().DirectThrough, "Badger may have a part of what is lost")
			spilltest.MustPut(t, l, 1000, "new", "commit")
			require.NoError(t, l.Close())
		})
	}
}

func TestSalvageOfThePrefix(t *testing.T) {
	src, _ := spilltest.Damaged(t, nil, 40)
	_, _, found := spilltest.WalkAll(t, src)
	done, err := repair.Salvage(t.Context(), src, found, true)
	require.NoError(t, err)
	require.EqualValues(t, 2, done.Commits)
	got, _, _ := spilltest.WalkAll(t, src)
	require.Len(t, got, 2)
	require.Contains(t, byTs(got), uint64(10))
	require.Contains(t, byTs(got), uint64(20))
}

// Without a manifest nothing is known to be lost, and recovery can still compare timestamps.
func TestSalvageWithoutAManifestKeepsWhatMayHaveGoneToBadger(t *testing.T) {
	src := check.Source{Dir: t.TempDir()}
	o := spilltest.Options(src.Dir)
	o.SegmentSize = spillfile.MinSegmentSize
	l := spilltest.MustOpen(t, o)
	l.Rotate(5)
	all := spilltest.Fill(t, l, 12)
	require.NoError(t, l.Close())
	spilltest.Damage(t, filepath.Join(src.Dir, layout.ManifestName), 40)
	_, _, found := spilltest.WalkAll(t, src)
	require.True(t, found.ManifestLost)
	_, err := repair.Salvage(t.Context(), src, found, false)
	require.NoError(t, err)
	got, _, n := spilltest.WalkAll(t, src)
	require.Equal(t, byTs(spilltest.BySeq(all)), byTs(got))
	require.False(t, n.ManifestLost)
	in, err := check.Inspect(src)
	require.NoError(t, err)
	for _, seg := range in.Segments {
		require.False(t, seg.Unordered, "no entry has got a version of its own")
	}
	l = spilltest.MustOpen(t, spilltest.Options(src.Dir))
	require.EqualValues(t, 5, l.State().DirectThrough)
	require.NoError(t, l.Close())
}

func TestSalvageRefusesAnotherSpillThanWasLookedAt(t *testing.T) {
	src, _ := spilltest.Damaged(t, nil, 40)
	_, places, found := spilltest.WalkAll(t, src)
	spilltest.Damage(t, places[20].File, places[20].Offset+60)
	before := spilltest.Files(t, src.Dir)
	_, err := repair.Salvage(t.Context(), src, found, false)
	require.ErrorIs(t, err, repair.ErrChanged)
	require.Equal(t, before, spilltest.Files(t, src.Dir))
	require.NoDirExists(t, filepath.Join(src.Dir, layout.RebuildingName))
}

func TestSalvageIsKeptOutByALock(t *testing.T) {
	src, _ := spilltest.Damaged(t, nil, 40)
	_, _, found := spilltest.WalkAll(t, src)
	lock, err := src.Lock()
	require.NoError(t, err)
	defer lock.Close()
	_, err = repair.Salvage(t.Context(), src, found, false)
	require.ErrorIs(t, err, spillfile.ErrLocked)
	require.ErrorContains(t, err, src.Dir)
}

func TestSalvageIsInterruptedBetweenCommits(t *testing.T) {
	src, _ := spilltest.Damaged(t, nil, 40)
	_, _, found := spilltest.WalkAll(t, src)
	before := spilltest.Files(t, src.Dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := repair.Salvage(ctx, src, found, false)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, before, spilltest.Files(t, src.Dir))
	require.NoDirExists(t, filepath.Join(src.Dir, layout.RebuildingName))
}

var errCut = errors.New("cut")

// cutWhen is the operating system until a change for which cut is true; from there on every change
// fails, as if the process had been killed.
func cutWhen(cut func(op, path string) bool) vfs.FS {
	var gone atomic.Bool
	return vfstest.NewFaults(spillfile.OS, func(op, path string) error {
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
func cutAfter(changes int64) vfs.FS {
	var n atomic.Int64
	return cutWhen(func(string, string) bool { return n.Add(1) > changes })
}

// Salvage fails at its k-th change, k+1, and so on: the spill is the old one, or refused, or the
// new one; and another Salvage ends well. Never is it something else that opens.
func TestSalvageCutAtEveryStep(t *testing.T) {
	for _, lostManifest := range []bool{false, true} {
		for k, done := int64(0), false; !done; k++ {
			src, want := spilltest.Damaged(t, nil, 12)
			if lostManifest {
				require.NoError(t, os.Remove(filepath.Join(src.Dir, layout.ManifestName)))
			}
			_, _, found := spilltest.WalkAll(t, src)
			first := found.OpenError
			cut := src
			cut.FS = cutAfter(k)
			_, err := repair.Salvage(t.Context(), cut, found, false)
			done = err == nil
			require.Less(t, k, int64(200))
			if !done {
				require.ErrorIs(t, err, errCut)
			}
			// the old one, or refused until it is finished
			if _, _, found = spilltest.WalkAll(t, src); found.Damaged() {
				if now := found.OpenError; first != nil || now != nil {
					require.True(t, errors.Is(now, spillfile.ErrNoManifest) || first != nil && now.Error() == first.Error(), "step %d: %v", k, now)
				}
				again, err := repair.Salvage(t.Context(), src, found, false)
				require.NoError(t, err, "step %d", k)
				require.NotEmpty(t, spilltest.Files(t, again.Aside))
			}
			got, _, n := spilltest.WalkAll(t, src)
			require.Equal(t, byTs(want), byTs(got), "step %d", k)
			require.Empty(t, n.Faults)
			require.NoError(t, n.OpenError)
			l := spilltest.MustOpen(t, spilltest.Options(src.Dir))
			require.EqualValues(t, len(want), l.State().LiveBatches, "step %d", k)
			require.NoError(t, l.Close())
		}
	}
}

func TestSalvageOfNothing(t *testing.T) {
	src, _ := spilltest.Small(t, spilltest.Key, 3)
	for name := range spilltest.Files(t, src.Dir) {
		if strings.HasSuffix(name, block.SegmentSuffix) {
			spilltest.Damage(t, filepath.Join(src.Dir, name), 40) // the data key
		}
	}
	got, _, found := spilltest.WalkAll(t, src)
	require.Empty(t, got)
	require.Equal(t, []check.Loss{{FirstSeq: 1, LastSeq: 3}}, found.Lost)
	done, err := repair.Salvage(t.Context(), src, found, false)
	require.NoError(t, err)
	require.Zero(t, done.Commits)
	o := spilltest.Options(src.Dir)
	o.EncryptionKey, o.Existing = spilltest.Key, true
	l := spilltest.MustOpen(t, o)
	require.True(t, l.Empty())
	require.NoError(t, l.Close())
}
