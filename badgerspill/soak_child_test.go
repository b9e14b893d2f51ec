//go:build unix

package badgerspill

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"

	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
	"github.com/badgerspill/badgerspill/spillfile"
)

// soakReport is what a child says once a second.
type soakReport struct {
	Spilled, Replayed, Coalesced, Stalls int64
	Checks, Refused, Told                int64
	Faults                               [len(soakKinds)]int64
	Memory, Goroutines, Files            int64
}

// soakChild is the child process.
type soakChild struct {
	plan    soakPlan
	db      *DB
	stub    *stubEngine
	faults  *soakFaults
	stop    chan struct{}
	burst   atomic.Bool
	acked   [soakWriters]atomic.Uint64
	checks  atomic.Int64
	refused atomic.Int64
	done    atomic.Int64 // commits
	told    atomic.Int64 // updates by the subscription
	toldOf  [soakWriters]atomic.Uint64
	hangs   atomic.Bool // so does the subscriber

	drops   sync.Mutex    // one writer of the keys that are dropped
	writing kit.WaitGroup // writers
	work    kit.WaitGroup // what goes on until stop is closed
	broken  chan error    // promises
	leaked  []func()      // until the phase ends
}

func TestSoakChild(t *testing.T) {
	plan := childproc.Arg[soakPlan](t)
	debug.SetTraceback("all")
	c := &soakChild{plan: plan, stub: &stubEngine{}, faults: &soakFaults{}, stop: make(chan struct{}), broken: make(chan error, 100)}
	run := c.run
	if c.plan.Damaged != "" {
		run = c.damaged
	}
	if err := run(); err != nil {
		fmt.Println("violation", strings.ReplaceAll(err.Error(), "\n", " | "))
		os.Exit(4)
	}
	fmt.Println("closed")
}

func (c *soakChild) run() error {
	opt := c.plan.options()
	opt.seams.fs, opt.seams.system = newSoakFS(spillfile.OS, c.faults), c.faults.system()
	opt.seams.engine = func(e engine) engine { c.stub.engine = e; return c.stub }
	var err error
	if c.db, err = Open(opt); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	var check soakCheck
	last, err := check.layer(c.db)
	if err != nil {
		return fmt.Errorf("after the open: %w", err)
	}
	for w := range last {
		if last[w] < c.plan.Acked[w] {
			return fmt.Errorf("after the open: writer %d is at commit %d, acknowledged is %d", w, last[w], c.plan.Acked[w])
		}
		c.acked[w].Store(last[w])
	}
	for w := range soakWriters {
		c.writing.Go(func() {
			if err := c.write(w); err != nil {
				c.broken <- err
			}
		})
	}
	c.start(c.check)
	c.start(c.check)
	c.start(c.phases)
	c.start(c.report)
	c.start(c.subscribe)
	ended := make(chan struct{})
	go func() {
		childproc.UntilTheInputEnds()
		close(ended)
	}()
	select {
	case err = <-c.broken:
		return err
	case <-ended:
	}
	close(c.stop)
	quiet := make(chan struct{})
	go func() { c.writing.Wait(); c.work.Wait(); close(quiet) }()
	select {
	case <-quiet:
	case err := <-c.broken:
		return err
	case <-time.After(soakPatience / 2):
		panic("a writer or a reader does not end: " + c.state())
	}
	select {
	case err := <-c.broken:
		return err
	default:
	}
	return c.close()
}

func (c *soakChild) start(f func() error) {
	c.work.Go(func() {
		if err := f(); err != nil {
			c.broken <- err
		}
	})
}

