//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
)

func TestDrainLeavesAPlainBadgerDirectory(t *testing.T) {
	for name, key := range map[string][]byte{"plaintext": nil, "encrypted": []byte("0123456789abcdef")} {
		t.Run(name, func(t *testing.T) {
			d := spilled(t, 200, key)
			_, err := badger.Open(d.plainOptions())
			require.ErrorContains(t, err, "UNREPLAYED-SPILL")
			args := []string{"drain", d.dir}
			if key != nil {
				code, _, stderr := built(t, args...)
				require.Equal(t, frame.Failed, code)
				require.Contains(t, stderr, "give its key with --encryption-key-file")
				args = append(args, "-encryption-key-file", keyFile(t, string(key)))
			}
			out := ok(t, args...)
			require.Contains(t, out, "200 commits replayed")
			require.NoFileExists(t, filepath.Join(d.dir, "UNREPLAYED-SPILL--open-with-badgerspill.mem"))
			require.Equal(t, d.want, d.plain(t))
			require.Contains(t, ok(t, args...), "holds nothing")
			require.Equal(t, d.want, d.plain(t))
		})
	}
}

// A drain keeps what the program might: every version, those before a delete included.
func TestDrainKeepsVersions(t *testing.T) {
	d := &database{dir: t.TempDir()}
	db, err := badgerspill.Open(spillOptions(d.dir, nil).WithSegmentSize(1 << 20))
	require.NoError(t, err)
	const versions, deleted = 100, 50 // 9 MiB: more than is replayed in the order of the log
	random := rand.NewChaCha8([32]byte{})
	value := make([]byte, 90<<10)
	for i := range versions {
		_, _ = random.Read(value)
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error {
			if i == deleted {
				return txn.Delete([]byte("k"))
			}
			return txn.Set([]byte("k"), bytes.Clone(value))
		}))
	}
	require.NoError(t, db.Close())
	ok(t, "drain", d.dir)
	plain, err := badger.OpenManaged(d.plainOptions().WithNumVersionsToKeep(versions))
	require.NoError(t, err)
	defer plain.Close()
	txn := plain.NewTransactionAt(versions, false)
	defer txn.Discard()
	it := txn.NewKeyIterator([]byte("k"), badger.IteratorOptions{AllVersions: true})
	defer it.Close()
	want := uint64(versions)
	for it.Rewind(); it.Valid(); it.Next() {
		require.Equal(t, want, it.Item().Version())
		require.Equal(t, want == deleted+1, it.Item().IsDeletedOrExpired())
		want--
	}
	require.Zero(t, want)
}

func TestDrainOfOtherDatabases(t *testing.T) {
	t.Run("plain Badger", func(t *testing.T) {
		d := plainBadger(t)
		before := tree(t, d.dir)
		require.Contains(t, ok(t, "drain", d.dir), "holds nothing")
		require.Equal(t, before, tree(t, d.dir))
	})
	t.Run("corrupt", func(t *testing.T) {
		d := spilled(t, 100, nil)
		flip(t, filepath.Join(d.dir, "spill", "MANIFEST"), 50)
		before := tree(t, d.dir)
		code, _, stderr := built(t, "drain", d.dir)
		require.Equal(t, frame.Failed, code)
		require.Contains(t, stderr, filepath.Join(d.dir, "spill", "MANIFEST"))
		require.Contains(t, stderr, "badgerspill salvage")
		require.Equal(t, before, tree(t, d.dir))
	})
	t.Run("damage that shows while it is read", func(t *testing.T) {
		d := spilled(t, 100, nil)
		segment := d.segments(t)[1]
		flip(t, segment, -10)
		code, _, stderr := built(t, "drain", d.dir)
		require.Equal(t, frame.Failed, code)
		require.Contains(t, stderr, segment)
		require.Equal(t, 1, strings.Count(stderr, segment), "said once: %s", stderr)
		require.Contains(t, stderr, "are left in "+filepath.Join(d.dir, "spill")+"; what is damaged is before them")
		require.NotContains(t, stderr, "drain again")
	})
	t.Run("another process has it open", func(t *testing.T) {
		d := spilled(t, 10, nil)
		db, err := badgerspill.Open(spillOptions(d.dir, nil))
		require.NoError(t, err)
		code, _, stderr := built(t, "drain", d.dir)
		require.NoError(t, db.Close())
		require.Equal(t, frame.Locked, code)
		require.Contains(t, stderr, d.dir+": another process has it open")
		require.Equal(t, d.want, drained(t, d))
	})
	t.Run("plain Badger has it open", func(t *testing.T) {
		d := spilled(t, 10, nil)
		ok(t, "drain", d.dir)
		db, err := badger.Open(d.plainOptions())
		require.NoError(t, err)
		code, stdout, stderr := built(t, "drain", d.dir)
		require.NoError(t, db.Close())
		// where the system does not tell who has it open there is nothing to do, either
		if code == 0 {
			require.Contains(t, stdout, "holds nothing")
			return
		}
		require.Equal(t, frame.Locked, code)
		require.Contains(t, stderr, d.dir+": another process has it open (process ")
	})
}

