//go:build unix

package integration_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
)

// TestPipesInTheSpill: nor is anything else opened that is not a file. A pipe would make Open wait
// for its other end.
func TestPipesInTheSpill(t *testing.T) {
	o := layer(filepath.Join(t.TempDir(), "db")).WithSpillPolicy(badgerspill.Always).WithSegmentSize(4<<10).
		WithQuiet(1, time.Hour).WithDrainOnClose(false)
	want := smallSpill(t, o)
	pristine := filepath.Join(t.TempDir(), "pristine")
	require.NoError(t, os.CopyFS(pristine, os.DirFS(o.Dir)))
	for _, file := range layerFiles(t, o.Dir) {
		for _, readOnly := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, read-only %v", filepath.Base(file), readOnly), func(t *testing.T) {
				restore(t, o.Dir, pristine)
				o := o
				o = o.WithReadOnly(readOnly)
				require.NoError(t, os.Remove(file))
				require.NoError(t, unix.Mkfifo(file, 0o600))
				kit.MustEnd(t, "Open", func() {
					opened := openOrNamed(t, o, file, want)
					// Nothing is read from the lock and the next manifest; the interlock is removed
					// and set anew, an index is made again.
					harmless := slices.Contains([]string{"LOCK", "MANIFEST.tmp", interlockFile}, filepath.Base(file)) || isIndex(file)
					require.Equal(t, harmless, opened)
				})
			})
		}
	}
}

// A child of another umask: it spills, keeps its database open, and waits to be killed.
type umaskArg struct {
	Mask       int
	Dir, Spill string
}

func TestUmaskChild(t *testing.T) {
	arg := childproc.Arg[umaskArg](t)
	unix.Umask(arg.Mask)
	db := openSpill(t, umaskOptions(arg.Dir, arg.Spill))
	for i := range 30 {
		set(t, db, string(key(i)), incompressibleText(i, 900))
	}
	fmt.Println("ready")
	childproc.UntilTheInputEnds()
}

func umaskOptions(dir, spill string) badgerspill.Options {
	return layer(dir).WithSpillDir(spill).WithSpillPolicy(badgerspill.Always).WithSegmentSize(4<<10).WithQuiet(1, time.Hour)
}

func TestModesWhateverTheUmask(t *testing.T) {
	masks := []int{0, 0o077}
	// Badger opens its own files again, which only root can if they are nobody's
	if os.Geteuid() == 0 {
		masks = append(masks, 0o777)
	}
	for _, mask := range masks {
		// the default place of the spill, and one whose parents are made, too
		for _, deep := range []bool{false, true} {
			t.Run(fmt.Sprintf("umask %03o, elsewhere %v", mask, deep), func(t *testing.T) {
				above := t.TempDir()
				dir := filepath.Join(above, "made", "db")
				spill := filepath.Join(dir, "spill")
				if deep {
					spill = filepath.Join(above, "x", "y", "spill")
				}
				child := childproc.Start(t, "TestUmaskChild", umaskArg{mask, dir, spill})
				child.Bound(2 * time.Minute)
				defer child.Stop()
				_, ready := child.WaitFor("ready")
				require.True(t, ready, "the child has failed")

				// The child still makes index files, and the segment after the last one. A file has
				// its mode a moment after it was made, so those that are wrong must not stay so.
				wrong := func() (names []string) {
					check := func(path string, want fs.FileMode) {
						info, err := os.Lstat(path)
						if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(path, ".idx.tmp") {
							return // renamed
						}
						require.NoError(t, err)
						if info.Mode() != want {
							names = append(names, fmt.Sprintf("%s is %v, want %v", path, info.Mode(), want))
						}
					}
					check(dir, fs.ModeDir|0o700)
					check(spill, fs.ModeDir|0o700)
					files, err := filepath.Glob(filepath.Join(spill, "*"))
					require.NoError(t, err)
					require.Greater(t, len(files), 5, "a lock, a manifest and segments")
					for _, f := range append(files, filepath.Join(dir, "BADGERSPILL"), filepath.Join(dir, interlockFile)) {
						check(f, 0o600)
					}
					return names
				}
				last := wrong()
				for end := time.Now().Add(10 * time.Second); len(last) > 0 && time.Now().Before(end); {
					last = wrong()
				}
				require.Empty(t, last)
			})
		}
	}
}
