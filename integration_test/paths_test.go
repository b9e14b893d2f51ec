package integration_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
)

// Paths: where the spill may lie, what it does with files that somebody else has put there, and
// with a second process.

// tree is hashes for directories with links in them, which it does not follow.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		switch {
		case d.IsDir():
			out[path] = "/"
		case d.Type()&fs.ModeSymlink != 0:
			out[path], err = os.Readlink(path)
		default:
			var b []byte
			b, err = os.ReadFile(path)
			out[path] = fmt.Sprintf("%x", sha256.Sum256(b))
		}
		return err
	}))
	return out
}

// plantLink puts a symbolic link in the place of file, whatever is there.
func plantLink(t *testing.T, file, target string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(file))
	require.NoError(t, os.Symlink(target, file))
}

// openOrNamed opens the database and requires what it holds, or that Open was refused with an error
// that names the file.
func openOrNamed(t *testing.T, o badgerspill.Options, file string, want map[string]string) (opened bool) {
	t.Helper()
	db, err := badgerspill.Open(o)
	if err != nil {
		require.ErrorContains(t, err, filepath.Base(file))
		return false
	}
	requireAll(t, db, want)
	require.NoError(t, db.Close())
	return true
}

// layerFiles are the files of the layer in a closed database with commits in the spill: of the
// segments, the first, the second and the last.
func layerFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "spill", "*.seg"))
	require.NoError(t, err)
	require.Greater(t, len(segments), 3)
	others, err := filepath.Glob(filepath.Join(dir, "spill", "*"))
	require.NoError(t, err)
	for _, f := range others {
		if filepath.Ext(f) != ".seg" {
			files = append(files, f)
		}
	}
	files = append(files, segments[0], segments[1], segments[len(segments)-1])
	return append(files, filepath.Join(dir, "BADGERSPILL"), filepath.Join(dir, interlockFile))
}

// TestLinksInTheSpill: a symbolic link in the place of any file of the layer is not followed,
// whether it leads to a file or nowhere, and whether the file was to be read, written or created.
func TestLinksInTheSpill(t *testing.T) {
	o := layer(filepath.Join(t.TempDir(), "db")).WithSpillPolicy(badgerspill.Always).WithSegmentSize(4<<10).
		WithQuiet(1, time.Hour).WithDrainOnClose(false)
	want := smallSpill(t, o)
	pristine := filepath.Join(t.TempDir(), "pristine")
	require.NoError(t, os.CopyFS(pristine, os.DirFS(o.Dir)))

	files := layerFiles(t, o.Dir)
	for _, name := range []string{"spill/MANIFEST.tmp", "BADGERSPILL.tmp", "BADGERSPILL-DROP", "BADGERSPILL-DROP.tmp"} {
		files = append(files, filepath.Join(o.Dir, name))
	}
	for _, readOnly := range []bool{false, true} {
		for _, file := range files {
			for _, what := range []string{"to itself, moved away", "to a file of somebody else", "to nowhere"} {
				name, err := filepath.Rel(o.Dir, file)
				require.NoError(t, err)
				t.Run(fmt.Sprintf("%s, %s, read-only %v", name, what, readOnly), func(t *testing.T) {
					restore(t, o.Dir, pristine)
					o := o
					o = o.WithReadOnly(readOnly)
					elsewhere := t.TempDir()
					target := filepath.Join(elsewhere, "target")
					if what != "to nowhere" {
						content := []byte("not yours")
						if b, err := os.ReadFile(file); err == nil && what == "to itself, moved away" {
							content = b
						}
						require.NoError(t, os.WriteFile(target, content, 0o644))
					}
					plantLink(t, file, target)
					before, inDir := tree(t, elsewhere), tree(t, filepath.Join(o.Dir, "spill"))
					opened := openOrNamed(t, o, file, want)
					require.Equal(t, before, tree(t, elsewhere), "what the link leads to, opened %v", opened)
					// What is only ever written is written anew beside the link; what is read is
					// not read through it. An index is made again.
					written := strings.HasSuffix(file, ".tmp") || filepath.Base(file) == interlockFile || isIndex(file)
					require.Equal(t, written, opened)
					if info, err := os.Stat(target); err == nil {
						require.Equal(t, fs.FileMode(0o644), info.Mode().Perm())
					}
					if opened {
						return
					}
					// Nothing was lost: with the link out of the way and the file back it opens.
					require.Equal(t, inDir, tree(t, filepath.Join(o.Dir, "spill")))
					restore(t, o.Dir, pristine)
					require.True(t, openOrNamed(t, o, file, want))
				})
			}
		}
	}
}

