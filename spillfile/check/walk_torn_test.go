//go:build go1.25

package check_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/spilltest"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// A power cut took the end of a segment that was not synced, and left the next one. Open drops
// both.
func TestWalkOfWhatOpenDropsBehindATornSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfstest.NewDisk()
		m.SetFault(func(op, path string) error {
			if op == "sync" && filepath.Base(path) == block.SegmentName(1) {
				return errors.New("not synced")
			}
			return nil
		})
		o := spilltest.Options("spill")
		o.FS = m
		l := spilltest.MustOpen(t, o)
		spilltest.MustPut(t, l, 10, "a", "1")
		spilltest.MustPut(t, l, 20, "b", "2")
		l.Rotate(0)
		spilltest.MustPut(t, l, 30, "c", "3")
		synctest.Wait()
		cut := m.Killed()
		_ = l.Close()
		src := check.Source{Dir: "spill", FS: cut}
		_, places, _ := spilltest.WalkAll(t, src)
		require.Len(t, places, 3)
		f, err := cut.OpenFile(places[2].File, os.O_RDWR, 0)
		require.NoError(t, err)
		require.NoError(t, f.Truncate(places[2].End-1))

		got, _, n := spilltest.WalkAll(t, src)
		require.Len(t, got, 2, "what Open drops can still be read")
		require.False(t, n.Damaged())
		require.NoError(t, n.OpenError)
		require.EqualValues(t, 1, n.AfterLoss, "and is known to be dropped")
		require.Positive(t, n.TornBytes)
		o.FS = cut
		l = spilltest.MustOpen(t, o)
		require.Equal(t, n.Commits-n.AfterLoss, l.State().LiveBatches)
		require.NoError(t, l.Close())
	})
}

// What a kill or a power cut leaves is no damage.
func TestTornTailIsNoDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfstest.NewDisk()
		o := spilltest.Options("spill")
		o.FS = m
		l := spilltest.MustOpen(t, o)
		all := spilltest.Fill(t, l, 12)
		synctest.Wait()
		m = m.Killed()
		require.NoError(t, l.Close())
		src := check.Source{Dir: "spill", FS: m}
		_, places, n := spilltest.WalkAll(t, src)
		require.Empty(t, n.Faults)
		last := places[12]

		f, err := m.OpenFile(last.File, os.O_RDWR, 0)
		require.NoError(t, err)
		require.NoError(t, f.Truncate(last.End-1))
		got, _, n := spilltest.WalkAll(t, src)
		require.Equal(t, spilltest.BySeq(all[:11]), got)
		require.Len(t, n.Faults, 1)
		require.Equal(t, check.Torn, n.Faults[0].Kind)
		require.Equal(t, last.Offset, n.Faults[0].Offset)
		require.Equal(t, last.End-1-last.Offset, n.TornBytes)
		require.Empty(t, n.Lost)
		require.NoError(t, n.OpenError)
	})
}

// The index of a segment says that it is durable, when nothing else does.
func TestDamageThatOnlyAnIndexTellsFromATornTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfstest.NewDisk()
		o := spilltest.Options("spill")
		o.FS = m
		l := spilltest.MustOpen(t, o)
		spilltest.Fill(t, l, 7)
		require.NoError(t, l.Seal())
		synctest.Wait() // it is synced, and its index in a file
		files := m.Files()
		require.NoError(t, l.Close())
		require.Contains(t, files, index.Name(1))
		for name, want := range map[string]check.FaultKind{index.Name(1): check.Damage, "": check.Torn} {
			disk := maps.Clone(files)
			if name == "" {
				delete(disk, index.Name(1))
			}
			blocks := forgery.BlocksOf([]byte(disk[block.SegmentName(1)]))
			last := blocks[len(blocks)-2] // behind it comes the end
			disk[block.SegmentName(1)] = forgery.Flip(disk[block.SegmentName(1)], int(last)+60, 1)
			n, err := check.Walk(t.Context(), check.Source{Dir: "spill", FS: vfstest.DiskOf("spill", disk)}, nil)
			require.NoError(t, err)
			require.Len(t, n.Faults, 1)
			require.Equal(t, want, n.Faults[0].Kind)
			require.Equal(t, last, n.Faults[0].Offset)
		}
	})
}
