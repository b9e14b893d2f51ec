package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
)

func infoOf(t *testing.T, args ...string) (in info) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(ok(t, append([]string{"info", "-json"}, args...)...)), &in))
	return in
}

func TestInfo(t *testing.T) {
	d := spilled(t, 200, nil)
	before := tree(t, d.dir)
	in := infoOf(t, d.dir)
	require.Equal(t, "sound", in.Health)
	require.Empty(t, in.Problems)
	require.False(t, in.Open)
	require.False(t, in.Moving)
	require.True(t, in.Spill.Interlock)
	require.EqualValues(t, 200, in.Spill.PendingCommits)
	require.EqualValues(t, 1, in.Spill.FirstTs)
	require.EqualValues(t, 200, in.Spill.LastTs)
	require.Positive(t, in.Spill.OldestSeconds)
	require.Greater(t, in.Spill.Ratio, 1.0)
	require.Len(t, in.Spill.Segments, len(d.segments(t)))
	require.Len(t, in.Identity, 32)
	var commits int64
	for _, s := range in.Spill.Segments {
		commits += s.Commits
		require.True(t, s.Index)
		require.Less(t, s.FirstTs, s.LastTs)
	}
	require.EqualValues(t, 200, commits)

	text := ok(t, "info", d.dir)
	require.Contains(t, text, "200 commits, 200 entries")
	require.Contains(t, text, "timestamps  1 to 200")
	require.Contains(t, text, "plain Badger does not open this directory")
	require.Contains(t, text, "Health: sound")
	require.Equal(t, before, tree(t, d.dir), "info has changed a file")
	require.Equal(t, d.want, drained(t, d))
}

// drained drains and reads with plain Badger.
func drained(t *testing.T, d *database) map[string]string {
	t.Helper()
	ok(t, "drain", d.dir)
	return d.plain(t)
}

func TestInfoWhileAnotherProcessHasItOpen(t *testing.T) {
	d := spilled(t, 50, nil)
	db, err := badgerspill.Open(spillOptions(d.dir, nil))
	require.NoError(t, err)
	for i := 50; i < 120; i++ {
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return d.commit(txn, i) }))
	}
	in := infoOf(t, d.dir)
	if in.Access != "whether another process has it open is not known on this system" {
		require.True(t, in.Open)
		require.Contains(t, in.OpenBy, os.Getpid())
		require.True(t, in.Moving)
		require.Contains(t, ok(t, "info", d.dir), "It is being written to")
	}
	require.Equal(t, "sound", in.Health)
	require.EqualValues(t, 120, in.Spill.PendingCommits)
	require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return d.commit(txn, 120) }), "the database is not disturbed")
	require.NoError(t, db.Close())
	require.Equal(t, d.want, drained(t, d))
}

