package badgerspill

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// writtenAt makes the segments of a spill say that they were begun d from now: the clock of the
// process that wrote them was wrong.
func writtenAt(t *testing.T, dir string, d time.Duration) {
	t.Helper()
	for _, path := range segments(t, dir) {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		binary.LittleEndian.PutUint64(b[80:], uint64(time.Now().Add(d).UnixNano()))
		binary.LittleEndian.PutUint32(b[188:], crc32.Checksum(b[:188], crc32.MakeTable(crc32.Castagnoli)))
		require.NoError(t, os.WriteFile(path, b, 0o600))
	}
}

// TestWrongClocks: a spill that was begun in the future is due, and its age is 0; one begun long
// ago is as old as that. What is written now is as old as the process says, whatever the clock on
// the wall does.
func TestWrongClocks(t *testing.T) {
	for _, row := range []struct {
		name string
		off  time.Duration
		due  bool
		age  time.Duration
	}{
		{"a year ahead", 365 * 24 * time.Hour, true, 0},
		{"a minute ahead", time.Minute, true, 0},
		{"right", -time.Second, false, time.Second},
		{"a year behind", -365 * 24 * time.Hour, true, 365 * 24 * time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := open(t, func(opt *Options) { opt.KeepSpillOnClose = true })
			f.spillOne("a", "1")
			require.NoError(t, f.Close())
			writtenAt(t, f.opt.Dir, row.off)
			g := openAt(t, f.opt.Dir)
			age := g.SpillStats().OldestSpilled
			require.GreaterOrEqual(t, age, row.age)
			require.Less(t, age, row.age+waitLimit)
			if row.due {
				eventually(t, "it is replayed", func() bool { return g.inBadger("a") == "1" })
			} else {
				never(t, 300*time.Millisecond, "it is replayed", func() bool { return g.inBadger("a") == "1" })
			}
			require.Equal(t, "1", g.get("a"))
		})
	}
	f := open(t)
	f.spillOne("a", "1")
	require.True(t, strings.Contains(f.log.State().OldestCreated.String(), "m=+"), "it has the reading of a clock that does not jump")
}
