package repair_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/internal/spilltest"
	"github.com/badgerspill/badgerspill/spillfile/repair"
)

var discardedAt = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// interlocked is a spill with an interlock beside it.
func interlocked(t *testing.T) (src check.Source, interlock string) {
	src, _ = spilltest.Small(t, nil, 12)
	interlock = filepath.Join(t.TempDir(), "INTERLOCK.mem")
	require.NoError(t, os.WriteFile(interlock, []byte(src.Dir+"\n"), 0o600))
	return src, interlock
}

// putBack is the way back that the docs tell: the interlock, then the files, the manifest last.
func putBack(t *testing.T, folder, dir, interlock string) {
	t.Helper()
	names := slices.Sorted(maps.Keys(spilltest.Files(t, folder)))
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(b, a) })
	first, last := filepath.Base(interlock), layout.ManifestName
	require.NoError(t, os.Rename(filepath.Join(folder, first), interlock))
	for _, name := range names {
		if name != first && name != last {
			require.NoError(t, os.Rename(filepath.Join(folder, name), filepath.Join(dir, name)))
		}
	}
	require.NoError(t, os.Rename(filepath.Join(folder, last), filepath.Join(dir, last)))
}

func TestDiscardAndBack(t *testing.T) {
	src, interlock := interlocked(t)
	before := spilltest.Files(t, src.Dir)
	all, _, _ := spilltest.WalkAll(t, src)
	folder, err := repair.Discard(src, interlock, discardedAt)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(src.Dir, "discarded-2026-03-01T100000Z"), folder)
	require.NoFileExists(t, interlock)
	left := spilltest.Files(t, src.Dir)
	delete(left, layout.LockName)
	require.Empty(t, left)
	aside := spilltest.Files(t, folder)
	require.Equal(t, src.Dir+"\n", aside["INTERLOCK.mem"])
	_, err = repair.Discard(src, "", discardedAt)
	require.ErrorIs(t, err, repair.ErrNothingToDiscard)

	// Another spill is made, emptied, and the old one comes back.
	l := spilltest.MustOpen(t, spilltest.Options(src.Dir))
	spilltest.MustPut(t, l, 1, "new", "1")
	require.NoError(t, l.DiscardAll())
	require.NoError(t, l.Close())
	putBack(t, folder, src.Dir, interlock)
	require.FileExists(t, interlock)
	now := spilltest.Files(t, src.Dir)
	for name, content := range before {
		if name != layout.LockName && name != layout.NewestName {
			require.Equal(t, content, now[name], name)
		}
	}
	again, _, n := spilltest.WalkAll(t, src)
	require.Equal(t, byTs(all), byTs(again))
	require.NoError(t, n.OpenError)
	require.NoError(t, spilltest.MustOpen(t, spilltest.Options(src.Dir)).Close())
}

// Discard is interrupted at its k-th change, k+1, and so on. The spill is whole, or refused and
// finished by another Discard; the interlock stays until nothing of the spill is left in its place.
func TestDiscardCutAtEveryStep(t *testing.T) {
	steps := map[string]int{}
	for k, done := int64(0), false; !done; k++ {
		require.Less(t, k, int64(100))
		src, interlock := interlocked(t)
		before := spilltest.Files(t, src.Dir)
		cut := src
		cut.FS = cutAfter(k)
		_, err := repair.Discard(cut, interlock, discardedAt)
		done = err == nil
		_, here := os.Stat(interlock)
		l, oerr := spillfile.Open(spilltest.Options(src.Dir))
		switch {
		case done:
			require.NoError(t, oerr)
			require.True(t, l.Empty())
			require.NoError(t, l.Close())
			require.Error(t, here)
			continue
		case oerr == nil && !l.Empty():
			steps["whole"]++
			require.NoError(t, l.Close())
		case oerr == nil: // the database refuses it: there is an interlock and no spill
			steps["moved"]++
			require.NoError(t, l.Remove()) // a test's doing; the database does not get here
		default:
			steps["refused"]++
			require.ErrorIs(t, oerr, spillfile.ErrNoManifest)
			require.ErrorContains(t, oerr, "discard")
		}
		require.NoError(t, here, "step %d: the interlock is gone", k)
		folder, err := repair.Discard(src, interlock, discardedAt.Add(time.Hour))
		if err != nil {
			t.Fatal(k, err)
		}
		require.NoFileExists(t, interlock)
		require.NoDirExists(t, filepath.Join(src.Dir, layout.DiscardingName))
		aside := slices.Collect(maps.Keys(spilltest.Files(t, folder)))
		require.Contains(t, aside, "INTERLOCK.mem")
		for name := range before {
			if name != layout.LockName && name != layout.NewestName && name != layout.ManifestTemp {
				require.Contains(t, aside, name, "step %d", k)
			}
		}
	}
	require.Positive(t, steps["whole"])
	require.Positive(t, steps["refused"])
	require.Positive(t, steps["moved"])
}

func TestDiscardOfAnOpenSpill(t *testing.T) {
	o := spilltest.Options(t.TempDir())
	l := spilltest.MustOpen(t, o)
	spilltest.MustPut(t, l, 1, "a", "1")
	_, err := repair.Discard(check.Source{Dir: o.Dir}, "", discardedAt)
	require.ErrorIs(t, err, spillfile.ErrLocked)
	require.NoError(t, l.Close())
}

// TestPlaceGoesWithItsSpill: what sets the files of a spill aside takes the place along.
func TestPlaceGoesWithItsSpill(t *testing.T) {
	o := spilltest.Options(t.TempDir())
	l := spilltest.MustOpen(t, o)
	for ts := range uint64(100) {
		spilltest.MustPut(t, l, ts+1, fmt.Sprintf("key%03d", ts), "value")
	}
	require.NoError(t, l.Seal())
	m := l.NewMerge(spillfile.Position{}, math.MaxInt64)
	_, err := m.Next(new(spillfile.Chunk), 100, spillfile.Retention{Versions: 1})
	require.NoError(t, err)
	p := m.Place()
	m.Close()
	require.NotEmpty(t, p.Key)
	require.NoError(t, l.NotePlace(p))
	require.NoError(t, l.Close())
	require.FileExists(t, filepath.Join(o.Dir, layout.PlaceName))
	folder, err := repair.Discard(check.Source{Dir: o.Dir}, "", time.Unix(0, 0))
	require.NoError(t, err)
	require.NoFileExists(t, filepath.Join(o.Dir, layout.PlaceName))
	require.FileExists(t, filepath.Join(folder, layout.PlaceName))
}
