package spillfile

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// fillForPlace commits some versions of some keys into several segments, and seals the last.
func fillForPlace(t testing.TB, l *Log) {
	t.Helper()
	value := make([]byte, 300)
	for i := range 1500 {
		mustPut(t, l, uint64(i+1), fmt.Sprintf("key%03d", i*7%200), fmt.Sprintf("%d %x", i, value))
	}
	require.NoError(t, l.Seal())
}

// handOut takes entries from a merge until n batches are through, or all.
func handOut(t testing.TB, m *Merge, n int) (all []Entry) {
	t.Helper()
	var c Chunk
	for range n {
		_, err := m.Next(&c, 4<<10, everything)
		require.NoError(t, err)
		for _, e := range c.Entries {
			e.Key, e.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
			all = append(all, e)
		}
		if len(c.Entries) == 0 {
			break
		}
	}
	return all
}

var everything = Retention{Versions: math.MaxInt}

// openAtPlace opens a new log, fills it, and notes the place at which a merge is after so many
// batches.
func openAtPlace(t testing.TB, o Options, batches int) (*Log, Place) {
	t.Helper()
	l := mustOpen(t, o)
	fillForPlace(t, l)
	return l, noteAfter(t, l, batches)
}

// noteAfter notes the place at which a merge is after so many batches.
func noteAfter(t testing.TB, l *Log, batches int) Place {
	t.Helper()
	m := l.NewMerge(Position{}, math.MaxInt64)
	defer m.Close()
	handOut(t, m, batches)
	p := m.Place()
	require.NoError(t, l.NotePlace(p))
	return p
}

// TestResumeMerge: what a merge gives up to a place and what the one resumed there gives is all of
// it, in order; what is given twice is the versions of one key at most.
func TestResumeMerge(t *testing.T) {
	for _, key := range [][]byte{nil, bytes.Repeat([]byte{7}, 32)} {
		o := testOptions(t.TempDir())
		o.EncryptionKey = key
		l := mustOpen(t, o)
		fillForPlace(t, l)
		m := l.NewMerge(Position{}, math.MaxInt64)
		require.GreaterOrEqual(t, m.Segments(), 3)
		all := handOut(t, m, math.MaxInt)
		require.Len(t, all, 1500)
		require.InDelta(t, 1, m.Share(), 0.01)
		m.Close()
		for _, batches := range []int{2, 3, 17, 60, 10_000} {
			m := l.NewMerge(Position{}, math.MaxInt64)
			first := handOut(t, m, batches)
			p := m.Place()
			share := m.Share()
			m.Close()
			require.NoError(t, l.NotePlace(p))

			// As the next process finds it.
			dir := crash(t, o.Dir)
			again := o
			again.Dir = dir
			next := mustOpen(t, again)
			got, ok := next.Place()
			require.True(t, ok)
			require.Equal(t, p.Key, got.Key)
			m = next.ResumeMerge(Position{}, got)
			require.NotNil(t, m)
			require.InDelta(t, share, m.Share(), 0.01)
			rest := handOut(t, m, math.MaxInt)
			m.Close()
			require.NoError(t, next.Close())

			twice := len(first) + len(rest) - len(all)
			require.GreaterOrEqual(t, twice, 0)
			require.Less(t, twice, 8, "the versions of one key")
			for i := range rest {
				require.Equal(t, all[len(all)-len(rest)+i], rest[i])
			}
			for i := range twice {
				require.Equal(t, rest[i].Key, rest[0].Key)
			}
			raw, err := os.ReadFile(filepath.Join(dir, layout.PlaceName))
			require.NoError(t, err)
			require.Equal(t, key == nil, bytes.Contains(raw, p.Key), "encrypted where the spill is")
		}
		require.NoError(t, l.Close())
	}
}

// A place is void when what it is of is gone, when it is another database's or under another key,
// and when a byte of it is not what it was. Nothing but time depends on it: no such file keeps Open
// from anything.
func TestVoidPlace(t *testing.T) {
	o := testOptions(t.TempDir())
	o.EncryptionKey = bytes.Repeat([]byte{7}, 32)
	l := mustOpen(t, o)
	fillForPlace(t, l)
	_, ok := l.Place()
	require.False(t, ok, "there is none yet")
	p := noteAfter(t, l, 10)
	path := filepath.Join(o.Dir, layout.PlaceName)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)

	for at := range whole {
		torn := bytes.Clone(whole)
		torn[at] ^= 1
		require.NoError(t, os.WriteFile(path, torn, 0o600))
		_, ok := l.Place()
		require.False(t, ok, "byte %d", at)
		require.NoError(t, os.WriteFile(path, whole[:at], 0o600))
		_, ok = l.Place()
		require.False(t, ok, "%d bytes", at)
	}
	require.NoError(t, os.WriteFile(path, append(bytes.Clone(whole), 0), 0o600))
	_, ok = l.Place()
	require.False(t, ok, "a byte more")
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	_, ok = l.Place()
	require.True(t, ok)

	other := p
	other.LastSeq--
	require.Nil(t, l.ResumeMerge(Position{}, other))
	other = p
	other.End.Segment++
	require.Nil(t, l.ResumeMerge(Position{}, other))
	require.NoError(t, l.NotePlace(other), "what is not live any more has no place")
	_, ok = l.Place()
	require.True(t, ok, "and changes nothing")

	require.NoError(t, l.DiscardAll())
	_, ok = l.Place()
	require.False(t, ok)
	require.NoFileExists(t, path, "the key is not kept longer than its commits")
	fillForPlace(t, l)
	_, ok = l.Place()
	require.False(t, ok)
	require.NoError(t, l.Close())
}

