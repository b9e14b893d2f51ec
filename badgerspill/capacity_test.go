//go:build linux

package badgerspill

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit"
)

// filesOf returns the bytes of all files in a directory, those too that are removed and that this
// process has open. It looks again until none went away meanwhile: room that one gave back is taken
// by another, and both together were never there.
func filesOf(t *testing.T, dir string) (bytes int64, open int) {
	t.Helper()
	for {
		sizes, removed := filesNow(t, dir)
		after, _ := filesNow(t, dir)
		complete := true
		bytes = 0
		for inode, size := range sizes {
			_, there := after[inode]
			complete = complete && there
			bytes += size
		}
		if complete {
			return bytes, removed
		}
	}
}

// filesNow returns the sizes of those files, by inode, and how many of them are removed.
func filesNow(t *testing.T, dir string) (sizes map[uint64]int64, removed int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	sizes = map[uint64]int64{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it has gone
			sizes[info.Sys().(*syscall.Stat_t).Ino] = info.Size()
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range fds {
		link := filepath.Join("/proc/self/fd", fd.Name())
		name, err := os.Readlink(link)
		if err != nil {
			continue
		}
		if path, gone := strings.CutSuffix(name, " (deleted)"); gone && filepath.Dir(path) == dir {
			if info, err := os.Stat(link); err == nil {
				if _, seen := sizes[info.Sys().(*syscall.Stat_t).Ino]; !seen {
					sizes[info.Sys().(*syscall.Stat_t).Ino] = info.Size()
					removed++
				}
			}
		}
	}
	return sizes, removed
}

// SpillCapacity is a bound on bytes on disk: segments, indexes, and what is removed but still open
// for a reader. It may be passed by what is not known when the room is reserved: headers, and
// rounding of the index of one segment.
func TestSpillCapacityBoundsTheDirectory(t *testing.T) {
	rows := []struct {
		name       string
		key, value int
		sync       bool
		readers    int
	}{
		{name: "keys as large as values", key: 100, value: 100},
		{name: "small entries", key: 16, value: 8},
		{name: "large values", key: 16, value: 16 << 10},
		{name: "large keys, readers", key: 1000, value: 10, readers: 3},
		{name: "small entries, readers", key: 16, value: 8, readers: 3},
		{name: "values, readers, synced", key: 16, value: 1000, readers: 3, sync: true},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			const capacity = 2 << 20
			f := open(t, eager, func(opt *Options) {
				opt.SpillCapacity, opt.Tuning.ReplayHighWater, opt.SpillPolicy, opt.SyncWrites = capacity, 1, Always, r.sync
			})
			dir := filepath.Join(f.opt.Dir, "spill")
			stop := make(chan struct{})
			// Replay goes on only when a writer has found the spill full, so that it is full all
			// the time.
			f.stub.set(func() {
				f.stub.mu.onLoad = func(int, []entry) error {
					tick := time.NewTicker(time.Millisecond)
					defer tick.Stop()
					for !f.parked() {
						select {
						case <-tick.C:
						case <-stop:
							return nil
						}
					}
					return nil
				}
			})
			var work kit.WaitGroup
			var failed atomic.Pointer[error]
			for w := range 4 {
				work.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(w), 2))
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						err := f.Update(func(txn *Txn) error {
							for j := range 1 + rng.IntN(200) {
								if j*(r.key+r.value) > 32<<10 {
									break
								}
								key := fmt.Sprintf("%d/%d/%d/", w, i, j)
								key += incompressible(max(0, r.key-len(key)), rng.Int())
								if err := txn.Set([]byte(key), []byte(incompressible(r.value, rng.Int()))); err != nil {
									return err
								}
							}
							return nil
						})
						if err != nil {
							failed.Store(&err)
							return
						}
					}
				})
			}
			for range r.readers {
				work.Go(func() {
					for {
						// Holds what was in the spill when it began until it was replaced.
						txn := f.NewTransaction(false)
						_, _ = txn.Get([]byte("none"))
						limit := time.After(50 * time.Millisecond)
						select {
						case <-stop:
						case <-limit:
						}
						txn.Discard()
						select {
						case <-stop:
							return
						default:
						}
					}
				})
			}
			var most int64
			var held int
			// For a while, and until it was full.
			for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end) || f.SpillStats().CommitsBlocked == 0; {
				n, open := filesOf(t, dir)
				most, held = max(most, n), max(held, open)
			}
			close(stop)
			work.Wait()
			require.Nil(t, failed.Load())
			t.Logf("%d KiB at most, of %d; %d removed files open at most; %d parked", most>>10, capacity>>10, held, f.SpillStats().CommitsBlocked)
			require.Positive(t, f.SpillStats().CommitsBlocked, "the spill was full")
			require.LessOrEqual(t, most, int64(capacity+capacity/spillPieces/2))
			f.drained()
			disk, _ := f.log.Usage()
			eventually(t, "nothing is left", func() bool { d, _ := f.log.Usage(); disk = d; return disk == 0 })
			require.Zero(t, f.spill.Usage())
			require.Zero(t, f.manager.Leaks())
		})
	}
}
