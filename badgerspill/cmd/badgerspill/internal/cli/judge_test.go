//go:build unix

package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

const interlockFile = "UNREPLAYED-SPILL--open-with-badgerspill.mem"

// What is missing, damaged or of another database: Open, info, verify and drain name the same file,
// say the same of what is still there, name the same ways out, and change nothing.
func TestAllJudgeAlike(t *testing.T) {
	for _, row := range []struct {
		name   string
		damage func(t *testing.T, d *database)
		file   string // in the database's directory
		want   error
		left   string
	}{
		{"MANIFEST lost", func(t *testing.T, d *database) { remove(t, d.dir, "spill/MANIFEST") }, "spill/MANIFEST", nil, "commits in "},
		{"MANIFEST damaged", func(t *testing.T, d *database) { flip(t, filepath.Join(d.dir, "spill/MANIFEST"), 50) }, "spill/MANIFEST", badgerspill.ErrCorrupt, "commits in "},
		{"BADGERSPILL lost", func(t *testing.T, d *database) { remove(t, d.dir, "BADGERSPILL") }, "BADGERSPILL", badgerspill.ErrForeignSpill, "200 commits in "},
		{"BADGERSPILL damaged", func(t *testing.T, d *database) { flip(t, filepath.Join(d.dir, "BADGERSPILL"), 32) }, "BADGERSPILL", badgerspill.ErrForeignSpill, "200 commits in "},
		{"spill of another database", func(t *testing.T, d *database) {
			other := spilled(t, 30, nil)
			require.NoError(t, os.RemoveAll(filepath.Join(d.dir, "spill")))
			require.NoError(t, os.CopyFS(filepath.Join(d.dir, "spill"), os.DirFS(filepath.Join(other.dir, "spill"))))
		}, "spill", badgerspill.ErrForeignSpill, "30 commits in "},
		{"first segment gone", func(t *testing.T, d *database) {
			remove(t, d.dir, filepath.Join("spill", filepath.Base(d.segments(t)[0])))
		},
			"spill/0000000001.seg", badgerspill.ErrCorrupt, "commits in "},
		{"newest segment gone", func(t *testing.T, d *database) {
			all := d.segments(t)
			last := all[len(all)-1]
			require.NoError(t, os.Rename(last, filepath.Join(d.dir, "last")))
		}, "spill/00000000", badgerspill.ErrCorrupt, "commits in "},
		{"all of it gone", func(t *testing.T, d *database) { require.NoError(t, os.RemoveAll(filepath.Join(d.dir, "spill"))) },
			interlockFile, badgerspill.ErrMissingSpill, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := spilled(t, 200, nil)
			row.damage(t, d)
			before := tree(t, d.dir)
			_, err := badgerspill.Open(spillOptions(d.dir, nil))
			require.Error(t, err)
			if row.want != nil {
				require.True(t, errors.Is(err, row.want), "%v", err)
			}
			says := strings.TrimPrefix(err.Error(), "badgerspill: ")
			require.NotContains(t, says, "spill: spill")
			_, info, _ := command(t, "info", d.dir)
			_, checked, verr := command(t, "verify", d.dir)
			_, _, drained := command(t, "drain", d.dir)
			_, rerr := badgerspill.Open(spillOptions(d.dir, nil).WithReadOnly(true))
			for who, text := range map[string]string{"Open": says, "info": info, "verify": checked + verr, "drain": drained, "Open read-only": rerr.Error()} {
				require.Contains(t, text, filepath.Join(d.dir, row.file), who)
				require.Contains(t, text, row.left, who)
				require.Contains(t, text, "badgerspill discard", who)
				require.NotRegexp(t, `(?i)\b(remove|delete|move) `, text, who)
			}
			require.Contains(t, info, says)
			require.Contains(t, drained, says)
			after := tree(t, d.dir)
			delete(after, filepath.Join(d.dir, "spill", "LOCK"))
			delete(before, filepath.Join(d.dir, "spill", "LOCK"))
			require.ElementsMatch(t, keys(before), keys(after))
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	require.NoError(t, os.Remove(filepath.Join(dir, name)))
}

func keys(m map[string]string) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}

// An intact spill of a database whose Badger was lost, and one past which somebody wrote, end with
// discard, and so does an interlock whose spill is gone. Moved back, it is as before.
func TestDiscardCommand(t *testing.T) {
	d := spilled(t, 20, nil)
	before := tree(t, d.dir)
	code, _, stderr := command(t, "discard", d.dir)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "give -y to say yes")
	code, stdout, stderr := command(t, "discard", "-y", d.dir)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "20 commits in ")
	require.Contains(t, stdout, "timestamps 1 to 20")
	require.Contains(t, stdout, "badgerspill drain")
	require.NoFileExists(t, filepath.Join(d.dir, interlockFile))
	folders, err := filepath.Glob(filepath.Join(d.dir, "spill", "discarded-*"))
	require.NoError(t, err)
	require.Len(t, folders, 1)
	require.Contains(t, stdout, folders[0])
	require.Empty(t, d.plain(t), "plain Badger opens it, without the commits")
	_, stdout, _ = command(t, "discard", "-y", d.dir)
	require.Contains(t, stdout, "nothing to give up")

	// Back: the interlock first, the MANIFEST last.
	require.NoError(t, os.Rename(filepath.Join(folders[0], interlockFile), filepath.Join(d.dir, interlockFile)))
	entries, err := os.ReadDir(folders[0])
	require.NoError(t, err)
	for _, e := range entries {
		if e.Name() != "MANIFEST" {
			require.NoError(t, os.Rename(filepath.Join(folders[0], e.Name()), filepath.Join(d.dir, "spill", e.Name())))
		}
	}
	require.NoError(t, os.Rename(filepath.Join(folders[0], "MANIFEST"), filepath.Join(d.dir, "spill", "MANIFEST")))
	after := tree(t, d.dir)
	for name, content := range before {
		if strings.Contains(name, "/spill/") && filepath.Base(name) != "LOCK" {
			require.Equal(t, content, after[name], name)
		}
	}
	_, stderr, _ = command(t, "drain", d.dir)
	require.Contains(t, stderr, "20 commits replayed")
	require.Equal(t, d.want, d.plain(t))
}

func TestDiscardEndsWhatOpenRefuses(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, d *database){
		"foreign writes": func(t *testing.T, d *database) {
			require.NoError(t, os.Remove(filepath.Join(d.dir, interlockFile)))
			db, err := badger.Open(d.plainOptions())
			require.NoError(t, err)
			for i := range 40 {
				require.NoError(t, db.Update(func(txn *badger.Txn) error { return txn.Set(fmt.Append(nil, "past", i), []byte("1")) }))
			}
			require.NoError(t, db.Close())
		},
		"missing spill": func(t *testing.T, d *database) { require.NoError(t, os.RemoveAll(filepath.Join(d.dir, "spill"))) },
		"foreign spill": func(t *testing.T, d *database) { require.NoError(t, os.Remove(filepath.Join(d.dir, "BADGERSPILL"))) },
	} {
		t.Run(name, func(t *testing.T) {
			d := spilled(t, 20, nil)
			damage(t, d)
			_, err := badgerspill.Open(spillOptions(d.dir, nil))
			require.ErrorContains(t, err, "badgerspill discard")
			code, stdout, stderr := command(t, "discard", "-y", d.dir)
			require.Zero(t, code, stdout+stderr)
			db, err := badgerspill.Open(spillOptions(d.dir, nil))
			require.NoError(t, err)
			require.NoError(t, db.Close())
		})
	}
}
