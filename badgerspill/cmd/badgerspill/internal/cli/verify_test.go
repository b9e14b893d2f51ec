package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
)

func TestVerifyOfSoundDatabases(t *testing.T) {
	d := spilled(t, 100, nil)
	before := tree(t, d.dir)
	out := ok(t, "verify", d.dir)
	require.Contains(t, out, "100 commits and 100 entries pending")
	require.True(t, strings.HasSuffix(out, "sound\n"))
	require.Equal(t, before, tree(t, d.dir))

	encrypted := spilled(t, 100, []byte("0123456789abcdef"))
	require.Contains(t, ok(t, "verify", "-encryption-key-file", keyFile(t, "0123456789abcdef"), encrypted.dir), "sound")
	require.Contains(t, ok(t, "verify", plainBadger(t).dir), "nothing to check")
	ok(t, "drain", d.dir)
	require.Contains(t, ok(t, "verify", d.dir), " 0 commits")
}

// Each fault is named by file and offset, and all of them are.
func TestVerifyNamesEveryFault(t *testing.T) {
	d := spilled(t, 200, nil)
	segments := d.segments(t)
	require.Greater(t, len(segments), 2)
	index := strings.TrimSuffix(segments[1], ".seg") + ".idx"
	manifest := filepath.Join(d.dir, "spill", "MANIFEST")
	flip(t, segments[0], 192+60) // the first block, behind the header of the segment
	flip(t, segments[1], 0)      // the header
	flip(t, index, 3)            // the first leaf
	flip(t, manifest, 100)
	before := tree(t, d.dir)
	code, out, stderr := built(t, "verify", d.dir)
	require.Equal(t, frame.Failed, code)
	require.Contains(t, out, segments[0]+":192: damage: block checksum")
	require.Contains(t, out, segments[1]+":0: damage: no segment magic")
	require.Contains(t, out, manifest+":0: damage: manifest checksum")
	require.NotContains(t, out, "sound")
	require.Contains(t, stderr, "3 faults")
	require.Contains(t, stderr, `"badgerspill salvage `+d.dir)
	require.Equal(t, before, tree(t, d.dir))
}

func TestVerifyNamesADamagedIndex(t *testing.T) {
	d := spilled(t, 100, nil)
	index := strings.TrimSuffix(d.segments(t)[1], ".seg") + ".idx"
	flip(t, index, 3)
	flip(t, index, -250) // in the table, before the footer
	code, out, stderr := built(t, "verify", d.dir)
	require.Equal(t, frame.Failed, code)
	require.Contains(t, out, index+":")
	require.Contains(t, out, ": damaged index: ")
	require.NotContains(t, stderr, "salvage", "the next Open makes it again")
	require.Equal(t, d.want, drained(t, d))
}

func TestVerifyOfATornTail(t *testing.T) {
	d := spilled(t, 100, nil)
	// A commit that was cut off by a kill: a segment of which only the beginning is there, behind
	// the last.
	segments := d.segments(t)
	b, err := os.ReadFile(segments[0])
	require.NoError(t, err)
	torn := filepath.Join(d.dir, "spill", fmt.Sprintf("%010d.seg", 999))
	require.NoError(t, os.WriteFile(torn, b[:100], 0o600))
	out := ok(t, "verify", d.dir)
	require.Contains(t, out, torn+":0: torn tail: ")
	require.Contains(t, out, "sound")
}

func TestVerifyAsJSON(t *testing.T) {
	d := spilled(t, 200, nil)
	segments := d.segments(t)
	var sound verdict
	require.NoError(t, json.Unmarshal([]byte(ok(t, "verify", "--json", d.dir)), &sound))
	require.Equal(t, verdict{Dir: d.dir, SpillDir: filepath.Join(d.dir, "spill"), Exists: true, Sound: true, Faults: []fault{},
		Segments: len(segments), Bytes: sound.Bytes, Blocks: 200, Commits: 200, Entries: 200, Indexes: sound.Indexes}, sound)
	require.Positive(t, sound.Bytes)
	require.Positive(t, sound.Indexes)

	flip(t, segments[0], 192+60)
	index := strings.TrimSuffix(segments[1], ".seg") + ".idx"
	flip(t, index, 3)
	code, stdout, stderr := built(t, "verify", "--json", d.dir)
	require.Equal(t, frame.Failed, code)
	var damaged verdict
	require.NoError(t, json.Unmarshal([]byte(stdout), &damaged))
	require.False(t, damaged.Sound)
	require.True(t, damaged.Salvage)
	require.Len(t, damaged.Faults, 2)
	require.Equal(t, segments[0], damaged.Faults[0].File)
	require.EqualValues(t, 192, damaged.Faults[0].Offset)
	require.Equal(t, "damage", damaged.Faults[0].Kind)
	require.Contains(t, damaged.Faults[0].Reason, "block checksum")
	require.Equal(t, "damaged index", damaged.Faults[1].Kind)
	require.Contains(t, stderr, "2 faults")

	code, stdout, _ = built(t, "verify", "--json", filepath.Join(d.dir, "nothing"))
	require.Equal(t, exitUnchecked, code)
	require.Empty(t, stdout, "what could not be checked has no result")

	plain := plainBadger(t).dir
	var none verdict
	require.NoError(t, json.Unmarshal([]byte(ok(t, "verify", "--json", plain)), &none))
	require.False(t, none.Exists)
	require.True(t, none.Sound)
}

func TestVerifyCannotCheck(t *testing.T) {
	d := spilled(t, 200, []byte("0123456789abcdef"))
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"no key", []string{d.dir}, "-encryption-key-file"},
		{"wrong key", []string{"-encryption-key-file", keyFile(t, "fedcba9876543210"), d.dir}, "-encryption-key-file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, _, stderr := built(t, append([]string{"verify"}, row.args...)...)
			require.Equal(t, exitUnchecked, code)
			require.Contains(t, stderr, "could not check: "+d.dir)
			require.Contains(t, stderr, row.want)
		})
	}
	t.Run("another process has it open", func(t *testing.T) {
		db, err := badgerspill.Open(spillOptions(d.dir, d.key))
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		code, _, stderr := built(t, "verify", d.dir)
		require.Equal(t, exitUnchecked, code)
		require.Contains(t, stderr, "encryption")
		before := tree(t, filepath.Join(d.dir, "spill"))
		key := keyFile(t, "0123456789abcdef")
		code, stdout, stderr := built(t, "verify", "-encryption-key-file", key, d.dir)
		require.Zero(t, code, stderr)
		require.Contains(t, stdout, "sound, as far as it was read")
		require.Contains(t, stderr, "open in process")
		require.Equal(t, before, tree(t, filepath.Join(d.dir, "spill")))
		first := d.segments(t)[0]
		flip(t, first, 300)
		code, stdout, stderr = built(t, "verify", "-encryption-key-file", key, d.dir)
		require.Equal(t, frame.Failed, code)
		require.Contains(t, stdout, first+":")
		require.Contains(t, stderr, "stop the program before")
		flip(t, first, 300)
	})
	t.Run("a newer format", func(t *testing.T) {
		flip(t, d.segments(t)[0], 9)
		code, _, stderr := built(t, "verify", "-encryption-key-file", keyFile(t, "0123456789abcdef"), d.dir)
		require.Equal(t, exitUnchecked, code)
		require.Contains(t, stderr, d.segments(t)[0])
		require.Contains(t, stderr, "this release supports 1")
	})
}
