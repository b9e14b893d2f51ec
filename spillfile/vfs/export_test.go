package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrSymlink is for the tests in package vfs_test.
var ErrSymlink = errSymlink

// OddSystem is the system that the tests run on, but for an answer.
type OddSystem struct {
	Name  string
	FS    FS
	Fails error // what the answer makes of an Open; nil: it does not matter
}

// OddSystems returns one for each answer that is not as Linux gives it.
func OddSystems() []OddSystem {
	refused := fmt.Errorf("this system: %w", errors.ErrUnsupported)
	var out []OddSystem
	for name, row := range map[string]struct {
		answer func(*calls)
		fails  error
	}{
		"no flag for symbolic links and pipes": {func(c *calls) { c.noFollow, c.nonBlock = 0, 0 }, nil},
		"no sync of directories":               {func(c *calls) { c.syncDir = nil }, nil},
		"sync of a directory is unknown":       {func(c *calls) { c.syncDir = func(*os.File) error { return refused } }, nil},
		"sync of a directory is invalid": {func(c *calls) {
			c.syncDir = func(d *os.File) error { return &fs.PathError{Op: "sync", Path: d.Name(), Err: syscall.EINVAL} }
		}, nil},
		"sync of a directory fails": {func(c *calls) { c.syncDir = func(*os.File) error { return io.ErrShortWrite } }, io.ErrShortWrite},
		"no modes":                  {func(c *calls) { c.chmod = func(string, *os.File, fs.FileMode) error { return refused } }, nil},
		"modes of another user's files": {func(c *calls) {
			c.chmod = func(string, *os.File, fs.FileMode) error { return fs.ErrPermission }
		}, fs.ErrPermission},
		"no free space": {func(c *calls) { c.free = func(string) (int64, int64, error) { return 0, 0, refused } }, nil},
		"no locks of files: a table of the process": {func(c *calls) {
			var table lockTable
			c.lock = func(o *osFS, name string, shared bool) (io.Closer, error) {
				return table.take(name, shared, func() (io.Closer, error) { return o.openNoFollow(name, os.O_RDWR|os.O_CREATE, 0o600) })
			}
		}, nil},
	} {
		system := thisSystem
		row.answer(&system)
		out = append(out, OddSystem{name, &osFS{system}, row.fails})
	}
	return out
}
