package integration_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
)

// A real volume runs full under a child process, which must not die of it: Badger alone ends with
// SIGBUS there.

const (
	volumeSize    = 256 << 20
	volumeBallast = 96 << 20
	volumeWriters = 8
)

var volumeAll = flag.Bool("volume.all", false, "end TestFullVolume in both ways in each mode, not in one")

var volumeModes = []struct {
	name   string
	change func(o badgerspill.Options) badgerspill.Options
}{
	{"default", func(o badgerspill.Options) badgerspill.Options { return o }},
	{"small memtables", func(o badgerspill.Options) badgerspill.Options {
		o = o.WithMemTableSize(4 << 20).WithNumMemtables(2).WithValueThreshold(32 << 10).WithBaseTableSize(1 << 20)
		return o.WithStallThreshold(time.Millisecond)
	}},
	{"always", func(o badgerspill.Options) badgerspill.Options {
		o = o.WithMemTableSize(8 << 20)
		return o.WithSpillPolicy(badgerspill.Always).WithSegmentSize(1<<20).WithQuiet(1e12, time.Millisecond)
	}},
	{"no spill", func(o badgerspill.Options) badgerspill.Options {
		o = o.WithMemTableSize(8 << 20)
		return o.WithSpillPolicy(badgerspill.Never)
	}},
}

func volumeOptions(dir string, mode int) badgerspill.Options {
	o := badgerspill.DefaultOptions(dir)
	o = o.WithLogger(nil).WithMetricsEnabled(false).WithBlockCacheSize(16 << 20)
	return volumeModes[mode].change(o)
}

func volumeKey(w, i int) []byte { return fmt.Appendf(nil, "%d/%d", w, i) }

// volumeValue does not compress.
func volumeValue(w, i int) []byte {
	rng := rand.New(rand.NewPCG(uint64(w), uint64(i)))
	v := make([]byte, 0, 64<<10)
	for n := 1 + rng.IntN(1<<(6+rng.IntN(8))); n > 0; n-- {
		v = binary.LittleEndian.AppendUint64(v, rng.Uint64())
	}
	return v
}

type volumeArg struct {
	Dir  string
	Mode int
}

// TestVolumeChild writes with several writers until all of them get ErrNoSpace, says so, goes on as
// soon as it can, says that, and so on. It says of each commit that it is acknowledged.
func TestVolumeChild(t *testing.T) {
	arg := childproc.Arg[volumeArg](t)
	db, err := badgerspill.Open(volumeOptions(arg.Dir, arg.Mode))
	require.NoError(t, err)
	var full, normal atomic.Int32
	stop := make(chan struct{})
	var writers kit.WaitGroup
	for w := range volumeWriters {
		writers.Go(func() {
			refused := false
			pause := time.NewTicker(20 * time.Millisecond)
			defer pause.Stop()
			for i := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				err := db.Update(func(txn *badgerspill.Txn) error { return txn.Set(volumeKey(w, i), volumeValue(w, i)) })
				switch {
				case err == nil:
					fmt.Printf("ack %d %d\n", w, i)
					i++
					if refused {
						refused = false
						full.Add(-1)
						fmt.Println("normal", normal.Add(1))
					}
				case errors.Is(err, badgerspill.ErrNoSpace):
					if !refused {
						refused = true
						fmt.Println("full", full.Add(1))
					}
					<-pause.C
				default:
					fmt.Println("error", err)
					return
				}
			}
		})
	}
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	close(stop)
	writers.Wait()
	if line == "close\n" {
		err := db.Close()
		fmt.Println("closed", err == nil || errors.Is(err, badgerspill.ErrNoSpace), err)
	}
}

func TestFullVolume(t *testing.T) {
	for mode, m := range volumeModes {
		for i, end := range []string{"kill", "close"} {
			if i != mode%2 && !*volumeAll {
				continue
			}
			t.Run(m.name+", "+end, func(t *testing.T) { fullVolume(t, mode, end) })
		}
	}
}

func fullVolume(t *testing.T, mode int, end string) {
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, fmt.Sprintf("size=%d", volumeSize)); err != nil {
		t.Skipf("needs to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(root, 0)) })
	ballast := filepath.Join(root, "ballast")
	f, err := os.Create(ballast)
	require.NoError(t, err)
	require.NoError(t, unix.Fallocate(int(f.Fd()), 0, 0, volumeBallast))
	require.NoError(t, f.Close())
	dir := filepath.Join(root, "db")

	child := childproc.Start(t, "TestVolumeChild", volumeArg{dir, mode})
	child.Bound(2 * time.Minute)

	acked := make([]int, volumeWriters)
	sum := func() (n int) {
		for _, a := range acked {
			n += a
		}
		return n
	}
	ackedWhenFull, normal, closed, ended := 0, 0, "", false
	allFull := fmt.Sprint("full ", volumeWriters)
	for line := range child.Lines() {
		var w, i int
		switch {
		case strings.HasPrefix(line, "ack "):
			_, err := fmt.Sscanf(line, "ack %d %d", &w, &i)
			require.NoError(t, err)
			require.Equal(t, acked[w], i)
			acked[w] = i + 1
		case line == allFull && ackedWhenFull == 0:
			ackedWhenFull, normal = sum(), 0
			require.NoError(t, os.Remove(ballast))
		case line == allFull && !ended && sum() > ackedWhenFull+ackedWhenFull/4:
			// for a second time
			ended = true
			if end == "kill" {
				require.NoError(t, child.Kill())
			} else {
				require.NoError(t, child.Say("close"))
			}
		case strings.HasPrefix(line, "normal "):
			normal++
		case strings.HasPrefix(line, "closed "):
			closed = line
		case strings.HasPrefix(line, "error "):
			require.FailNow(t, line)
		}
	}
	err = child.Wait()
	if end == "kill" {
		require.Error(t, err)
		require.True(t, child.Killed(), "%v", err)
	} else {
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(closed, "closed true"), closed)
	}
	require.Positive(t, ackedWhenFull)
	require.True(t, ended, "service is normal when there is space")
	require.GreaterOrEqual(t, normal, volumeWriters)

	db, err := badgerspill.Open(volumeOptions(dir, mode))
	require.NoError(t, err)
	total, bytesTotal := 0, 0
	require.NoError(t, db.View(func(txn *badgerspill.Txn) error {
		for w, n := range acked {
			for i := range n {
				item, err := txn.Get(volumeKey(w, i))
				if err != nil {
					return fmt.Errorf("%s: %w", volumeKey(w, i), err)
				}
				if err := item.Value(func(v []byte) error {
					if !bytes.Equal(v, volumeValue(w, i)) {
						return fmt.Errorf("%s is wrong", volumeKey(w, i))
					}
					bytesTotal += len(v)
					return nil
				}); err != nil {
					return err
				}
				total++
			}
		}
		return nil
	}))
	t.Logf("%d commits when full for the first time, %d in the end, %d MiB of values", ackedWhenFull, total, bytesTotal>>20)
	require.Greater(t, total, ackedWhenFull)
	err = db.Close()
	require.True(t, err == nil || errors.Is(err, badgerspill.ErrNoSpace), "%v", err)
}
