package integration_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// The kill test: a child process commits with several writers and prints each acknowledged commit; the parent kills it
// at a random moment, reopens the database, and finds all that was acknowledged, nothing torn, nothing resurrected.

// A usual run has 30 rounds in all, a nightly one at least 500: -killrounds 50.
var killRounds = flag.Int("killrounds", 3, "rounds of the kill test in each state")

const (
	killEnv     = "BADGERSPILL_KILL_CHILD"
	killWriters = 4
	killKeep    = 10 // each commit deletes the pair of so many commits ago
)

var killModes = []struct {
	name   string
	change func(o badgerspill.Options) badgerspill.Options
	drain  bool // the child drains all the time: many hand-overs
}{
	{"direct", func(o badgerspill.Options) badgerspill.Options { return o.WithStallThreshold(-1).WithSpillRate(-1) }, false},
	{"rate", func(o badgerspill.Options) badgerspill.Options {
		return o.WithStallThreshold(-1).WithSpillRate(50).WithSegmentSize(16<<10).WithQuiet(1e12, time.Millisecond)
	}, true},
	{"spilling", func(o badgerspill.Options) badgerspill.Options {
		return o.WithStallThreshold(time.Nanosecond).WithQuiet(1, time.Hour)
	}, false},
	{"always", func(o badgerspill.Options) badgerspill.Options {
		return o.WithSpillPolicy(badgerspill.Always).WithSegmentSize(64<<10).WithQuiet(1, time.Hour)
	}, false},
	{"replaying", func(o badgerspill.Options) badgerspill.Options {
		return o.WithSpillPolicy(badgerspill.Always).WithSegmentSize(16<<10).WithQuiet(1e12, time.Millisecond)
	}, false},
	{"hand-over", func(o badgerspill.Options) badgerspill.Options {
		return o.WithStallThreshold(time.Nanosecond).WithSpillRate(-1).WithSegmentSize(16<<10).WithQuiet(1e12, time.Millisecond)
	}, true},
	{"synced", func(o badgerspill.Options) badgerspill.Options {
		return o.WithSyncWrites(true).WithStallThreshold(time.Millisecond).WithSpillRate(-1).WithSegmentSize(64<<10).WithQuiet(1e12, time.Millisecond)
	}, false},
	// Small segments, and versions that need not be replayed: chunks in key order run all the time.
	{"chunks", func(o badgerspill.Options) badgerspill.Options {
		return chunks(o).WithStallThreshold(time.Nanosecond).WithSpillRate(-1)
	}, true},
	{"chunks, synced and encrypted", func(o badgerspill.Options) badgerspill.Options {
		o.Options = o.Options.WithIndexCacheSize(1 << 20)
		return chunks(o).WithSpillPolicy(badgerspill.Always).WithSyncWrites(true).WithEncryptionKey(make([]byte, 32))
	}, false},
	{"chunks, small spill", func(o badgerspill.Options) badgerspill.Options {
		return chunks(o).WithSpillPolicy(badgerspill.Always).WithSpillCapacity(4 << 20)
	}, false},
	{"memory short", func(o badgerspill.Options) badgerspill.Options {
		return o.WithStallThreshold(-1).WithSpillRate(-1).WithLimitRatios(0.0005, 0.001).WithQuiet(1e12, time.Millisecond)
	}, false},
}

func chunks(o badgerspill.Options) badgerspill.Options {
	o.Options = o.Options.WithNumVersionsToKeep(1)
	return o.WithSegmentSize(4<<10).WithQuiet(1e12, time.Millisecond)
}

func killOptions(dir string, mode int) badgerspill.Options {
	return killModes[mode].change(badgerspill.OptionsFrom(small(dir)))
}

func TestMain(m *testing.M) {
	if arg := os.Getenv(killEnv); arg != "" {
		killChild(arg)
		return
	}
	os.Exit(m.Run())
}

func pairKey(side byte, w int, n uint64) []byte {
	return fmt.Appendf(nil, "%c/%d/%d", side, w, n)
}

// killChild never ends by itself but for an error, or if it is to kill itself as soon as the database is open.
func killChild(arg string) {
	var mode int
	dir, rest, _ := strings.Cut(arg, "|")
	rest, atOpen := strings.CutSuffix(rest, "|open")
	if _, err := fmt.Sscan(rest, &mode); err != nil {
		panic(err)
	}
	db, err := badgerspill.Open(killOptions(dir, mode))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(3)
	}
	if atOpen {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		select {}
	}
	if killModes[mode].drain {
		go func() {
			for {
				_ = db.Drain(context.Background())
			}
		}()
	}
	if strings.HasPrefix(killModes[mode].name, "chunks") {
		go func() {
			for range time.Tick(time.Millisecond) {
				if n := db.SpillStats().EntriesCoalesced; n > 0 { // which only chunks do
					fmt.Println("chunk")
					return
				}
			}
		}()
	}
	var wg sync.WaitGroup
	for w := range killWriters {
		wg.Go(func() {
			n, err := killLast(db, w)
			for err == nil {
				n++
				if err = db.Update(func(txn *badgerspill.Txn) error { return killCommit(txn, w, n) }); err == nil {
					_, err = fmt.Fprintf(os.Stdout, "ack %d %d\n", w, n) // one write call: one line
				}
			}
			fmt.Println("error", err)
			os.Exit(3)
		})
	}
	wg.Wait()
}