func TestInfoOfOtherDatabases(t *testing.T) {
	t.Run("plain Badger", func(t *testing.T) {
		d := plainBadger(t)
		before := tree(t, d.dir)
		in := infoOf(t, d.dir)
		require.False(t, in.Spill.Exists)
		require.Equal(t, "sound", in.Health)
		require.Empty(t, in.Identity)
		require.Equal(t, 1, in.Badger.Tables)
		require.Contains(t, ok(t, "info", d.dir), "none")
		require.Equal(t, before, tree(t, d.dir))
	})
	t.Run("empty spill", func(t *testing.T) {
		d := spilled(t, 5, nil)
		ok(t, "drain", d.dir)
		in := infoOf(t, d.dir)
		require.True(t, in.Spill.Exists)
		require.Zero(t, in.Spill.PendingCommits)
		require.False(t, in.Spill.Interlock)
		require.Equal(t, "sound", in.Health)
	})
	t.Run("corrupt", func(t *testing.T) {
		d := spilled(t, 100, nil)
		path := filepath.Join(d.dir, "spill", "MANIFEST")
		flip(t, path, 50)
		in := infoOf(t, d.dir)
		require.Equal(t, "corrupt", in.Health)
		require.Contains(t, in.Problems[0], path)
		require.EqualValues(t, 100, in.Spill.PendingCommits, "segments speak for themselves")
	})
	t.Run("encrypted", func(t *testing.T) {
		d := spilled(t, 100, []byte("0123456789abcdef"))
		in := infoOf(t, d.dir)
		require.Equal(t, "unknown", in.Health)
		require.Contains(t, in.Problems[0], "-encryption-key-file")
		require.EqualValues(t, 100, in.Spill.PendingCommits)
		in = infoOf(t, "-encryption-key-file", keyFile(t, "0123456789abcdef"), d.dir)
		require.Equal(t, "sound", in.Health)
		require.True(t, in.Spill.Segments[0].Encrypted)
		in = infoOf(t, "-encryption-key-file", keyFile(t, "fedcba9876543210"), d.dir)
		require.Equal(t, "refused", in.Health)
		require.Contains(t, in.Problems[0], "-encryption-key-file")
	})
	t.Run("the spill is elsewhere", func(t *testing.T) {
		d := spilled(t, 10, nil)
		elsewhere := filepath.Join(t.TempDir(), "spill")
		require.NoError(t, os.Rename(filepath.Join(d.dir, "spill"), elsewhere))
		in := infoOf(t, d.dir)
		require.Equal(t, "refused", in.Health)
		require.Contains(t, in.Problems[0], "-spill-dir")
		in = infoOf(t, "-spill-dir", elsewhere, d.dir)
		require.Equal(t, "sound", in.Health)
		require.EqualValues(t, 10, in.Spill.PendingCommits)
	})
	t.Run("the spill of another database", func(t *testing.T) {
		d, other := spilled(t, 10, nil), spilled(t, 10, nil)
		in := infoOf(t, "-spill-dir", filepath.Join(other.dir, "spill"), d.dir)
		require.Equal(t, "refused", in.Health)
		require.Contains(t, in.Problems[0], in.Identity)
	})
}

// Every command finds the database in the same way.
func TestDirectoriesThatAreRefused(t *testing.T) {
	d := spilled(t, 5, nil)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	notOne := t.TempDir()
	for _, row := range []struct {
		name string
		args []string
		want []string
	}{
		{"missing", []string{filepath.Join(notOne, "x")}, []string{filepath.Join(notOne, "x"), "no such directory", "name the one"}},
		{"a file", []string{file}, []string{file, "not a directory"}},
		{"not a database", []string{notOne}, []string{notOne, "not a Badger database", "name the directory"}},
		{"the spill itself", []string{filepath.Join(d.dir, "spill")}, []string{"directory of a spill", d.dir}},
		{"no spill there", []string{"-spill-dir", filepath.Join(notOne, "x"), d.dir}, []string{"-spill-dir", filepath.Join(notOne, "x")}},
		{"no value log there", []string{"-vlog-dir", file, d.dir}, []string{"-vlog-dir", file}},
		{"no key there", []string{"-encryption-key-file", filepath.Join(notOne, "x"), d.dir}, []string{"-encryption-key-file", filepath.Join(notOne, "x")}},
		{"key of a wrong length", []string{"-encryption-key-file", keyFile(t, "short"), d.dir}, []string{"5 bytes, want 16, 24 or 32"}},
		{"key with a line feed", []string{"-encryption-key-file", keyFile(t, "0123456789abcdef\n"), d.dir}, []string{"line feed"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, verb := range []string{"info", "verify", "drain", "dump", "salvage"} {
				code, stdout, stderr := built(t, append([]string{verb}, row.args...)...)
				want := frame.Failed
				if verb == "verify" {
					want = exitUnchecked
				}
				require.Equal(t, want, code, verb)
				require.Empty(t, stdout)
				for _, part := range row.want {
					require.Contains(t, stderr, part, verb)
				}
			}
		})
	}
	require.Equal(t, d.want, drained(t, d))
}