// TestLinksThatComeLater: the same while the database is open. What is made then is not made
// through a link.
func TestLinksThatComeLater(t *testing.T) {
	o := layer(filepath.Join(t.TempDir(), "db")).WithSpillPolicy(badgerspill.Always).WithSegmentSize(4<<10).
		WithQuiet(1, time.Hour).WithDrainOnClose(false)
	db := openSpill(t, o)
	set(t, db, "first", "1")
	elsewhere := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "there"), []byte("not yours"), 0o644))
	before := tree(t, elsewhere)
	spill := filepath.Join(o.Dir, "spill")
	segments, err := filepath.Glob(filepath.Join(spill, "*.seg"))
	require.NoError(t, err)
	last := len(segments) // numbers begin at 1; one is made ahead
	var planted []string
	for i := range 4 {
		target := []string{"there", "nowhere"}[i%2]
		file := filepath.Join(spill, fmt.Sprintf("%010d.seg", last+2+2*i)) // every other number
		plantLink(t, file, filepath.Join(elsewhere, target))
		planted = append(planted, file)
	}
	for name, target := range map[string]string{"MANIFEST.tmp": "there", "MANIFEST": "nowhere"} {
		plantLink(t, filepath.Join(spill, name), filepath.Join(elsewhere, target))
	}
	want := map[string]string{"first": "1"}
	failed := 0
	for i := range 60 {
		k, v := string(key(i)), incompressibleText(i, 900)
		err := db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte(k), []byte(v)) })
		if err != nil { // the name is taken
			require.ErrorIs(t, err, fs.ErrExist)
			failed++
			continue
		}
		want[k] = v
	}
	require.Less(t, failed, 20)
	require.Greater(t, len(want), 40)
	requireAll(t, db, want)
	require.NoError(t, db.Drain(context.Background())) // writes the manifest
	requireAll(t, db, want)
	require.NoError(t, db.Close())
	require.Equal(t, before, tree(t, elsewhere))
	for _, file := range append(planted, filepath.Join(spill, "MANIFEST"), filepath.Join(spill, "MANIFEST.tmp")) {
		if info, err := os.Lstat(file); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			// it stayed where it was, and nothing was written in its place
			require.NoError(t, os.Remove(file))
		}
	}
	requireAll(t, openSpill(t, o), want)
}

// incompressibleText is i's text of n bytes that snappy cannot shorten much.
func incompressibleText(i, n int) string {
	var b strings.Builder
	for x := uint64(i)*2654435761 + 1; b.Len() < n; x = x*6364136223846793005 + 1442695040888963407 {
		fmt.Fprintf(&b, "%x", x)
	}
	return b.String()[:n]
}

