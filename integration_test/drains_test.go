package integration_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
)

var (
	drainsFlag = flag.Int("drains", 0, "how often TestInterruptedDrains interrupts a drain in each way; 0 skips it")
	drainsMiB  = flag.Int("drains.mib", 1024, "how large a spill it drains, in MiB")
)

func drainsOptions(dir string) badgerspill.Options {
	return badgerspill.DefaultOptions(dir).WithLogger(nil).WithMetricsEnabled(false).WithSpillPolicy(badgerspill.Always).
		WithKeepSpillOnClose(true).WithSpillCapacity(16<<30).WithMaxSpillAge(time.Hour).WithQuiet(0, time.Hour)
}

// TestDrainChild drains, and tells how much it has given to Badger, until it is killed.
func TestDrainChild(t *testing.T) {
	db, err := badgerspill.Open(drainsOptions(childproc.Arg[string](t)))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(3)
	}
	done := make(chan error, 1)
	go func() { done <- db.Drain(context.Background()) }()
	tick := time.NewTicker(2 * time.Millisecond)
	for {
		select {
		case err := <-done:
			fmt.Println(db.SpillStats().BytesReplayed)
			fmt.Println("done", err, db.Close())
			os.Exit(0)
		case <-tick.C:
			fmt.Println(db.SpillStats().BytesReplayed)
		}
	}
}

// copied copies a directory of files.
func copied(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "db")
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
	return to
}

// TestInterruptedDrains: a drain that is interrupted again and again, cleanly or by kills, gives
// little more to Badger than one that is not. The time left that is told is right within a factor
// of two, with writers beside it, too.
func TestInterruptedDrains(t *testing.T) {
	if *drainsFlag == 0 {
		t.Skip("it takes minutes: -drains 20")
	}
	random := random(t)
	pristine := filepath.Join(t.TempDir(), "db")
	entries := *drainsMiB << 10
	db, err := badgerspill.Open(drainsOptions(pristine))
	require.NoError(t, err)
	values := rand.NewChaCha8([32]byte{1})
	for i := 0; i < entries; i += 64 {
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error {
			for j := range 64 {
				v := make([]byte, 1<<10)
				_, _ = values.Read(v)
				if err := txn.Set(fmt.Appendf(nil, "%016x", uint64(i+j)*0x9e3779b97f4a7c15), v); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(t, db.Close())

	all := func(dir string) int {
		db, err := badgerspill.Open(drainsOptions(dir))
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		n := 0
		require.NoError(t, db.View(func(txn *badgerspill.Txn) error {
			it := txn.NewIterator(badgerspill.IteratorOptions{Prefix: []byte{}})
			defer it.Close()
			for it.Rewind(); it.Valid(); it.Next() {
				if !strings.HasPrefix(string(it.Item().Key()), "beside") {
					n++
				}
			}
			return nil
		}))
		return n
	}

	// Undisturbed, alone and beside writers: how much is given, and what is told of the time left.
	var once, took int64
	for _, beside := range []bool{false, true} {
		dir := copied(t, pristine)
		var mu sync.Mutex
		type told struct {
			share float64
			at    time.Time
			left  time.Duration
		}
		var lines []told
		opt := drainsOptions(dir).WithEventListener(&badgerspill.EventListener{DrainProgress: func(i badgerspill.DrainProgressInfo) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, told{float64(i.Bytes) / float64(max(1, i.TotalBytes)), time.Now(), i.TimeLeft()})
		}})
		db, err := badgerspill.Open(opt)
		require.NoError(t, err)
		stop := make(chan struct{})
		var writing sync.WaitGroup
		if beside {
			writing.Add(1)
			go func() {
				defer writing.Done()
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-tick.C:
						if err := db.Update(func(txn *badgerspill.Txn) error {
							return txn.Set(fmt.Appendf(nil, "beside%09d", i), make([]byte, 100))
						}); err != nil {
							t.Error(err)
							return
						}
					}
				}
			}()
		}
		begin := time.Now()
		require.NoError(t, db.Drain(context.Background()))
		end := time.Now()
		close(stop)
		writing.Wait()
		if !beside {
			once, took = db.SpillStats().BytesReplayed, int64(end.Sub(begin))
		}
		require.NoError(t, db.Close())
		require.Equal(t, entries, all(dir))
		mu.Lock()
		for _, share := range []float64{0.25, 0.5, 0.75} {
			for _, l := range lines {
				if l.share < share {
					continue
				}
				actual := end.Sub(l.at)
				t.Logf("beside writers %t: at %.0f %% %v were told to be left, it took %v", beside, 100*share, l.left.Round(10*time.Millisecond), actual.Round(10*time.Millisecond))
				if l.left > 2*actual || 2*l.left < actual {
					t.Errorf("that is more than a factor of two")
				}
				break
			}
		}
		mu.Unlock()
	}

	// Clean interruptions.
	dir, total := copied(t, pristine), int64(0)
	for range *drainsFlag {
		db, err := badgerspill.Open(drainsOptions(dir))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.Int64N(2*took/int64(*drainsFlag+1)+1)))
		if err := db.Drain(ctx); err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		cancel()
		require.NoError(t, db.Close())
		total += db.SpillStats().BytesReplayed
	}
	db, err = badgerspill.Open(drainsOptions(dir))
	require.NoError(t, err)
	require.NoError(t, db.Drain(context.Background()))
	require.NoError(t, db.Close())
	total += db.SpillStats().BytesReplayed
	t.Logf("%d clean interruptions: %d bytes given, %.3f times those of one undisturbed drain", *drainsFlag, total, float64(total)/float64(once))
	require.LessOrEqual(t, float64(total), 1.1*float64(once))
	require.Equal(t, entries, all(dir))

	// Kills.
	dir, total = copied(t, pristine), 0
	killed := 0
	for killed < *drainsFlag {
		child := childproc.Start(t, "TestDrainChild", dir)
		kill := time.AfterFunc(time.Duration(random.Int64N(2*took/int64(*drainsFlag+1)+1))+100*time.Millisecond, func() { _ = child.Kill() })
		var last int64
		done := false
		for line := range child.Lines() {
			if strings.HasPrefix(line, "error") || strings.HasPrefix(line, "done") {
				require.Equal(t, "done <nil> <nil>", line)
				done = true
				continue
			}
			_, err := fmt.Sscan(line, &last)
			require.NoError(t, err)
		}
		kill.Stop()
		if err := child.Wait(); err != nil {
			require.True(t, child.Killed(), "%v", err)
			killed++
		}
		total += last
		if done {
			break
		}
	}
	db, err = badgerspill.Open(drainsOptions(dir))
	require.NoError(t, err)
	require.NoError(t, db.Drain(context.Background()))
	require.NoError(t, db.Close())
	total += db.SpillStats().BytesReplayed
	t.Logf("%d kills: %d bytes given, %.3f times those of one undisturbed drain", killed, total, float64(total)/float64(once))
	require.LessOrEqual(t, total, once+int64(killed)*66<<20, "64 MiB a kill, and a batch or two")
	require.Equal(t, entries, all(dir))
}
