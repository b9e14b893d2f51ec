//go:build unix

package badgerspill

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
)

// The soak: rounds of a child process that writes with several writers, in bursts and in quiet
// phases, checks what it wrote, and runs into injected faults, until it is killed or told to close.
// After each the parent opens the database and checks every key.
//
//	go test -timeout 0 -v -run '^TestSoak$' ./badgerspill -args -soak 1h

var (
	soakFor   = flag.Duration("soak", 0, "how long TestSoak runs; 0 skips it")
	soakEvery = flag.Duration("soak.every", time.Minute, "how often TestSoak prints a line")
	soakDir   = flag.String("soak.dir", "", "where TestSoak makes its databases, and leaves one that violates a promise; empty = a temporary directory")
)

const (
	// soakFresh is after how many rounds a new database is begun, so that the disk does not fill
	// up.
	soakFresh = 40
	// soakPatience is how long a child may take to open, to commit anything, and to close.
	soakPatience = 90 * time.Second
	// soakOpenFiles is how many descriptors the spill may have.
	soakOpenFiles = 16
)

// soakPlan is one round. It is all that a child gets, as JSON, so a violation prints it.
type soakPlan struct {
	Seed  uint64 // of faults, phases, and options
	Dir   string
	Kill  time.Duration // after the start of the process; 0 = it is told to close
	Run   time.Duration // until it is told to close
	Fault bool
	Acked [soakWriters]uint64 // as the parent knows it
	Skew  time.Duration       // by how much the wall clock is ahead at most; it jumps

	Damaged string // what was done to Dir, which is a copy; the child looks at what is left of it

	Policy                         SpillPolicy
	Sync, Drain, Encrypt, Eager    bool
	Capacity, SegmentSize, MemSize int64
	SpillRate                      float64
	Base                           int64 // BaseLevelSize; 0 leaves the tree's shape to Open
	Stall, BlockTimeout            time.Duration
}

func soakPlanOf(rng *rand.Rand, dir string, encrypt bool, acked [soakWriters]uint64) soakPlan {
	pick := func(of ...int64) int64 { return of[rng.IntN(len(of))] }
	p := soakPlan{
		Seed: rng.Uint64(), Dir: dir, Encrypt: encrypt, Acked: acked,
		Run:    time.Second + time.Duration(rng.Int64N(int64(9*time.Second))),
		Fault:  rng.IntN(3) > 0,
		Policy: []SpillPolicy{Auto, Auto, Auto, Auto, Always, Always, Never}[rng.IntN(7)],
		Sync:   rng.IntN(4) == 0, Drain: rng.IntN(2) == 0, Eager: rng.IntN(2) == 0,
		Capacity: pick(1<<20, 4<<20, 32<<20, 256<<20), SegmentSize: pick(16<<10, 256<<10, 4<<20), MemSize: pick(1<<20, 4<<20),
		Stall:        time.Duration(pick(-1, 1, int64(time.Millisecond), int64(5*time.Millisecond))),
		SpillRate:    float64(pick(-1, 0, 100)),
		Base:         pick(0, 64<<10, 4<<20),
		BlockTimeout: time.Duration(pick(0, 0, int64(20*time.Millisecond), -1)),
		Skew:         time.Duration(pick(0, 1, 1000)) * time.Hour,
	}
	if rng.IntN(3) > 0 {
		p.Kill = time.Duration(rng.Int64N(int64(p.Run)))
		if rng.IntN(8) == 0 {
			p.Kill /= 50 // while it opens
		}
	}
	return p
}

func (p *soakPlan) options() Options {
	opt := testOptions(p.Dir)
	opt.MemTableSize, opt.NumMemtables, opt.ValueThreshold = p.MemSize, 2, 1<<10
	opt.ValueLogFileSize = 8 << 20
	if p.Base > 0 {
		opt.BaseLevelSize, opt.BaseTableSize = p.Base, p.Base/4
	}
	opt.SpillPolicy, opt.SyncWrites, opt.KeepSpillOnClose = p.Policy, p.Sync, !p.Drain
	opt.SpillCapacity, opt.Tuning.SegmentSize = p.Capacity, p.SegmentSize
	opt.StallThreshold, opt.Tuning.SpillRate, opt.BlockTimeout = p.Stall, p.SpillRate, p.BlockTimeout
	opt.Tuning.QuietRate, opt.Tuning.QuietWindow, opt.Tuning.MaxSpillAge = 0, 100*time.Millisecond, 2*time.Second
	if p.Eager {
		eager(&opt)
	}
	opt.MinFreeSpace, opt.Tuning.SpillOpenFiles = 0, soakOpenFiles
	if p.Skew != 0 {
		opt.seams.now = func() time.Time { return time.Now().Add(time.Duration(rand.Int64N(int64(p.Skew)))) }
	}
	if p.Encrypt {
		opt.EncryptionKey, opt.IndexCacheSize = bytes.Repeat([]byte{7}, 32), 8<<20
	}
	return opt
}