// TestSpillDirThatClashes: SpillDir must not be, nor contain, a directory of Badger's, however it
// is written, nor take a name that Badger or the layer uses there. Nothing is made on disk then.
func TestSpillDirThatClashes(t *testing.T) {
	// Paths below a directory with: db, values (both made), link -> db, deep/link -> .., up -> .
	// and dangling -> new/db.
	rows := []struct{ name, dir, values, spill string }{
		{"Dir", "db", "", "db"},
		{"Dir with a slash and dots", "db", "", "./db/../db/./"},
		{"Dir through a link", "db", "", "link"},
		{"a link is Dir", "link", "", "db"},
		{"Dir through two links", "deep/link/link", "", "db"},
		{"Dir below a link to the directory itself", "db", "", "up/up/db"},
		{"the parent of Dir", "db", "", "."},
		{"the parent of Dir through a link", "db", "", "up"},
		{"the parent of Dir through dots", "db", "", "db/.."},
		{"the parent's parent of Dir, which is not there yet", "new/deep/db", "", "new"},
		{"Dir, which is not there yet", "new/db", "", "new/x/../db"},
		{"Dir, which is not there yet, through a link to nowhere", "new/db", "", "dangling"},
		{"a link to nowhere is Dir", "dangling", "", "new/db"},
		{"the parent of Dir through a link to nowhere", "new/db/sub", "", "dangling"},
		{"ValueDir", "db", "values", "values"},
		{"ValueDir through a link", "db", "up/values", "values"},
		{"the parent of ValueDir", "db", "new/a/b", "new/a"},
		{"Badger's manifest", "db", "", "db/MANIFEST"},
		{"below Badger's manifest", "db", "", "db/MANIFEST/spill"},
		{"Badger's new manifest", "db", "", "link/MANIFEST-REWRITE"},
		{"Badger's lock", "db", "", "db/LOCK"},
		{"Badger's keys", "db", "", "db/KEYREGISTRY"},
		{"Badger's new keys", "db", "", "db/REWRITE-KEYREGISTRY"},
		{"Badger's statistics, in ValueDir", "db", "values", "values/DISCARD"},
		{"a table", "db", "", "db/000001.sst"},
		{"a memtable", "db", "", "db/00001.mem"},
		{"a value log", "db", "values", "values/000001.vlog"},
		{"the identity", "db", "", "db/BADGERSPILL"},
		{"the announcement of a drop", "db", "", "db/BADGERSPILL-DROP"},
		{"the new identity", "db", "", "db/BADGERSPILL.tmp"},
	}
	for _, r := range rows {
		for _, relative := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, relative %v", r.name, relative), func(t *testing.T) {
				above := t.TempDir()
				for _, dir := range []string{"db", "values", "deep"} {
					require.NoError(t, os.Mkdir(filepath.Join(above, dir), 0o700))
				}
				for link, target := range map[string]string{"link": "db", "up": ".", "dangling": "new/db", "deep/link": ".."} {
					require.NoError(t, os.Symlink(target, filepath.Join(above, link)))
				}
				at := func(path string) string { return above + "/" + path } // not cleaned
				if relative {
					t.Chdir(above)
					at = func(path string) string { return path }
				}
				o := layer(at(r.dir)).WithSpillDir(at(r.spill))
				if r.values != "" {
					o = o.WithValueDir(at(r.values))
				}
				before := tree(t, above)
				db, err := badgerspill.Open(o)
				if err == nil {
					require.NoError(t, db.Close())
				}
				require.ErrorIs(t, err, badgerspill.ErrBadOption)
				var bad *badgerspill.OptionError
				require.ErrorAs(t, err, &bad)
				require.Equal(t, "SpillDir", bad.Field)
				require.Equal(t, before, tree(t, above), "nothing is made")
			})
		}
	}
}

// TestSpillDirThatDoesNotClash: what looks like a clash and is none works, over a close and a
// kill's like.
func TestSpillDirThatDoesNotClash(t *testing.T) {
	rows := []struct{ name, dir, values, spill string }{
		{"a name that begins as Dir's", "db", "", "db-spill"},
		{"a name that Dir's begins with", "db-main", "", "db"},
		{"inside of Dir", "db", "", "db/a/MANIFEST"},
		{"inside of ValueDir", "db", "values", "values/spill"},
		{"back out of Dir", "db", "", "db/../other"},
		{"back out of a link", "db", "", "deep/link/../other"}, // by name: deep/other
		{"through a link, elsewhere", "db", "", "away/spill"},
		{"a link itself", "db", "", "away"},
		{"a link to nowhere", "db", "", "dangling"},
		{"Dir is a link", "link", "", "spill"},
	}
	for _, r := range rows {
		for _, relative := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, relative %v", r.name, relative), func(t *testing.T) {
				above, away := t.TempDir(), t.TempDir()
				for _, dir := range []string{"real", "deep"} {
					require.NoError(t, os.Mkdir(filepath.Join(above, dir), 0o700))
				}
				for link, target := range map[string]string{"link": "real", "deep/link": "../real", "away": away, "dangling": "new/spill"} {
					require.NoError(t, os.Symlink(target, filepath.Join(above, link)))
				}
				at := func(path string) string { return above + "/" + path }
				if relative {
					t.Chdir(above)
					at = func(path string) string { return path }
				}
				o := spilled(layer(at(r.dir)).WithSpillDir(at(r.spill))).WithDrainOnClose(false)
				if r.values != "" {
					o = o.WithValueDir(at(r.values))
				}
				db, err := badgerspill.Open(o)
				if r.spill == "dangling" { // mkdir does not follow it either
					require.ErrorContains(t, err, "dangling")
					return
				}
				require.NoError(t, err)
				t.Cleanup(func() { _ = db.Close() })
				set(t, db, "a", "1")
				require.NoError(t, db.Close())
				manifest := filepath.Join(at(r.spill), "MANIFEST")
				require.FileExists(t, manifest, "all of the spill is in one place")
				segments, err := filepath.Glob(filepath.Join(at(r.spill), "*.seg"))
				require.NoError(t, err)
				require.NotEmpty(t, segments)
				requireAll(t, openSpill(t, o), map[string]string{"a": "1"})
			})
		}
	}
}