func killCommit(txn *badgerspill.Txn, w int, n uint64) error {
	val := make([]byte, 8+n%300)
	binary.BigEndian.PutUint64(val, n)
	return errors.Join(
		txn.Set(pairKey('a', w, n), val),
		txn.Set(fmt.Appendf(nil, "last/%d", w), val[:8]),
		txn.Delete(pairKey('a', w, n-killKeep)),
		txn.Delete(pairKey('b', w, n-killKeep)),
		txn.Set(pairKey('b', w, n), val))
}

func killLast(db *badgerspill.DB, w int) (n uint64, err error) {
	err = db.View(func(txn *badgerspill.Txn) error {
		it, err := txn.Get(fmt.Appendf(nil, "last/%d", w))
		if errors.Is(err, badgerspill.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return it.Value(func(v []byte) error { n = binary.BigEndian.Uint64(v); return nil })
	})
	return n, err
}

func TestKillAndRecover(t *testing.T) {
	for mode, m := range killModes {
		t.Run(m.name, func(t *testing.T) {
			rng := random(t)
			dir := t.TempDir()
			var acked [killWriters]uint64
			chunked := 0
			for range *killRounds {
				if killOnce(t, rng, dir, mode, &acked) {
					chunked++
				}
				for range rng.IntN(4) { // and again, before Badger has seen to what the last one left
					killAtOpen(t, dir, mode)
				}
				killCheck(t, dir, mode, &acked)
			}
			if strings.HasPrefix(m.name, "chunks") {
				t.Logf("%d of %d children replayed in chunks before they were killed", chunked, *killRounds)
				require.True(t, chunked > 0 || *killRounds < 10)
			}
		})
	}
}

// killCommand is a child with this argument of killChild.
func killCommand(t *testing.T, arg string) *exec.Cmd {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), killEnv+"="+arg)
	cmd.Stderr = os.Stderr
	return cmd
}

// killOnce lets a child run until it has acknowledged a random number of commits, and kills it. It returns whether the child told of a
// chunk.
func killOnce(t *testing.T, rng *rand.Rand, dir string, mode int, acked *[killWriters]uint64) (chunked bool) {
	cmd := killCommand(t, fmt.Sprintf("%s|%d", dir, mode))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	limit := 1 + rng.IntN(3000)
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if lines.Text() == "chunk" {
			chunked = true
			continue
		}
		var w int
		var i uint64
		_, err := fmt.Sscanf(lines.Text(), "ack %d %d", &w, &i)
		require.NoError(t, err, "child: %s", lines.Text())
		require.Less(t, acked[w], i)
		acked[w] = i
		if n == limit {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	return chunked
}

// killAtOpen lets a child kill itself as soon as it has opened the database.
func killAtOpen(t *testing.T, dir string, mode int) {
	out, err := killCommand(t, fmt.Sprintf("%s|%d|open", dir, mode)).Output()
	var ended *exec.ExitError
	require.ErrorAs(t, err, &ended)
	require.Empty(t, string(out))
}

func killCheck(t *testing.T, dir string, mode int, acked *[killWriters]uint64) {
	db, err := badgerspill.Open(killOptions(dir, mode))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	check := func() {
		require.NoError(t, db.View(func(txn *badgerspill.Txn) error {
			for w := range killWriters {
				last, err := killLast(db, w)
				require.NoError(t, err)
				require.GreaterOrEqual(t, last, acked[w], "writer %d: acknowledged commits are missing", w)
				require.LessOrEqual(t, last, acked[w]+1, "writer %d: commits that were never sent", w)
				for n := max(last, 3*killKeep) - 3*killKeep; n <= last+2; n++ {
					want := n > 0 && n <= last && n+killKeep > last
					for _, side := range []byte{'a', 'b'} {
						it, err := txn.Get(pairKey(side, w, n))
						if !want {
							require.ErrorIs(t, err, badgerspill.ErrKeyNotFound, "%s of writer %d at %d", pairKey(side, w, n), w, last)
							continue
						}
						require.NoError(t, err, "%s of writer %d at %d", pairKey(side, w, n), w, last)
						v, err := it.ValueCopy(nil)
						require.NoError(t, err)
						require.Len(t, v, int(8+n%300))
						require.Equal(t, n, binary.BigEndian.Uint64(v))
					}
				}
				acked[w] = last
			}
			return nil
		}))
	}
	check()
	require.NoError(t, db.Drain(context.Background()))
	check()
}
