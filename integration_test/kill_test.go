package integration_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
	"github.com/badgerspill/badgerspill/integration_test/states"
)

// The kill test: a child process commits with several writers and prints each acknowledged commit;
// the parent kills it at a random moment, reopens the database, and finds all that was
// acknowledged, nothing torn, nothing resurrected.

// A usual run has 30 rounds in all, a nightly one at least 500: -killrounds 50.
var killRounds = flag.Int("killrounds", 3, "rounds of the kill test in each state")

const (
	killWriters = 4
	killKeep    = 10 // each commit deletes the pair of so many commits ago
)

var killModes = states.All()

func killOptions(dir string, mode int) badgerspill.Options {
	return killModes[mode].Change(badgerspill.OptionsFrom(small(dir)))
}

func pairKey(side byte, w int, n uint64) []byte {
	return fmt.Appendf(nil, "%c/%d/%d", side, w, n)
}

type killArg struct {
	Dir    string
	Mode   int
	AtOpen bool // it kills itself as soon as the database is open
}

// TestKillChild never ends by itself but for an error, or if it is to kill itself.
func TestKillChild(t *testing.T) {
	arg := childproc.Arg[killArg](t)
	mode := arg.Mode
	db, err := badgerspill.Open(killOptions(arg.Dir, mode))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(3)
	}
	if arg.AtOpen {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		select {}
	}
	if killModes[mode].Drain {
		go func() {
			for {
				_ = db.Drain(context.Background())
			}
		}()
	}
	if strings.HasPrefix(killModes[mode].Name, "chunks") {
		go func() {
			for range time.Tick(time.Millisecond) {
				if n := db.SpillStats().EntriesCoalesced; n > 0 { // which only chunks do
					fmt.Println("chunk")
					return
				}
			}
		}()
	}
	var wg kit.WaitGroup
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
		t.Run(m.Name, func(t *testing.T) {
			rng := random(t)
			dir := t.TempDir()
			var acked [killWriters]uint64
			chunked := 0
			for range *killRounds {
				if killOnce(t, rng, dir, mode, &acked) {
					chunked++
				}
				// and again, before Badger has seen to what the last one left
				for range rng.IntN(4) {
					killAtOpen(t, dir, mode)
				}
				killCheck(t, dir, mode, &acked)
			}
			if strings.HasPrefix(m.Name, "chunks") {
				t.Logf("%d of %d children replayed in chunks before they were killed", chunked, *killRounds)
				require.True(t, chunked > 0 || *killRounds < 10)
			}
		})
	}
}

// killOnce lets a child run until it has acknowledged a random number of commits, and kills it. It
// returns whether the child told of a chunk.
func killOnce(t *testing.T, rng *rand.Rand, dir string, mode int, acked *[killWriters]uint64) (chunked bool) {
	child := childproc.Start(t, "TestKillChild", killArg{Dir: dir, Mode: mode})
	defer child.Stop()
	limit, n := 1+rng.IntN(3000), 0
	for line := range child.Lines() {
		if line == "chunk" {
			chunked = true
			continue
		}
		var w int
		var i uint64
		_, err := fmt.Sscanf(line, "ack %d %d", &w, &i)
		require.NoError(t, err, "child: %s", line)
		require.Less(t, acked[w], i)
		acked[w] = i
		if n++; n == limit {
			require.NoError(t, child.Kill())
		}
	}
	return chunked
}

// killAtOpen lets a child kill itself as soon as it has opened the database.
func killAtOpen(t *testing.T, dir string, mode int) {
	child := childproc.Start(t, "TestKillChild", killArg{dir, mode, true})
	require.Empty(t, slices.Collect(child.Lines()))
	require.Error(t, child.Wait())
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
