package cli

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
)

// onTerminal runs the built command on a pseudo terminal, types the answer, and returns what the
// command has shown there.
func onTerminal(t *testing.T, answer string, args ...string) (code int, shown string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	defer master.Close()
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	cmd := start(t, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	require.NoError(t, cmd.Start())
	require.NoError(t, tty.Close())
	_, err = io.WriteString(master, answer)
	require.NoError(t, err)
	out, _ := io.ReadAll(master) // ends with EIO when the last process has closed the other side
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestSalvageAsks(t *testing.T) {
	d := spilled(t, 50, nil)
	d.damagedAt(t, "", 30)
	before := tree(t, d.dir)
	for _, answer := range []string{"n\n", "\n", "perhaps\n", "\x04"} {
		code, shown := onTerminal(t, answer, "salvage", d.dir)
		require.Equal(t, frame.Failed, code, "%q: %s", answer, shown)
		require.Contains(t, shown, "Set the old files aside and keep 49 commits? [y/N]")
		require.Contains(t, shown, "nothing was changed")
		require.Equal(t, before, tree(t, d.dir))
	}
	code, shown := onTerminal(t, "yes\n", "salvage", d.dir)
	require.Zero(t, code, shown)
	require.Contains(t, shown, "Kept 49 commits")
	require.Equal(t, d.want, d.reopen(t))
}

func TestDrainShowsABarOnATerminal(t *testing.T) {
	d := &database{dir: filepath.Join(t.TempDir(), "db")}
	db, err := badgerspill.Open(spillOptions(d.dir, nil).WithSegmentSize(4 << 20))
	require.NoError(t, err)
	for i := range 1000 {
		value := make([]byte, 1<<10)
		rand.Read(value)
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return txn.Set(fmt.Append(nil, i), value) }))
	}
	require.NoError(t, db.Close())
	code, shown := onTerminal(t, "", "drain", d.dir)
	require.Zero(t, code, shown)
	require.Regexp(t, `\rreplaying \[ *\]   0 %`, shown, "at once, however soon it is done")
	require.Contains(t, shown, "1,000 commits replayed")
}