// TestPlaceOfAnEarlierSpill: the same numbers and sizes in another spill are not the same spill.
func TestPlaceOfAnEarlierSpill(t *testing.T) {
	note := func(dir string) Place {
		o := testOptions(dir)
		l, p := openAtPlace(t, o, 10)
		_, ok := l.Place()
		require.True(t, ok)
		require.NoError(t, l.Close())
		return p
	}
	a, b := t.TempDir(), t.TempDir()
	require.Equal(t, note(a), note(b))
	file, err := os.ReadFile(filepath.Join(a, layout.PlaceName))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(b, layout.PlaceName), file, 0o600))
	l := mustOpen(t, testOptions(b))
	_, ok := l.Place()
	require.False(t, ok)
	require.NoError(t, l.Close())
}

// TestVoidPlaceGoes: a place of what is not live any more, as a kill leaves it or a layer that does
// not know the file, goes with what is replayed next. A key must not lie there longer than its
// commits do.
func TestVoidPlaceGoes(t *testing.T) {
	o := testOptions(t.TempDir())
	l := mustOpen(t, o)
	fillForPlace(t, l)
	noteAfter(t, l, 10)
	path := filepath.Join(o.Dir, layout.PlaceName)
	left, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, l.MarkReplayed(l.State().LastSeq))
	require.NoFileExists(t, path)
	require.NoError(t, l.Close())
	require.NoError(t, os.WriteFile(path, left, 0o600))

	l = mustOpen(t, o)
	_, ok := l.Place()
	require.False(t, ok)
	fillForPlace(t, l)
	require.NoError(t, l.MarkReplayed(l.State().LastSeq))
	require.NoFileExists(t, path)
	require.NoError(t, l.Close())
}

// TestPowerCutAtPlace: whatever operation a kill or a power cut interrupts, the place is one that
// was noted, or none, and an Open finds what it would have found without.
func TestPowerCutAtPlace(t *testing.T) {
	r := newRand(t)
	for _, mode := range faultModes {
		t.Run(mode.name, func(t *testing.T) {
			m := vfstest.NewDisk()
			o := faultOptions(m, mode.sync, mode.key)
			o.SegmentSize = 64 << 10
			l := mustOpen(t, o)
			fillForPlace(t, l)
			merge := l.NewMerge(Position{}, math.MaxInt64)
			var places []Place
			for range 3 {
				handOut(t, merge, 5)
				places = append(places, merge.Place())
			}
			merge.Close()
			require.NoError(t, l.Sync())
			require.NoError(t, l.NotePlace(places[0]))
			found := map[string]int{}
			for k := 1; ; k++ {
				require.NoError(t, l.NotePlace(places[0]))
				first := m.Ops()
				m.SetFault(func(_, _ string) error {
					if m.Ops() >= first+k {
						return errInjected
					}
					return nil
				})
				err := l.NotePlace(places[1])
				states := map[string]*vfstest.Disk{"killed": m.Killed(), "only what was synced": m.OnlySynced(), "a part": m.PowerCut(r), "another part": m.PowerCut(r)}
				m.SetFault(nil)
				for name, state := range states {
					cut := o
					cut.FS = state
					next := mustOpen(t, cut)
					p, ok := next.Place()
					require.True(t, ok, "%s at %d", name, k)
					switch {
					case bytes.Equal(p.Key, places[0].Key):
						found["before"]++
					case bytes.Equal(p.Key, places[1].Key):
						found["after"]++
					default:
						require.Fail(t, "a place that was never noted")
					}
					require.EqualValues(t, 1500, next.State().LiveBatches)
					require.NoError(t, next.Close())
					_, left := state.Files()[layout.PlaceTemp]
					require.False(t, left, "what was half written is removed")
				}
				require.NoError(t, l.NotePlace(places[2]), "the next one succeeds")
				p, ok := l.Place()
				require.True(t, ok)
				require.Equal(t, places[2].Key, p.Key)
				if err == nil {
					break
				}
			}
			require.Len(t, found, 2, "%v", found)
			require.NoError(t, l.Close())
		})
	}
}

// TestVoidPlaceIsDurable: what VoidPlace has removed does not come back with a power cut, also if
// its first try could not sync the directory, or was that of a process that was killed before. A
// replay that began below it would be taken for one that goes on at it.
func TestVoidPlaceIsDurable(t *testing.T) {
	m := vfstest.NewDisk()
	o := faultOptions(m, true, nil)
	o.SegmentSize = 64 << 10
	l, _ := openAtPlace(t, o, 5)
	m.SetFault(func(op, _ string) error {
		if op == "syncdir" {
			return errInjected
		}
		return nil
	})
	require.ErrorIs(t, l.VoidPlace(), errInjected)
	killed := m.Killed()
	m.SetFault(nil)
	again := func(m *vfstest.Disk, l *Log) {
		require.NoError(t, l.VoidPlace())
		cut := o
		cut.FS = m.OnlySynced()
		next := mustOpen(t, cut)
		_, ok := next.Place()
		require.False(t, ok, "it has come back")
		require.NoError(t, next.Close())
	}
	again(m, l)
	require.NoError(t, l.Close())
	o.FS = killed
	l = mustOpen(t, o)
	_, ok := l.Place()
	require.False(t, ok, "it was removed, and the process killed")
	again(killed, l)
	require.NoError(t, l.Close())
}