// An interrupt leaves a database that is consistent, and a spill that another drain goes on with.
func TestInterruptedDrain(t *testing.T) {
	d := &database{dir: filepath.Join(t.TempDir(), "db"), want: map[string]string{}}
	db, err := badgerspill.Open(spillOptions(d.dir, nil).WithSegmentSize(4 << 20))
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, 64<<10)
	for i := range 1600 { // 100 MiB: more than a second of replay
		for j := range value {
			value[j] = byte(random.Uint32())
		}
		key := []byte{byte(i >> 8), byte(i)}
		d.want[string(key)] = string(value)
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return txn.Set(key, bytes.Clone(value)) }))
	}
	require.NoError(t, db.Close())

	cmd := start(t, "drain", d.dir)
	pipe, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stderr := bufio.NewReader(pipe)
	first, err := stderr.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, first, "replaying 1,600 commits")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	rest, err := io.ReadAll(stderr)
	require.NoError(t, err)
	require.Error(t, cmd.Wait())
	require.Equal(t, frame.Interrupted, cmd.ProcessState.ExitCode(), string(rest))
	require.Contains(t, string(rest), "commits, ")
	require.Contains(t, string(rest), "are left in "+filepath.Join(d.dir, "spill"))
	require.Contains(t, string(rest), "interrupted")

	_, err = badger.Open(badger.DefaultOptions(d.dir).WithLogger(nil))
	require.ErrorContains(t, err, "UNREPLAYED-SPILL")
	require.Contains(t, ok(t, "verify", d.dir), "sound")
	require.Equal(t, d.want, drained(t, d))
}

func TestDrainOfDirectoriesThatLieApart(t *testing.T) {
	d := &database{dir: filepath.Join(t.TempDir(), "db"), want: map[string]string{}}
	values, spill := filepath.Join(t.TempDir(), "vlog"), filepath.Join(t.TempDir(), "spill")
	opt := spillOptions(d.dir, nil).WithSpillDir(spill)
	opt = opt.WithValueDir(values)
	db, err := badgerspill.Open(opt)
	require.NoError(t, err)
	for i := range 20 {
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return d.commit(txn, i) }))
	}
	require.NoError(t, db.Close())
	code, _, stderr := built(t, "drain", "--vlog-dir", values, d.dir)
	require.Equal(t, frame.Failed, code)
	require.Contains(t, stderr, spill+"; give the directory in which they are")
	require.Equal(t, 1, infoOf(t, "--vlog-dir", values, "--spill-dir", spill, d.dir).Badger.ValueLogs)
	ok(t, "drain", "--vlog-dir", values, "--spill-dir", spill, d.dir)
	logs, err := filepath.Glob(filepath.Join(d.dir, "*.vlog"))
	require.NoError(t, err)
	require.Empty(t, logs, "the value log is where it was")
	plain, err := badger.Open(d.plainOptions().WithValueDir(values))
	require.NoError(t, err)
	defer plain.Close()
	require.NoError(t, plain.View(func(txn *badger.Txn) error {
		for key := range d.want {
			_, err := txn.Get([]byte(key))
			require.NoError(t, err, "%q", key)
		}
		return nil
	}))
}
