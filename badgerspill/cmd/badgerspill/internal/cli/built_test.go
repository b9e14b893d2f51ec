package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// builtIn is the directory of the executable, which TestMain removes.
var builtIn atomic.Pointer[string]

// executable builds the command, once for all tests that run it.
var executable = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "badgerspill-test-")
	if err != nil {
		return "", err
	}
	builtIn.Store(&dir)
	path := filepath.Join(dir, "badgerspill.exe") // a name that every system runs
	out, err := exec.Command("go", "build", "-o", path, "../..").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// start makes a process of the built command, with nothing on its standard input.
func start(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, path, args...)
}

// built runs the built command and returns how it ended.
func built(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := start(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := new(exec.ExitError); !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// ok runs the built command and wants it to succeed.
func ok(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	code, stdout, stderr := built(t, args...)
	require.Zero(t, code, "%s\n%s", stdout, stderr)
	return stdout
}

// database is one that a test has made. All of its commits are in the spill.
type database struct {
	dir  string
	key  []byte
	want map[string]string // what must be there
}

// never keeps a spill as it is until the database is closed.
const never = 1000 * time.Hour

func spillOptions(dir string, key []byte) badgerspill.Options {
	opt := badgerspill.DefaultOptions(dir).WithSpillPolicy(badgerspill.Always).WithDrainOnClose(false).
		WithQuiet(1, never).WithMaxSpillAge(never).WithReplayHighWater(1).WithSegmentSize(8 << 10)
	opt = opt.WithLogger(nil)
	if key != nil {
		opt = opt.WithEncryptionKey(key).WithIndexCacheSize(1 << 20)
	}
	return opt
}

// spilled makes a database whose spill holds n commits: of one key each, some of them bytes that
// are no text, some with deletes and times to live.
func spilled(t *testing.T, n int, key []byte) *database {
	t.Helper()
	d := &database{dir: filepath.Join(t.TempDir(), "db"), key: key, want: map[string]string{}}
	db, err := badgerspill.Open(spillOptions(d.dir, key))
	require.NoError(t, err)
	for i := range n {
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return d.commit(txn, i) }))
	}
	require.NoError(t, db.Close())
	require.FileExists(t, filepath.Join(d.dir, "UNREPLAYED-SPILL--open-with-badgerspill.mem"))
	return d
}

func (d *database) commit(txn *badgerspill.Txn, i int) error {
	key, value := fmt.Sprintf("key/%04d", i), fmt.Sprintf("value of %d, %s", i, strings.Repeat("x", i%300))
	switch i % 10 {
	case 3:
		key = fmt.Sprintf("\xff\x00%04d", i)
		value = "\x80 is no text"
	case 5: // a delete of what the commit before has set
		key = fmt.Sprintf("key/%04d", i-1)
		delete(d.want, key)
		return txn.Delete([]byte(key))
	case 7:
		d.want[key] = value
		return txn.SetEntry(badgerspill.NewEntry([]byte(key), []byte(value)).WithMeta(9).WithTTL(1000 * time.Hour))
	}
	d.want[key] = value
	return txn.Set([]byte(key), []byte(value))
}

func (d *database) plainOptions() badger.Options {
	opt := badger.DefaultOptions(d.dir).WithLogger(nil)
	if d.key != nil {
		opt = opt.WithEncryptionKey(d.key).WithIndexCacheSize(1 << 20)
	}
	return opt
}

// plain reads everything with plain Badger.
func (d *database) plain(t *testing.T) map[string]string {
	t.Helper()
	db, err := badger.Open(d.plainOptions())
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	got := map[string]string{}
	require.NoError(t, db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			require.NoError(t, it.Item().Value(func(v []byte) error {
				got[string(it.Item().KeyCopy(nil))] = string(v)
				return nil
			}))
		}
		return nil
	}))
	return got
}

func (d *database) segments(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(d.dir, "spill", "*.seg"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	return paths
}

// flip changes a byte of a file, counted from its end if at is negative.
func flip(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0x55
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// tree returns what all files below a directory hold.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	}))
	return files
}

// plainBadger makes a database that has never seen badgerspill.
func plainBadger(t *testing.T) *database {
	t.Helper()
	d := &database{dir: t.TempDir(), want: map[string]string{"a": "1"}}
	db, err := badger.Open(badger.DefaultOptions(d.dir).WithLogger(nil))
	require.NoError(t, err)
	require.NoError(t, db.Update(func(txn *badger.Txn) error { return txn.Set([]byte("a"), []byte("1")) }))
	require.NoError(t, db.Close())
	return d
}

// keyFile writes a key to a file.
func keyFile(t *testing.T, key string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte(key), 0o600))
	return path
}
