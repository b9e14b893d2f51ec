package hops

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOf(t *testing.T) {
	const layer, badger = "github.com/badgerspill/badgerspill/", "github.com/dgraph-io/badger/v4"
	for _, tt := range []struct {
		want  Hop
		stack []string // the innermost first
	}{
		{Spill, []string{"syscall.Syscall6", "os.(*File).WriteAt", layer + "spillfile.(*Log).writeLocked", layer + "spillfile.(*Log).lead", layer + "badgerspill.(*DB).await"}},
		{Commit, []string{"runtime.mallocgc", layer + "badgerspill.(*DB).submit", layer + "badgerspill/cmd/spillbench/internal/closedloop.(*Run).Do.func1"}},
		{Replay, []string{"github.com/golang/snappy.Decode", layer + "spillfile.(*window).readRun", layer + "spillfile.(*window).read.func2"}},
		{Keep, []string{"runtime.memmove", layer + "spillfile.(*Log).writeIndex", layer + "spillfile.(*Log).backgroundWork"}},
		{Intake, []string{badger + "/skl.(*Skiplist).Put", badger + ".(*memTable).Put", badger + ".(*DB).writeRequests", badger + ".(*DB).doWrites.func1"}},
		{Flush, []string{"runtime.memmove", badger + "/table.CreateTable", badger + ".(*DB).handleMemTableFlush", badger + ".(*DB).flushMemtable"}},
		{Compact, []string{"runtime.memmove", badger + "/table.CreateTable", badger + ".(*levelsController).subcompact.func4"}},
		{Runtime, []string{"runtime.scanobject", "runtime.gcBgMarkWorker"}},
		{Other, []string{"main.main"}},
	} {
		require.Equal(t, tt.want, Of(tt.stack), "%v", tt.stack)
	}
}

func TestRecord(t *testing.T) {
	stop, err := Record()
	require.NoError(t, err)
	_, err = Record()
	require.Error(t, err, "one at a time")
	for begin := time.Now(); time.Since(begin) < 200*time.Millisecond; {
	}
	spent, err := stop()
	require.NoError(t, err)
	sum := time.Duration(0)
	for _, d := range spent {
		sum += d
	}
	require.Greater(t, sum, 50*time.Millisecond)
}