// A second process. The child opens a database, says how that ended, and waits to be killed.
type secondArg struct{ Dir, Spill string }

func TestSecondChild(t *testing.T) {
	arg := childproc.Arg[secondArg](t)
	db, err := badgerspill.Open(secondOptions(arg.Dir, arg.Spill))
	switch {
	case errors.Is(err, badgerspill.ErrLocked):
		fmt.Println("second: locked:", err)
	case err != nil:
		fmt.Println("second: failed:", err)
	default:
		set(t, db, "child", "was here")
		fmt.Println("second: open")
	}
	childproc.UntilTheInputEnds()
}

func secondOptions(dir, spill string) badgerspill.Options {
	return spilled(layer(dir)).WithSpillDir(spill).WithDrainOnClose(false)
}

func startSecond(t *testing.T, dir, spill string) (answer string, child *childproc.Child) {
	t.Helper()
	child = childproc.Start(t, "TestSecondChild", secondArg{dir, spill})
	child.Bound(2 * time.Minute)
	answer, ok := child.WaitFor("second: ")
	require.True(t, ok, "the child says nothing")
	return answer, child
}

func TestSecondProcess(t *testing.T) {
	above := t.TempDir()
	a, b, spill := filepath.Join(above, "a"), filepath.Join(above, "b"), filepath.Join(above, "spill")
	link := filepath.Join(above, "link")
	require.NoError(t, os.Symlink(spill, link))

	db := openSpill(t, secondOptions(a, spill))
	set(t, db, "a", "1")
	// b: another database
	for _, r := range []struct{ dir, spill, named string }{{a, spill, a}, {a, link, a}, {b, spill, spill}, {b, above + "/a/../spill", spill}} {
		answer, child := startSecond(t, r.dir, r.spill)
		require.Contains(t, answer, "locked: "+plainLocked(t, r.named))
		require.Contains(t, answer, fmt.Sprint("process ", os.Getpid()))
		child.Stop()
	}
	require.NoDirExists(t, b)
	set(t, db, "b", "2")
	requireAll(t, db, map[string]string{"a": "1", "b": "2"})
	require.NoError(t, db.Close())

	// The other way round: the child holds it, until it is killed.
	answer, child := startSecond(t, a, spill)
	require.Equal(t, "open", answer)
	for _, r := range []struct {
		opt   badgerspill.Options
		named string
	}{{secondOptions(a, spill), a}, {secondOptions(b, spill), spill}, {secondOptions(a, link), a}} {
		for _, readOnly := range []bool{false, true} {
			if readOnly && r.named == spill { // there is no database yet
				continue
			}
			before := tree(t, above)
			_, err := badgerspill.Open(r.opt.WithReadOnly(readOnly))
			requireLocked(t, err, r.named, child.Pid(), true)
			require.Equal(t, before, tree(t, above))
		}
	}
	_, err := badger.Open(layer(a).Badger())
	require.ErrorContains(t, err, plainLocked(t, a))
	child.Stop()
	requireAll(t, openSpill(t, secondOptions(a, spill)), map[string]string{"a": "1", "b": "2", "child": "was here"})
}