// close checks everything for the last time and closes.
func (c *soakChild) close() error {
	c.calm()
	var check soakCheck
	last, err := check.layer(c.db)
	if err != nil {
		return fmt.Errorf("before the close: %w", err)
	}
	for w := range last {
		if acked := c.acked[w].Load(); last[w] != acked {
			return fmt.Errorf("before the close: writer %d is at commit %d, acknowledged is %d", w, last[w], acked)
		}
	}
	settled := time.Now().Add(soakPatience / 2) // a batch of replay may be under way
	for c.db.room.InFlight() != 0 {
		if time.Now().After(settled) {
			return fmt.Errorf("%d bytes of claims on disk space are not settled", c.db.room.InFlight())
		}
	}
	if leaks := c.db.manager.Leaks(); leaks != 0 {
		return fmt.Errorf("%d leaks in the accounts of memory", leaks)
	}
	if err := c.db.Close(); err != nil && !c.faults.tolerable(err) {
		return fmt.Errorf("close: %w", err)
	}
	c.say()
	return nil
}

// write makes one commit after the other. What failed was not written, and is tried again.
func (c *soakChild) write(w int) error {
	n := c.acked[w].Load() + 1
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for {
		select {
		case <-c.stop:
			return nil
		default:
		}
		err := c.db.Update(func(txn *Txn) error { return soakCommit(txn, w, n) })
		switch {
		case err == nil:
			c.acked[w].Store(n)
			fmt.Printf("ack %d %d\n", w, n)
			c.done.Add(1)
			n++
			if c.burst.Load() {
				continue
			}
		case errors.Is(err, ErrConflict):
			continue
		case errors.Is(err, errSoak):
			return err
		case !c.faults.tolerable(err):
			return fmt.Errorf("commit: %w", err)
		default:
			c.refused.Add(1)
		}
		select {
		case <-pause.C:
		case <-c.stop:
		}
	}
}

// check reads snapshots: all keys at once, and again after a while, when they must be the same.
func (c *soakChild) check() error {
	for {
		select {
		case <-c.stop:
			return nil
		default:
		}
		var acked [soakWriters]uint64
		for w := range acked {
			acked[w] = c.acked[w].Load()
		}
		var check soakCheck
		last, err := check.layer(c.db)
		c.checks.Add(check.checks)
		if err != nil {
			if errors.Is(err, errSoak) || !c.faults.tolerable(err) {
				return err
			}
			continue
		}
		for w := range last {
			if last[w] < acked[w] {
				return fmt.Errorf("%w: writer %d is at commit %d in a snapshot, %d was acknowledged before it", errSoak, w, last[w], acked[w])
			}
		}
		if err := c.repeatable(); err != nil && (errors.Is(err, errSoak) || !c.faults.tolerable(err)) {
			return err
		}
	}
}

// repeatable reads a writer's keys in one snapshot twice, while replay and hand-overs go on.
func (c *soakChild) repeatable() error {
	var check soakCheck
	defer func() { c.checks.Add(check.checks) }()
	return c.db.View(func(txn *Txn) error {
		w := rand.IntN(soakWriters)
		n, err := soakNumber(soakLayer{txn}, soakLastKey(w))
		if err != nil {
			return err
		}
		for range 2 {
			if err := check.writer(soakLayer{txn}, w, n); err != nil {
				return err
			}
			select {
			case <-time.After(time.Duration(rand.IntN(300)) * time.Millisecond):
			case <-c.stop:
			}
		}
		return nil
	})
}

// calm ends all faults.
func (c *soakChild) calm() {
	c.faults.calm()
	c.hangs.Store(false)
	for _, end := range c.leaked {
		end()
	}
	c.leaked = nil
	c.stub.set(func() { c.stub.mu.onLoad, c.stub.mu.onSync = nil, nil })
	c.stub.release()
}

