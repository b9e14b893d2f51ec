package cli

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
)

// damagedAt damages the commits of these sequences, and returns what is there without them. Each
// commit of the test databases is one block.
func (d *database) damagedAt(t *testing.T, key string, seqs ...uint64) {
	t.Helper()
	args := []string{"dump", d.dir}
	if key != "" {
		args = append(args, "-encryption-key-file", key)
	}
	lost := map[uint64]bool{}
	for _, seq := range seqs {
		lost[seq] = true
	}
	var kept []line
	for _, l := range lines(t, ok(t, args...)) {
		if lost[l.Seq] {
			flip(t, filepath.Join(d.dir, "spill", fmt.Sprintf("%010d.seg", l.Segment)), int(l.Offset)+58)
		} else {
			kept = append(kept, l)
		}
	}
	d.want = state(kept)
}

// through returns what is there with the commits up to a sequence.
func through(t *testing.T, d *database, seq uint64) map[string]string {
	t.Helper()
	return state(lines(t, ok(t, "dump", d.dir, "-to", fmt.Sprint(seq))))
}

// reopen opens the database with badgerspill, as its program would, and reads everything; then
// writes, and closes it.
func (d *database) reopen(t *testing.T) map[string]string {
	t.Helper()
	db, err := badgerspill.Open(spillOptions(d.dir, d.key).WithDrainOnClose(true))
	require.NoError(t, err)
	got := map[string]string{}
	require.NoError(t, db.View(func(txn *badgerspill.Txn) error {
		it := txn.NewIterator(badgerspill.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			require.NoError(t, it.Item().Value(func(v []byte) error {
				got[string(it.Item().KeyCopy(nil))] = string(v)
				return nil
			}))
		}
		return nil
	}))
	require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte("after"), []byte("salvage")) }))
	require.NoError(t, db.Close())
	return got
}

func TestSalvageKeepsEveryIntactCommit(t *testing.T) {
	for name, key := range map[string]string{"plaintext": "", "encrypted": "0123456789abcdef"} {
		t.Run(name, func(t *testing.T) {
			var flags []string
			var path string
			d := spilled(t, 200, nil)
			if key != "" {
				d, path = spilled(t, 200, []byte(key)), keyFile(t, key)
				flags = []string{"-encryption-key-file", path}
			}
			d.damagedAt(t, path, 17, 18, 60, 200)
			old := tree(t, filepath.Join(d.dir, "spill"))
			copied := filepath.Join(t.TempDir(), "intact.bak")
			out := ok(t, append([]string{"salvage", "-y", "-out", copied, d.dir}, flags...)...)
			require.Contains(t, out, "2 commits, sequences 17 to 18, between timestamps 16 and 19")
			require.Contains(t, out, "1 commit, sequence 60, between timestamps 59 and 61")
			require.Contains(t, out, "1 commit, sequence 200, after timestamp 199")
			require.Contains(t, out, "Intact: 196 commits, 196 entries, timestamps 1 to 199")
			require.Contains(t, out, "180 commits after a lost one")
			require.Contains(t, out, "Copied 196 commits")
			require.Contains(t, out, "Kept 196 commits")

			_, aside, _ := strings.Cut(out, "The old files are in ")
			aside, _, _ = strings.Cut(aside, "\n")
			for path, content := range tree(t, aside) {
				require.Equal(t, old[filepath.Join(d.dir, "spill", filepath.Base(path))], content)
			}
			require.Contains(t, ok(t, append([]string{"verify", d.dir}, flags...)...), "sound")
			require.Equal(t, d.want, d.reopen(t))
			d.want["after"] = "salvage"
			require.Equal(t, d.want, d.plain(t))
			delete(d.want, "after")

			restored := &database{dir: t.TempDir()}
			db, err := badger.Open(badger.DefaultOptions(restored.dir).WithLogger(nil).WithNumVersionsToKeep(math.MaxInt32))
			require.NoError(t, err)
			f, err := os.Open(copied)
			require.NoError(t, err)
			defer f.Close()
			require.NoError(t, db.Load(f, 16))
			require.NoError(t, db.Close())
			require.Equal(t, d.want, restored.plain(t))
		})
	}
}

func TestSalvageOfThePrefix(t *testing.T) {
	d := spilled(t, 100, nil)
	want := through(t, d, 29)
	d.damagedAt(t, "", 30, 70)
	out := ok(t, "salvage", "-y", "-prefix", d.dir)
	require.Contains(t, out, "Dropped: 69 intact commits after the first lost one")
	require.Contains(t, out, "Kept 29 commits")
	require.Equal(t, want, d.reopen(t))
}