// soakTotals are the columns of the line of each minute.
type soakTotals struct {
	rounds, kills, closes, damaged                int64
	commits, spilled, replayed, coalesced, stalls int64
	checks, refused, told                         int64
	faults                                        [len(soakKinds)]int64
	memory, goroutines, files                     int64 // the most of any child since the last line
	began                                         time.Time
}

func (s *soakTotals) line() string {
	faults := make([]string, len(soakKinds))
	for i, kind := range soakKinds {
		faults[i] = fmt.Sprintf("%s %d", kind, s.faults[i])
	}
	return fmt.Sprintf("soak %s: %d rounds (%d kills, %d closes, %d damaged), %d commits, %d spilled, %d replayed, %d coalesced, %d stalls, "+
		"%d refused, %d told, %d checks, %d MiB, %d goroutines, %d files; faults: %s",
		time.Since(s.began).Round(time.Second), s.rounds, s.kills, s.closes, s.damaged, s.commits, s.spilled, s.replayed, s.coalesced, s.stalls,
		s.refused, s.told, s.checks, s.memory>>20, s.goroutines, s.files, strings.Join(faults, ", "))
}

func (s *soakTotals) add(r *soakReport) {
	s.spilled += r.Spilled
	s.replayed += r.Replayed
	s.coalesced += r.Coalesced
	s.stalls += r.Stalls
	s.told += r.Told
	for i, n := range r.Faults {
		s.faults[i] += n
	}
	s.checks += r.Checks
	s.refused += r.Refused
	s.memory, s.goroutines, s.files = max(s.memory, r.Memory), max(s.goroutines, r.Goroutines), max(s.files, r.Files)
}

func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("run with -args -soak 2m, or longer")
	}
	seed := seed.Of(t)
	root := *soakDir
	if root == "" {
		root = t.TempDir()
	}
	fmt.Printf("soak for %v, seed %d: repeat with -args -soak %v -seed %d\n", *soakFor, seed, *soakFor, seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	totals := &soakTotals{began: time.Now()}
	next := *soakEvery
	goroutines, files := runtime.NumGoroutine(), soakFiles()
	var acked [soakWriters]uint64
	var dir string
	var encrypt bool
	for round := 0; time.Since(totals.began) < *soakFor; round++ {
		if round%soakFresh == 0 {
			require.NoError(t, os.RemoveAll(dir))
			dir, encrypt, acked = filepath.Join(root, fmt.Sprintf("db%d", round)), rng.IntN(3) == 0, [soakWriters]uint64{}
		}
		plan := soakPlanOf(rng, dir, encrypt, acked)
		if err := soakRound(&plan, &acked, totals); err != nil {
			text, _ := json.Marshal(plan)
			kept := filepath.Join(os.TempDir(), fmt.Sprintf("badgerspill-soak-%d", seed))
			if *soakDir != "" {
				kept = dir
			} else if os.Rename(root, kept) != nil {
				// with the copy that was damaged, if that is it
				kept = "(lost)"
			}
			fmt.Println(totals.line())
			t.Fatalf("VIOLATION in round %d with seed %d: %v\nplan: %s\ndatabase: %s", round, seed, err, text, kept)
		}
		totals.rounds++
		if at := time.Since(totals.began); at >= next {
			next += *soakEvery
			fmt.Println(totals.line())
			totals.memory, totals.goroutines, totals.files = 0, 0, 0
		}
	}
	fmt.Println(totals.line())
	// What the parent opened and closed, it gave back.
	eventually(t, "goroutines of closed databases end", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	require.LessOrEqual(t, soakFiles(), files+5)
	require.Positive(t, totals.commits)
	require.Positive(t, totals.told)
}

// soakRound runs one child and checks what it has left.
func soakRound(plan *soakPlan, acked *[soakWriters]uint64, totals *soakTotals) error {
	began := *acked
	if err := soakProcess(plan, acked, totals); err != nil {
		return err
	}
	if plan.Seed%2 == 0 {
		if err := soakDamage(plan, acked, totals); err != nil {
			return err
		}
	}
	// Without faults, as a restarted program: all is there, before and after replay, and once
	// Badger's tree is settled.
	opt := plan.options()
	opt.KeepSpillOnClose = plan.Seed%2 != 0
	db, err := Open(opt)
	if err != nil {
		return fmt.Errorf("open after the round: %w", err)
	}
	check := func(when string, look func(*soakCheck) ([soakWriters]uint64, error)) error {
		var c soakCheck
		last, err := look(&c)
		totals.checks += c.checks
		if err != nil {
			return fmt.Errorf("%s: %w", when, err)
		}
		for w := range last {
			if last[w] < acked[w] || last[w] > acked[w]+1 {
				return fmt.Errorf("%s: writer %d is at commit %d, acknowledged is %d", when, w, last[w], acked[w])
			}
		}
		*acked = last
		return nil
	}
	layer := func(c *soakCheck) ([soakWriters]uint64, error) { return c.layer(db) }
	settle := plan.Seed%3 != 0
	err = check("after the round", layer)
	if err == nil && settle {
		if err = db.drainNow(db.ctx, nil); err == nil {
			err = check("after the drain", layer)
		}
		if err == nil {
			err = db.Flatten(2)
		}
		if err == nil {
			err = check("after Flatten", layer)
		}
	}
	// RunValueLogGC is left out: Badger brings deleted keys back in it, without the layer, too
	// (docs/design.md, Below the layer).
	if leaks := db.manager.Leaks(); err == nil && leaks != 0 {
		err = fmt.Errorf("%d leaks in the accounts of memory", leaks)
	}
	if cerr := db.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("close after the round: %w", cerr))
	}
	if err == nil && settle {
		err = soakPlain(&opt, check)
	}
	if err != nil {
		return err
	}
	for w := range acked {
		totals.commits += int64(acked[w] - began[w])
	}
	return nil
}