// fault begins one of the faults, or none.
func (c *soakChild) fault(rng *rand.Rand) {
	switch rng.IntN(11) {
	case 0:
		c.faults.window.Store(20)
	case 1:
		c.faults.window.Store(1000)
	case 2:
		c.faults.low.Store(true)
		c.faults.count(soakSpace)
	case 3:
		c.faults.inodes.Store(true)
		c.faults.count(soakInodes)
	case 4:
		c.faults.few.Store(int64(1 + rng.IntN(soakOpenFiles)))
	case 5: // Badger does not answer
		c.stub.hold()
		c.faults.count(soakSilence)
	case 6:
		c.stub.set(func() {
			fail := func() error {
				c.faults.count(soakRefusal)
				return errTest
			}
			c.stub.mu.onLoad = func(n int, _ []entry) error {
				if n%3 == 0 {
					return fail()
				}
				return nil
			}
			c.stub.mu.onSync = fail
		})
	case 7: // a program forgets to end transactions, some with an iterator
		for range 1 + rng.IntN(5) {
			txn := c.db.NewTransaction(rng.IntN(2) == 0)
			end := txn.Discard
			if rng.IntN(2) == 0 {
				opt := DefaultIteratorOptions
				opt.Reverse, opt.AllVersions = rng.IntN(2) == 0, rng.IntN(2) == 0
				it := txn.NewIterator(opt)
				it.Rewind()
				end = func() { it.Close(); txn.Discard() }
			}
			if _, err := (soakLayer{txn}).get(soakShared); err != nil && !errors.Is(err, ErrKeyNotFound) && !c.faults.tolerable(err) {
				c.broken <- fmt.Errorf("a read of a transaction that will be forgotten: %w", err)
			}
			c.leaked = append(c.leaked, end)
			c.faults.count(soakLeak)
		}
	case 8:
		c.hangs.Store(true)
		c.faults.count(soakSubscriber)
	case 9:
		after := time.Duration(rng.IntN(300)) * time.Millisecond
		c.start(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), after)
			defer cancel()
			err := c.db.Drain(ctx)
			c.faults.count(soakDrain)
			if err == nil || errors.Is(err, context.DeadlineExceeded) || c.faults.tolerable(err) {
				return nil
			}
			return fmt.Errorf("drain: %w", err)
		})
	}
}

// maintain begins two of the maintenance functions at once, or the same one twice.
func (c *soakChild) maintain(rng *rand.Rand) {
	c.faults.count(soakMaintenance)
	for range 2 {
		name, do := c.maintenance(rng.IntN(5))
		c.start(func() error {
			err := do()
			if err == nil || c.faults.tolerable(err) || errors.Is(err, context.DeadlineExceeded) {
				return nil
			}
			return fmt.Errorf("%s: %w", name, err)
		})
	}
}

func (c *soakChild) maintenance(n int) (name string, do func() error) {
	switch n {
	case 0:
		return "Flatten", func() error { return c.db.Flatten(2) }
	case 1:
		return "Backup", c.backup
	case 2:
		return "DropPrefix", c.drop
	case 3:
		return "VerifySpill", func() error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return c.db.VerifySpill(ctx)
		}
	}
	return "Sync", c.db.Sync
}

// backup loads a backup into a plain Badger in memory, which is a snapshot, too.
func (c *soakChild) backup() error {
	var acked [soakWriters]uint64
	for w := range acked {
		acked[w] = c.acked[w].Load()
	}
	var b bytes.Buffer
	if _, err := c.db.Backup(&b, 0); err != nil {
		return err
	}
	plain, err := badger.Open(badger.DefaultOptions("").WithInMemory(true).WithLogger(nil).WithMemTableSize(8 << 20))
	if err != nil {
		return err
	}
	defer plain.Close()
	if err := plain.Load(&b, 16); err != nil {
		return err
	}
	var check soakCheck
	last, err := check.plain(plain)
	c.checks.Add(check.checks)
	if err != nil {
		return err
	}
	for w := range last {
		if last[w] < acked[w] {
			return fmt.Errorf("%w: writer %d is at commit %d, %d was acknowledged before", errSoak, w, last[w], acked[w])
		}
	}
	return nil
}

// drop writes a few keys and drops them.
func (c *soakChild) drop() error {
	c.drops.Lock()
	defer c.drops.Unlock()
	key := func(i int) []byte { return fmt.Appendf(bytes.Clone(soakDropped), "%d", i) }
	for i := range 3 {
		if err := c.db.Update(func(txn *Txn) error { return txn.Set(key(i), soakValue(0, uint64(i), 0)) }); err != nil {
			return err
		}
	}
	if err := c.db.DropPrefix(soakDropped); err != nil {
		return err
	}
	return c.db.View(func(txn *Txn) error {
		for i := range 3 {
			if _, err := txn.Get(key(i)); err == nil {
				return fmt.Errorf("%w: %s is there, after it was dropped", errSoak, key(i))
			} else if !errors.Is(err, ErrKeyNotFound) {
				return err
			}
		}
		return nil
	})
}

