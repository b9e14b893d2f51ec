//go:build unix

package badgerspill

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

	"github.com/badgerspill/badgerspill/spillfile"
)

// What a writer writes is a function of its number and that of its commit, so what every key must be follows from the last
// commit of each writer, and all keys of a snapshot can be checked at any time, by anybody.
//
//	last/W       number of the last commit of writer W
//	hot/W/I      of soakHot keys commit n writes two: n and n*7 modulo soakHot, one in eight as a tombstone
//	log/W/N      one key of its own; the one of soakLog commits ago is deleted
//	shared       incremented by every eighth commit of each writer, which so conflict with each other

const (
	soakWriters = 6
	soakHot     = 257
	soakLog     = 100
)

// soakReport is what a child says once a second.
type soakReport struct {
	Spilled, Replayed, Coalesced, Stalls int64
	Faults, Checks, Refused              int64
	Memory, Goroutines, Files            int64
}

func soakMix(a, b, c uint64) uint64 {
	x := a*0x9e3779b97f4a7c15 ^ b*0xbf58476d1ce4e5b9 ^ c*0x94d049bb133111eb
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	return x ^ x>>29
}

// soakValue is what commit n of a writer writes to its key number i. Few values are above ValueThreshold.
func soakValue(w int, n, i uint64) []byte {
	h := soakMix(uint64(w), n, i)
	size := h % 300
	if h>>32%64 == 0 {
		size = 1<<10 + h%(6<<10)
	}
	v := make([]byte, 0, size+16)
	v = binary.BigEndian.AppendUint64(v, n)
	for x := h; uint64(len(v)) < size+8; x = soakMix(x, n, i) {
		v = binary.LittleEndian.AppendUint64(v, x)
	}
	return v
}

func soakDeletes(w int, n, i uint64) bool { return soakMix(uint64(w)+100, n, i)%8 == 0 }

func soakLastKey(w int) []byte          { return fmt.Appendf(nil, "last/%d", w) }
func soakHotKey(w int, i uint64) []byte { return fmt.Appendf(nil, "hot/%d/%d", w, i) }
func soakLogKey(w int, n uint64) []byte { return fmt.Appendf(nil, "log/%d/%d", w, n) }

var soakShared = []byte("shared")

// soakToucher returns the last commit up to n that wrote hot key i, 0 if none did.
func soakToucher(n, i uint64) uint64 {
	last := func(rest uint64) uint64 { // the last one up to n that is rest modulo soakHot
		back := (n%soakHot + soakHot - rest) % soakHot
		if back >= n {
			return 0
		}
		return n - back
	}
	const inverse = 147 // of 7 modulo soakHot
	return max(last(i), last(i*inverse%soakHot))
}

