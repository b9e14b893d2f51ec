//go:build unix

package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

func TestInfoSaysPreparedAndWhatWasNotRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	db, err := badgerspill.Open(spillOptions(dir, nil))
	require.NoError(t, err)
	defer db.Close()
	d := &database{dir: dir, want: map[string]string{}}
	for i := range 150 {
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return d.commit(txn, i) }))
	}
	require.Eventually(t, func() bool {
		in := infoOf(t, dir)
		return in.Spill.Prepared == 1 && in.Spill.DeadSegments == 0
	}, 10e9, 1e7)
	_, out, _ := command(t, "info", dir)
	require.Contains(t, out, "1 empty segment for the commits to come")
	require.NotContains(t, out, "to be removed")
	require.Regexp(t, `Health: sound; the blocks of \d segments? with an index were not read: "badgerspill verify" does that`, out)
}

func TestOneOfEach(t *testing.T) {
	d := spilled(t, 1, nil)
	for _, verb := range []string{"info", "verify", "drain"} {
		_, stdout, stderr := command(t, verb, d.dir)
		require.NotRegexp(t, `\b1 (commits|entries|segments|blocks|indexes)\b`, stdout+stderr, verb)
		require.Contains(t, stdout+stderr, "1 commit", verb)
	}
}

func TestDrainWithAnExternalMagic(t *testing.T) {
	d := &database{dir: filepath.Join(t.TempDir(), "db"), want: map[string]string{}}
	db, err := badgerspill.Open(spillOptions(d.dir, nil).WithExternalMagic(4711))
	require.NoError(t, err)
	require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return d.commit(txn, 0) }))
	require.NoError(t, db.Close())
	code, _, stderr := command(t, "drain", d.dir)
	require.NotZero(t, code)
	require.Contains(t, stderr, "magic")
	code, _, stderr = command(t, "drain", "--external-magic", "4711", d.dir)
	require.Zero(t, code, stderr)
	plain, err := badger.Open(d.plainOptions().WithExternalMagic(4711))
	require.NoError(t, err)
	require.NoError(t, plain.Close())
}

func TestSalvageSetsTheInterlock(t *testing.T) {
	d := spilled(t, 200, nil)
	flip(t, d.segments(t)[0], 300)
	interlock := filepath.Join(d.dir, interlockFile)
	want, err := os.ReadFile(interlock)
	require.NoError(t, err)
	require.NoError(t, os.Remove(interlock))
	code, stdout, stderr := command(t, "salvage", "-y", d.dir)
	require.Zero(t, code, stdout+stderr)
	got, err := os.ReadFile(interlock)
	require.NoError(t, err)
	require.Contains(t, string(got), string(want))
	_, err = badger.Open(d.plainOptions())
	require.ErrorContains(t, err, "UNREPLAYED-SPILL")
	db, err := badgerspill.Open(spillOptions(d.dir, nil))
	require.NoError(t, err)
	require.NoError(t, db.Close())
}