// soakPlain compares every key by plain Badger: after a drain nothing is left that it would need
// the layer for.
func soakPlain(opt *Options, check func(string, func(*soakCheck) ([soakWriters]uint64, error)) error) error {
	plain, err := badger.Open(opt.Badger())
	if err != nil {
		return fmt.Errorf("open by plain Badger: %w", err)
	}
	err = check("by plain Badger", func(c *soakCheck) ([soakWriters]uint64, error) { return c.plain(plain) })
	return errors.Join(err, plain.Close())
}

// soakProcess runs the child of a round to its end.
func soakProcess(plan *soakPlan, acked *[soakWriters]uint64, totals *soakTotals) error {
	child, err := childproc.Launch("TestSoakChild", plan)
	if err != nil {
		return err
	}
	defer child.Stop()
	kill := plan.Kill > 0
	end := plan.Run
	if kill {
		end = plan.Kill
	}
	timer := time.AfterFunc(end, func() {
		if kill {
			_ = child.Kill()
		} else {
			_ = child.CloseInput()
		}
	})
	defer timer.Stop()
	child.Bound(plan.Run + soakPatience)

	violation := ""
	var report soakReport
	closed := false
	for line := range child.Lines() {
		var w int
		var n uint64
		switch {
		case strings.HasPrefix(line, "ack "):
			if _, err := fmt.Sscanf(line, "ack %d %d", &w, &n); err != nil {
				return fmt.Errorf("child: %q", line)
			}
			if n <= acked[w] {
				violation = fmt.Sprintf("writer %d: commit %d acknowledged after %d", w, n, acked[w])
			}
			acked[w] = n
		case strings.HasPrefix(line, "stat "):
			var r soakReport
			if err := json.Unmarshal([]byte(line[5:]), &r); err != nil {
				return fmt.Errorf("child: %q: %w", line, err)
			}
			report = r
		case line == "closed":
			closed = true
		case strings.HasPrefix(line, "violation "):
			violation = strings.TrimPrefix(line, "violation ")
		}
	}
	err = child.Wait()
	totals.add(&report)
	switch {
	case violation != "":
		return fmt.Errorf("child: %s", violation)
	case kill && child.Killed():
		totals.kills++
		return nil
	case err != nil:
		return fmt.Errorf("child: %w\n%s", err, child.Stderr())
	case !closed:
		return fmt.Errorf("child ended without having closed the database\n%s", child.Stderr())
	}
	totals.closes++
	return nil
}

// soakFiles is how many files this process has open; 0 where the system does not tell.
func soakFiles() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