func soakNumber(txn *Txn, key []byte) (uint64, error) {
	item, err := txn.Get(key)
	if errors.Is(err, ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	v, err := item.ValueCopy(nil)
	if err != nil {
		return 0, err
	}
	if len(v) < 8 {
		return 0, fmt.Errorf("%w: %s has a value of %d bytes", errSoak, key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// errSoak is a broken promise.
var errSoak = errors.New("violation")

// soakCommit is commit n of writer w.
func soakCommit(txn *Txn, w int, n uint64) error {
	before, err := soakNumber(txn, soakLastKey(w))
	if err != nil {
		return err
	}
	if before != n-1 { // n if a commit that failed was written nevertheless
		return fmt.Errorf("%w: writer %d is about to make commit %d and reads that it made %d", errSoak, w, n, before)
	}
	if n%8 == 0 {
		sum, err := soakNumber(txn, soakShared)
		if err != nil {
			return err
		}
		if err := txn.Set(soakShared, binary.BigEndian.AppendUint64(nil, sum+1)); err != nil {
			return err
		}
	}
	for _, i := range []uint64{n % soakHot, n * 7 % soakHot} {
		if soakDeletes(w, n, i) {
			err = txn.Delete(soakHotKey(w, i))
		} else {
			err = txn.Set(soakHotKey(w, i), soakValue(w, n, i))
		}
		if err != nil {
			return err
		}
	}
	if n > soakLog {
		if err := txn.Delete(soakLogKey(w, n-soakLog)); err != nil {
			return err
		}
	}
	return errors.Join(
		txn.Set(soakLogKey(w, n), soakValue(w, n, soakHot)),
		txn.Set(soakLastKey(w), binary.BigEndian.AppendUint64(nil, n)))
}

// soakCheck checks whole snapshots.
type soakCheck struct {
	db     *DB
	checks int64
}

// all checks every key of every writer in one snapshot, by iteration and by get, and returns the last commits.
func (c *soakCheck) all() (last [soakWriters]uint64, err error) {
	err = c.db.View(func(txn *Txn) error {
		var shared uint64
		for w := range soakWriters {
			if last[w], err = soakNumber(txn, soakLastKey(w)); err != nil {
				return err
			}
			shared += last[w] / 8
		}
		for w, n := range last {
			if err := c.writer(txn, w, n); err != nil {
				return err
			}
		}
		sum, err := soakNumber(txn, soakShared)
		if err == nil && sum != shared {
			err = fmt.Errorf("%w: the shared counter is %d, the commits that are there make it %d: %v", errSoak, sum, shared, last)
		}
		if err != nil {
			return err
		}
		return c.iterate(txn, &last)
	})
	return last, err
}

func (c *soakCheck) writer(txn *Txn, w int, n uint64) error {
	for i := range uint64(soakHot) {
		if err := c.hot(txn, w, n, i); err != nil {
			return err
		}
	}
	for m := max(n, 2*soakLog) - 2*soakLog + 1; m <= n+2; m++ {
		if err := c.key(txn, soakLogKey(w, m), m <= n && m+soakLog > n, w, m, soakHot); err != nil {
			return err
		}
	}
	return nil
}

func (c *soakCheck) hot(txn *Txn, w int, n, i uint64) error {
	at := soakToucher(n, i)
	return c.key(txn, soakHotKey(w, i), at > 0 && !soakDeletes(w, at, i), w, at, i)
}

// key checks that a key is there or not, with what commit n has written to it.
func (c *soakCheck) key(txn *Txn, key []byte, there bool, w int, n, i uint64) error {
	c.checks++
	item, err := txn.Get(key)
	switch {
	case errors.Is(err, ErrKeyNotFound):
		if there {
			return fmt.Errorf("%w: %s is missing; commit %d wrote it", errSoak, key, n)
		}
		return nil
	case err != nil:
		return err
	}
	return item.Value(func(v []byte) error { return soakCompare(key, v, there, w, n, i) })
}

func soakCompare(key, v []byte, there bool, w int, n, i uint64) error {
	switch {
	case !there:
		return fmt.Errorf("%w: %s is there, with a value of %d bytes %x; it should be deleted, at commit %d", errSoak, key, len(v), v[:min(8, len(v))], n)
	case !bytes.Equal(v, soakValue(w, n, i)):
		return fmt.Errorf("%w: %s has a value of %d bytes %x; commit %d wrote another", errSoak, key, len(v), v[:min(8, len(v))], n)
	}
	return nil
}

// iterate checks that iteration finds what gets do, and nothing else.
func (c *soakCheck) iterate(txn *Txn, last *[soakWriters]uint64) error {
	want := 0
	for w, n := range last {
		for i := range uint64(soakHot) {
			if at := soakToucher(n, i); at > 0 && !soakDeletes(w, at, i) {
				want++
			}
		}
		want += int(min(n, soakLog))
		if n > 0 {
			want++
		}
	}
	got := 0
	it := txn.NewIterator(DefaultIteratorOptions)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		key := item.Key()
		if bytes.Equal(key, soakShared) {
			continue
		}
		got++
		part := strings.Split(string(key), "/")
		if len(part) != 3 {
			continue // last/W, which was read
		}
		w, err1 := strconv.Atoi(part[1])
		i, err2 := strconv.ParseUint(part[2], 10, 64)
		if err1 != nil || err2 != nil || w >= soakWriters {
			return fmt.Errorf("%w: a key %q that nobody wrote", errSoak, key)
		}
		c.checks++
		n := last[w]
		there, at := i <= n && i+soakLog > n, i
		if part[0] == "hot" {
			at = soakToucher(n, i)
			there = at > 0 && !soakDeletes(w, at, i)
		} else {
			i = soakHot
		}
		if err := item.Value(func(v []byte) error { return soakCompare(key, v, there, w, at, i) }); err != nil {
			return err
		}
	}
	if err := txn.failed(); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%w: iteration finds %d keys, there must be %d", errSoak, got, want)
	}
	return nil
}

// soakFaults decides what fails, in windows: a disk that fails all the time shows nothing.
type soakFaults struct {
	window atomic.Int64 // one operation in so many fails; 0 = none
	low    atomic.Bool  // volumes are below the floor
	count  atomic.Int64
}

func (f *soakFaults) hit() bool {
	n := f.window.Load()
	if n == 0 || rand.Int64N(n) != 0 {
		return false
	}
	f.count.Add(1)
	return true
}

// tolerable reports whether a fault that was injected, or a bound that was set, explains err.
func (f *soakFaults) tolerable(err error) bool {
	for _, known := range []error{errTest, ErrNoSpace, ErrWriteBlocked, ErrConflict, spillfile.ErrPoisoned} {
		if errors.Is(err, known) {
			return true
		}
	}
	return strings.Contains(err.Error(), errTest.Error())
}

// soakFS is a file system with faults, short writes among them.
type soakFS struct {
	spillfile.FS
	faults *soakFaults
}

type soakFile struct {
	spillfile.File
	fs   *soakFS
	name string
}

func (s *soakFS) fail(op, name string) error {
	if s.faults.hit() {
		return &fs.PathError{Op: op, Path: name, Err: errTest}
	}
	return nil
}

func (s *soakFS) OpenFile(name string, flag int, perm fs.FileMode) (spillfile.File, error) {
	if err := s.fail("open", name); err != nil {
		return nil, err
	}
	f, err := s.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &soakFile{f, s, name}, nil
}

func (s *soakFS) Remove(name string) error {
	if err := s.fail("remove", name); err != nil {
		return err
	}
	return s.FS.Remove(name)
}

func (s *soakFS) Rename(from, to string) error {
	if err := s.fail("rename", to); err != nil {
		return err
	}
	return s.FS.Rename(from, to)
}

func (s *soakFS) SyncDir(dir string) error {
	if err := s.fail("syncdir", dir); err != nil {
		return err
	}
	return s.FS.SyncDir(dir)
}

func (s *soakFS) Free(dir string) (free, total int64, err error) {
	free, total, err = s.FS.Free(dir)
	if s.faults.low.Load() {
		free = 0
	}
	return free, total, err
}

func (f *soakFile) ReadAt(b []byte, at int64) (int, error) {
	if err := f.fs.fail("read", f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, at)
}

func (f *soakFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.fs.fail("write", f.name); err != nil {
		n, _ := f.File.WriteAt(b[:rand.IntN(len(b)+1)], at)
		return n, err
	}
	return f.File.WriteAt(b, at)
}

func (f *soakFile) Sync() error {
	if err := f.fs.fail("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
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
}

func TestSoakChild(t *testing.T) {
	text := os.Getenv(soakChildEnv)
	if text == "" {
		t.Skip("run by TestSoak")
	}
	debug.SetTraceback("all")
	c := &soakChild{stub: &stubEngine{}, faults: &soakFaults{}, stop: make(chan struct{})}
	if err := json.Unmarshal([]byte(text), &c.plan); err != nil {
		t.Fatal(err)
	}
	if err := c.run(); err != nil {
		fmt.Println("violation", strings.ReplaceAll(err.Error(), "\n", " | "))
		os.Exit(4)
	}
	fmt.Println("closed")
}

func (c *soakChild) run() error {
	opt := c.plan.options()
	opt.seams = seams{fs: &soakFS{spillfile.OS, c.faults}, engine: func(e engine) engine { c.stub.engine = e; return c.stub }}
	var err error
	if c.db, err = Open(opt); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	check := soakCheck{db: c.db}
	last, err := check.all()
	if err != nil {
		return fmt.Errorf("after the open: %w", err)
	}
	for w := range last {
		if last[w] < c.plan.Acked[w] {
			return fmt.Errorf("after the open: writer %d is at commit %d, acknowledged is %d", w, last[w], c.plan.Acked[w])
		}
		c.acked[w].Store(last[w])
	}
	violations := make(chan error, 100)
	var work sync.WaitGroup
	start := func(f func() error) {
		work.Go(func() {
			if err := f(); err != nil {
				violations <- err
			}
		})
	}
	for w := range soakWriters {
		start(func() error { return c.write(w) })
	}
	start(c.check)
	start(c.check)
	start(c.phases)
	start(c.report)
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case err = <-violations:
		return err
	case <-ended:
	}
	close(c.stop)
	quiet := make(chan struct{})
	go func() { work.Wait(); close(quiet) }()
	select {
	case <-quiet:
	case err := <-violations:
		return err
	case <-time.After(soakPatience / 2):
		panic("a writer or a reader does not end: " + c.state())
	}
	select {
	case err := <-violations:
		return err
	default:
	}
	return c.close()
}

// close checks everything for the last time and closes.
func (c *soakChild) close() error {
	c.calm()
	check := soakCheck{db: c.db}
	last, err := check.all()
	if err != nil {
		return fmt.Errorf("before the close: %w", err)
	}
	for w := range last {
		if acked := c.acked[w].Load(); last[w] != acked {
			return fmt.Errorf("before the close: writer %d is at commit %d, acknowledged is %d", w, last[w], acked)
		}
	}
	settled := time.Now().Add(soakPatience / 2) // a batch of replay may be under way
	for c.db.space.inFlight.Load() != 0 {
		if time.Now().After(settled) {
			return fmt.Errorf("%d bytes of claims on disk space are not settled", c.db.space.inFlight.Load())
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
		check := soakCheck{db: c.db}
		last, err := check.all()
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
	check := soakCheck{db: c.db}
	defer func() { c.checks.Add(check.checks) }()
	return c.db.View(func(txn *Txn) error {
		w := rand.IntN(soakWriters)
		n, err := soakNumber(txn, soakLastKey(w))
		if err != nil {
			return err
		}
		for range 2 {
			if err := check.writer(txn, w, n); err != nil {
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
	c.faults.window.Store(0)
	c.faults.low.Store(false)
	c.stub.set(func() { c.stub.mu.onLoad, c.stub.mu.onSync = nil, nil })
	c.stub.release()
}

// phases goes from bursts to quiet phases and back, and from calm to faults.
func (c *soakChild) phases() error {
	rng := rand.New(rand.NewPCG(c.plan.Seed, 2))
	defer c.calm()
	for {
		c.calm()
		c.burst.Store(rng.IntN(2) == 0)
		if c.plan.Fault {
			switch rng.IntN(6) {
			case 0:
				c.faults.window.Store(20)
			case 1:
				c.faults.window.Store(1000)
			case 2:
				c.faults.low.Store(true)
				c.faults.count.Add(1)
			case 3: // Badger does not answer
				c.stub.hold()
				c.faults.count.Add(1)
			case 4:
				c.stub.set(func() {
					fail := func() error {
						c.faults.count.Add(1)
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
	c.db.spillUse.mu.Lock()
	accounted := c.db.spillUse.mu.disk
	c.db.spillUse.mu.Unlock()
	return fmt.Sprintf("%+v; of the log %+v, %d bytes on disk, %d accounted, %d of index; spill usage %d, usable %v", c.db.SpillStats(), c.db.log.State(),
		disk, accounted, index, c.db.spill.Usage(), c.db.space.spillUsable())
}

func (c *soakChild) say() {
	st := c.db.SpillStats()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	text, _ := json.Marshal(soakReport{
		Spilled: st.CommitsSpilled + st.CommitsHedged, Replayed: st.EntriesReplayed, Coalesced: st.EntriesCoalesced, Stalls: st.Stalls,
		Faults: c.faults.count.Load(), Checks: c.checks.Load(), Refused: c.refused.Load(),
		Memory: int64(mem.Sys), Goroutines: int64(runtime.NumGoroutine()), Files: int64(soakFiles()),
	})
	fmt.Printf("stat %s\n", text)
}
