package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
)

func main() {
	log.SetFlags(0)
	old := flag.String("old", "", "the program of the older layer")
	length := flag.Duration("for", 5*time.Minute, "how long")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of what is drawn")
	dir := flag.String("dir", "", "directory for the databases; a temporary one if it is empty")
	child := flag.String("turn", "", "be the turn that this JSON says")
	flag.Parse()
	if *child != "" {
		t := new(turn)
		err := json.Unmarshal([]byte(*child), t)
		if err == nil {
			err = t.run()
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	if *old == "" {
		log.Fatal("-old is missing")
	}
	self, err := os.Executable()
	if err == nil {
		*dir, err = workDir(*dir)
	}
	if err != nil {
		log.Fatal(err)
	}
	g := &game{programs: [2]string{*old, self}, rng: rand.New(rand.NewPCG(*seed, 1)), dir: *dir, began: time.Now(), counts: map[string]int{}}
	fmt.Printf("turns on %s for %v, seed %d\n", *dir, *length, *seed)
	for n := 1; time.Since(g.began) < *length; n++ {
		if err := g.directory(n, *length); err != nil {
			fmt.Printf("FAILED, seed %d, the directory is kept: %v\n", *seed, err)
			os.Exit(1)
		}
	}
	g.report()
}

func workDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "turns")
	}
	return filepath.Abs(dir)
}

// The layers.
const (
	older = iota
	newer
)

var layerNames = [2]string{"old", "new"}

// game plays turn after turn.
type game struct {
	programs [2]string
	rng      *rand.Rand
	dir      string
	began    time.Time
	counts   map[string]int
	last     int // layer
	commits  uint64
	checked  int
}

// turnsADirectory is how many turns a directory has.
const turnsADirectory = 25

func (g *game) directory(n int, length time.Duration) error {
	base := turn{Dir: filepath.Join(g.dir, fmt.Sprint("db", n)), Encrypted: g.rng.IntN(3) == 0, Sync: g.rng.IntN(4) == 0}
	if err := os.MkdirAll(base.Dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(base.acks(), make([]byte, acksSize), 0o600); err != nil {
		return err
	}
	layer := g.rng.IntN(2)
	for range turnsADirectory {
		if time.Since(g.began) > length {
			break
		}
		if g.rng.IntN(4) > 0 {
			layer = 1 - layer
		}
		t := base
		t.draw(g.rng)
		if err := g.turn(layer, &t); err != nil {
			return err
		}
		if err := g.plain(&t); err != nil {
			return err
		}
	}
	// The end: all is drained, and plain Badger has it.
	t := base
	t.Write, t.End, t.Policy, t.KillAfter = 0, endDrain, "Auto", 0
	if err := g.turn(newer, &t); err != nil {
		return err
	}
	if err := g.plainTurn(&t); err != nil {
		return err
	}
	g.counts["directories"]++
	return os.RemoveAll(base.Dir)
}

// turn has a process of one layer take its turn.
func (g *game) turn(layer int, t *turn) error {
	arg, err := json.Marshal(t)
	if err != nil {
		return err
	}
	before, err := t.readAcks()
	if err != nil {
		return err
	}
	if layer != g.last { // what one layer finds of the other
		for _, name := range []string{"NEWEST", "REPLAY"} {
			if _, err := os.Stat(filepath.Join(t.db(), "spill", name)); err == nil {
				g.counts[layerNames[layer]+", finds "+name]++
			}
		}
	}
	g.last = layer
	var out bytes.Buffer
	cmd := exec.Command(g.programs[layer], "-turn", string(arg))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	limit, killed := 3*time.Minute, t.KillAfter > 0
	if killed {
		limit = t.KillAfter
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err = <-ended:
		killed = false
	case <-timer.C:
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		if err = <-ended; !killed {
			return fmt.Errorf("the turn of the %s layer has no end: %s: %s", layerNames[layer], arg, out.String())
		}
		if cmd.ProcessState.ExitCode() >= 0 { // it ended by itself just then
			killed = false
		} else {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("the turn of the %s layer: %w: %s: %s", layerNames[layer], err, arg, out.String())
	}
	after, err := t.readAcks()
	if err != nil {
		return err
	}
	commits := uint64(0)
	for w := range writers {
		if after.last[w] > before.last[w] {
			commits += after.last[w] - before.last[w]
		}
	}
	how := t.End
	if killed {
		how = "killed"
	}
	g.counts[layerNames[layer]+", "+how]++
	g.commits += commits
	for line := range strings.Lines(out.String()) {
		var n int
		if _, err := fmt.Sscanf(line, "checked %d", &n); err == nil {
			g.checked += n
			g.counts["checks"]++
		}
	}
	fmt.Printf("%4.0f s  %s  %s, %-5s %-9s %7d commits\n", time.Since(g.began).Seconds(), filepath.Base(t.Dir), layerNames[layer], t.Policy, how, commits)
	return nil
}

// plain has plain Badger take a turn where it may, and try where it must not.
func (g *game) plain(t *turn) error {
	_, err := os.Stat(filepath.Join(t.db(), interlockName))
	switch {
	case err == nil:
		p, err := badger.Open(t.plain())
		if err == nil {
			return errors.Join(errors.New("plain Badger opens a directory with commits in the spill"), p.Close())
		}
		if !strings.Contains(err.Error(), interlockName) {
			return fmt.Errorf("plain Badger is refused for another reason: %w", err)
		}
		g.counts["plain Badger, refused"]++
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if t.KillAfter > 0 || g.rng.IntN(2) == 0 { // after a kill the layer comes first
		return nil
	}
	return g.plainTurn(t)
}

func (g *game) plainTurn(t *turn) error {
	p, err := badger.Open(t.plain())
	if err != nil {
		return fmt.Errorf("plain Badger: %w", err)
	}
	d := plainDB{p}
	n, err := t.check(d)
	if err == nil {
		err = t.write(d, 200*time.Millisecond)
	}
	if err == nil {
		_, err = t.check(d)
	}
	if err = errors.Join(err, p.Close()); err != nil {
		return fmt.Errorf("the turn of plain Badger: %w", err)
	}
	g.checked += 2 * n
	g.counts["checks"] += 2
	g.counts["plain Badger, served"]++
	fmt.Printf("%4.0f s  %s  plain Badger\n", time.Since(g.began).Seconds(), filepath.Base(t.Dir))
	return nil
}

func (g *game) report() {
	fmt.Printf("nothing lost in %v: %d commits, %d keys checked\n", time.Since(g.began).Round(time.Second), g.commits, g.checked)
	for _, line := range sortedCounts(g.counts) {
		fmt.Println(line)
	}
}