func TestSalvageWithoutAManifest(t *testing.T) {
	d := spilled(t, 100, nil)
	flip(t, filepath.Join(d.dir, "spill", "MANIFEST"), 40)
	out := ok(t, "salvage", "-y", d.dir)
	require.Contains(t, out, filepath.Join(d.dir, "spill", "MANIFEST")+":0")
	require.Contains(t, out, "No commit is lost.")
	require.Contains(t, out, "Without a manifest it is not known")
	require.Equal(t, d.want, d.reopen(t))
}

func TestSalvageOfAMissingSegment(t *testing.T) {
	d := spilled(t, 200, nil)
	segment := d.segments(t)[1]
	var kept []line
	for _, l := range lines(t, ok(t, "dump", d.dir)) {
		if l.Segment != 2 {
			kept = append(kept, l)
		}
	}
	require.NoError(t, os.Remove(segment))
	out := ok(t, "salvage", "-y", d.dir)
	require.Contains(t, out, segment)
	require.Contains(t, out, fmt.Sprintf("%d commits, sequences", 200-len(kept)))
	require.Equal(t, state(kept), d.reopen(t))
}

func TestSalvageChangesNothingUnasked(t *testing.T) {
	d := spilled(t, 100, nil)
	d.damagedAt(t, "", 30)
	before := tree(t, d.dir)
	code, out, stderr := built(t, "salvage", d.dir)
	require.Equal(t, frame.Failed, code)
	require.Contains(t, out, "1 commit, sequence 30")
	require.Contains(t, stderr, "nothing was changed")
	require.Contains(t, stderr, "-y")
	require.Equal(t, before, tree(t, d.dir))

	copied := filepath.Join(t.TempDir(), "intact.bak")
	out = ok(t, "salvage", "-copy-only", "-out", copied, d.dir)
	require.Contains(t, out, "Copied 99 commits")
	require.FileExists(t, copied)
	require.Equal(t, before, tree(t, d.dir))

	code, _, stderr = built(t, "salvage", "-copy-only", "-out", copied, d.dir)
	require.Equal(t, frame.Failed, code)
	require.Contains(t, stderr, copied+" is there already")
	require.Equal(t, before, tree(t, d.dir))
}

func TestSalvageOfSoundDatabases(t *testing.T) {
	d := spilled(t, 50, nil)
	before := tree(t, d.dir)
	require.Contains(t, ok(t, "salvage", d.dir), "The spill is sound. Nothing was changed.")
	require.Equal(t, before, tree(t, d.dir))
	flip(t, strings.TrimSuffix(d.segments(t)[0], ".seg")+".idx", 3)
	require.Contains(t, ok(t, "salvage", d.dir), "The spill is sound")
	require.Contains(t, ok(t, "salvage", plainBadger(t).dir), "The spill is sound")
	require.Equal(t, d.want, drained(t, d))
}

func TestSalvageIsRefused(t *testing.T) {
	d := spilled(t, 50, []byte("0123456789abcdef"))
	code, _, stderr := built(t, "salvage", "-y", d.dir)
	require.Equal(t, frame.Failed, code)
	require.Contains(t, stderr, "-encryption-key-file")

	db, err := badgerspill.Open(spillOptions(d.dir, d.key))
	require.NoError(t, err)
	code, _, stderr = built(t, "salvage", "-y", d.dir)
	require.NoError(t, db.Close())
	require.Equal(t, frame.Locked, code)
	require.Contains(t, stderr, d.dir+": another process has it open")
	require.Equal(t, d.want, d.reopen(t))
}

// What a salvage that was killed while it moved files has left: the old manifest is away, the new
// one not yet there.
func TestSalvageFinishesWhatWasInterrupted(t *testing.T) {
	d := spilled(t, 100, nil)
	d.damagedAt(t, "", 30)
	ok(t, "salvage", "-y", d.dir)
	spill := filepath.Join(d.dir, "spill")
	unfinished := filepath.Join(spill, "salvage.new")
	require.NoError(t, os.Mkdir(unfinished, 0o700))
	require.NoError(t, os.Rename(filepath.Join(spill, "MANIFEST"), filepath.Join(unfinished, "MANIFEST")))

	_, err := badgerspill.Open(spillOptions(d.dir, nil))
	require.Error(t, err, "half of it must not open")
	in := infoOf(t, d.dir)
	require.Equal(t, "refused", in.Health)
	require.Contains(t, in.Problems[0], "salvage was interrupted")
	code, _, stderr := built(t, "salvage", d.dir)
	require.Equal(t, frame.Failed, code)
	require.Contains(t, stderr, "-y")
	require.Contains(t, ok(t, "salvage", "-y", d.dir), "Finished.")
	require.Equal(t, d.want, d.reopen(t))
}