// subscribe is told of each commit of each writer, in their order, once.
func (c *soakChild) subscribe() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	behind := func() (text string) {
		for w := range soakWriters {
			if told, acked := c.toldOf[w].Load(), c.acked[w].Load(); told > 0 && told != acked {
				text += fmt.Sprintf(" writer %d: told of %d, acknowledged is %d;", w, told, acked)
			}
		}
		return text
	}
	c.work.Go(func() { // until the last commits are told
		defer cancel()
		<-c.stop
		c.writing.Wait()
		for end := time.Now().Add(soakPatience / 4); behind() != ""; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				c.broken <- fmt.Errorf("%w: the subscriber is behind:%s", errSoak, behind())
				return
			}
		}
	})
	err := c.db.Subscribe(ctx, func(list *KVList) error {
		for c.hangs.Load() && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		for _, kv := range list.GetKv() {
			w, err := strconv.Atoi(string(bytes.TrimPrefix(kv.GetKey(), []byte("last/"))))
			if err != nil || len(kv.GetValue()) < 8 {
				return fmt.Errorf("%w: told of %q", errSoak, kv.GetKey())
			}
			n := binary.BigEndian.Uint64(kv.GetValue())
			if last := c.toldOf[w].Load(); last != 0 && n != last+1 {
				return fmt.Errorf("%w: told of commit %d of writer %d after commit %d", errSoak, n, w, last)
			}
			c.toldOf[w].Store(n)
			c.told.Add(1)
		}
		return nil
	}, []pb.Match{{Prefix: []byte("last/")}})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("subscribe: %w", err)
}

// phases goes from bursts to quiet phases and back, and from calm to faults.
func (c *soakChild) phases() error {
	rng := rand.New(rand.NewPCG(c.plan.Seed, 2))
	defer c.calm()
	for {
		c.calm()
		c.burst.Store(rng.IntN(2) == 0)
		if c.plan.Fault {
			c.fault(rng)
			if rng.IntN(3) == 0 {
				c.maintain(rng)
			}
		}
		before := c.done.Load()
		select {
		case <-time.After(time.Duration(20+rng.IntN(700)) * time.Millisecond):
		case <-c.stop:
			return nil
		}
		if rng.IntN(4) == 0 { // without faults something gets through, or it hangs
			c.calm()
			limit := time.After(soakPatience / 2)
			for c.done.Load() == before {
				select {
				case <-time.After(time.Millisecond):
				case <-c.stop:
					return nil
				case <-limit:
					panic("no commit gets through, without a fault: " + c.state())
				}
			}
		}
	}
}

func (c *soakChild) report() error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.say()
		case <-c.stop:
			return nil
		}
	}
}

// state is what to know of a database that hangs.
func (c *soakChild) state() string {
	disk, index := c.db.log.Usage()
	accounted, _ := c.db.ledger.Accounted()
	return fmt.Sprintf("%+v; of the log %+v, %d bytes on disk, %d accounted, %d of index; spill usage %d, usable %v", c.db.SpillStats(), c.db.log.State(),
		disk, accounted, index, c.db.spill.Usage(), c.db.room.SpillUsable())
}

func (c *soakChild) say() {
	st := c.db.SpillStats()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	var faults [len(soakKinds)]int64
	for i := range faults {
		faults[i] = c.faults.kinds[i].Load()
	}
	text, _ := json.Marshal(soakReport{
		Spilled: st.CommitsSpilled + st.CommitsHedged, Replayed: st.EntriesReplayed, Coalesced: st.EntriesCoalesced, Stalls: st.Stalls,
		Checks: c.checks.Load(), Refused: c.refused.Load(), Told: c.told.Load(), Faults: faults,
		Memory: int64(mem.Sys), Goroutines: int64(runtime.NumGoroutine()), Files: int64(soakFiles()),
	})
	fmt.Printf("stat %s\n", text)
}
