package host

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/wbm"
)

// Tree is what Badger tells of itself. *badger.DB is one.
type Tree interface {
	Opts() badger.Options
	MaxVersion() uint64
	Levels() []badger.LevelInfo
	Tables() []badger.TableInfo
}

// StallCause says what holds Badger up.
type StallCause int32

// The causes, the most exact last.
const (
	Busy          StallCause = iota // memtables have room
	MemtablesFull                   // all memtables are full, and the flusher is behind
	LevelZeroFull                   // and the flusher waits for level 0 to be compacted
)

// Memtables knows what Badger's memtables hold, by observation: every live memtable has one file
// NNNNN.mem in Dir, numbered in sequence, that is removed when the memtable is in an SSTable and
// its last reader is gone. Bytes that Badger took are counted to the memtable that was active when
// the last Look was taken; so a late one counts them to an older memtable, and every byte is
// released in the end.
//
// All methods but Look are safe for concurrent use. mu is held over looks at the file system, and
// nothing of account or tree is called under it.
type Memtables struct {
	tree    Tree
	opt     badger.Options
	dir     string // empty: nothing to observe, nothing to count
	account *wbm.Account
	now     func() int64
	stalls  bool // somebody wants to know StallCause

	relief atomic.Bool  // memory is asked for
	cause  atomic.Int32 // the StallCause that the last Look has seen

	// Look's own.
	lastList int64 // when Tables was called last, as now tells it
	lastMove int64 // when a memtable was found sealed, or bytes were freed; likewise

	mu struct {
		sync.Mutex
		newest uint64 // the highest timestamp that Badger has taken
		active memtable
		sealed []*memtable // in sequence
	}
}

// memtable is what one memtable of Badger holds, as far as it counts toward the budget.
type memtable struct {
	number int
	bytes  int64
	spans  []span // of bytes, in the order in which they came
	// pinned are bytes that were released although the file is there: they are in an SSTable, and
	// the memtable is merely held by an open iterator. No action of ours can free it, so it is
	// reported but not counted.
	pinned int64
}

// span stands for some bytes that Badger took. Badger flushes its memtables in sequence, so once an
// SSTable holds a version that came no earlier than these bytes, they are in an SSTable, too: any
// version from flushed on.
type span struct {
	flushed uint64
	bytes   int64
}

// tablesInterval is how often Badger's list of SSTables, which may be long, is asked for at most.
const tablesInterval = int64(100 * time.Millisecond)

// stuckInterval is how long sealed memtables may show no sign of their flush while memory is asked
// for. Past it they are taken for flushed, and held by an iterator, although no version says so:
// those of a chunk, which come in the order of keys, say little. Then the active memtable is
// sealed: the second one at the latest the iterator does not hold, and when that goes all before
// are known to be flushed.
const stuckInterval = int64(time.Second)

// spanBytes is about how many bytes one span stands for.
const spanBytes = 64 << 10

// add counts bytes of which the newest timestamp is ts. latest is the highest that came before.
func (t *memtable) add(bytes int64, ts, latest uint64) {
	flushed := latest + 1 // ts says nothing: a version as high may have come before
	if ts > latest {
		flushed = ts
	}
	t.bytes += bytes
	if n := len(t.spans); n > 0 && t.spans[n-1].bytes < spanBytes {
		last := &t.spans[n-1]
		last.bytes += bytes
		last.flushed = max(last.flushed, flushed)
		return
	}
	t.spans = append(t.spans, span{flushed, bytes})
}

// release takes out what is flushed if an SSTable holds version, and returns how many bytes that
// is.
func (t *memtable) release(version uint64) (freed int64) {
	n := 0
	for n < len(t.spans) && t.spans[n].flushed <= version {
		freed += t.spans[n].bytes
		n++
	}
	t.spans = t.spans[n:]
	t.bytes -= freed
	t.pinned += freed
	return freed
}

// releaseAll takes out everything.
func (t *memtable) releaseAll() (freed int64) {
	freed = t.bytes
	t.pinned += freed
	t.bytes, t.spans = 0, nil
	return freed
}

// NewMemtables looks at the memtables that a Badger just opened has: the newest is active, the
// others, left by an unclean stop, are being flushed. Their bytes are counted in account from here
// on. now is a clock in nanoseconds; stalls says that somebody wants to know StallCause.
func NewMemtables(tree Tree, account *wbm.Account, now func() int64, stalls bool) (*Memtables, error) {
	m := &Memtables{tree: tree, opt: tree.Opts(), account: account, now: now, stalls: stalls}
	if m.opt.InMemory || m.opt.ReadOnly {
		return m, nil
	}
	m.dir = m.opt.Dir
	numbers, err := MemNumbers(m.dir)
	if err != nil {
		return nil, err
	}
	m.mu.newest = tree.MaxVersion()
	for i, n := range numbers {
		if i < len(numbers)-1 {
			bytes := m.opt.MemTableSize
			m.mu.sealed = append(m.mu.sealed, &memtable{number: n, bytes: bytes})
			account.Force(wbm.Memtable, bytes)
			continue
		}
		m.mu.active.number = n
	}
	return m, nil
}

// Answered counts bytes that Badger has answered, up to timestamp ts: from in flight to the active
// memtable.
func (m *Memtables) Answered(bytes int64, ts uint64) {
	if m.dir == "" {
		m.account.Release(wbm.InFlight, bytes)
		return
	}
	// first: what is in a span can be released
	m.account.Transfer(wbm.InFlight, wbm.Memtable, bytes)
	m.mu.Lock()
	m.mu.active.add(bytes, ts, m.mu.newest)
	m.mu.newest = max(m.mu.newest, ts)
	m.mu.Unlock()
}

func (m *Memtables) exists(number int) bool {
	info, err := os.Stat(MemPath(m.dir, number))
	if err == nil {
		return !info.IsDir() // which is in Badger's way: see Guard
	}
	return !os.IsNotExist(err)
}

// Look finds memtables that were sealed or are gone, and releases what is gone. It returns whether
// the active one is to be sealed: memory is asked for, and nothing is on its way to disk. Only one
// goroutine calls it, again and again.
func (m *Memtables) Look() (seal bool) {
	if m.dir == "" {
		return false
	}
	relief := m.relief.Swap(false)
	now := m.now()
	m.mu.Lock()
	active := m.mu.active.number
	gone := m.findSealed(relief)
	moved := m.mu.active.number != active
	freed := m.releaseGone(gone)
	// Badger's tables cost more to look at than its files, and say more: about memtables that an
	// iterator holds.
	list := relief && freed == 0 && flushing(m.mu.sealed) && now-m.lastList >= tablesInterval
	m.mu.Unlock()

	var version uint64
	if list {
		for _, t := range m.tree.Tables() {
			version = max(version, t.MaxVersion)
		}
		m.lastList = now
	}

	// What all databases of the budget may keep unsealed stays an eighth of it, however many they
	// are.
	budget := m.account.Manager()
	worth := min(m.opt.MemTableSize, budget.Limit()/int64(max(1, len(budget.Accounts())))) / 8
	m.mu.Lock()
	var pinned int64
	for _, t := range m.mu.sealed {
		freed += t.release(version)
		pinned += t.pinned
	}
	if moved || freed > 0 {
		m.lastMove = now
	}
	waiting := unflushed(m.mu.sealed)
	seal = relief && freed == 0 && !flushing(m.mu.sealed) && m.mu.active.bytes > worth
	seal = seal || list && freed == 0 && now-m.lastMove >= stuckInterval
	m.mu.Unlock()
	m.cause.Store(int32(m.judge(waiting)))
	m.account.SetPinned(pinned)
	if freed > 0 {
		m.account.Release(wbm.Memtable, freed)
	}
	return seal
}

// judge tells what holds Badger up, if anything does, with so many memtables that wait for the
// flusher, or are with it.
func (m *Memtables) judge(waiting int) StallCause {
	if waiting <= m.opt.NumMemtables || !m.stalls {
		return Busy
	}
	for _, l := range m.tree.Levels() {
		if l.Level == 0 && l.NumTables >= m.opt.NumLevelZeroTablesStall {
			return LevelZeroFull
		}
	}
	return MemtablesFull
}

// StallCause returns what the last Look has seen.
func (m *Memtables) StallCause() StallCause { return StallCause(m.cause.Load()) }

// findSealed finds memtables that Badger has sealed since the last look. It returns the number of
// one that came and went unseen between two looks, or -1. The file of the one that was active may
// still be there then, held by an iterator; so with thorough it looks for higher numbers in any
// case. Needs mu.
func (m *Memtables) findSealed(thorough bool) (gone int) {
	gone = -1
	for m.exists(m.mu.active.number + 1) {
		m.sealActive(m.mu.active.number + 1)
	}
	if thorough || !m.exists(m.mu.active.number) {
		if next := m.newest(); next > m.mu.active.number {
			if next > m.mu.active.number+1 {
				gone = m.mu.active.number + 1
			}
			m.sealActive(next)
		}
	}
	return gone
}

func (m *Memtables) sealActive(next int) {
	sealed := m.mu.active
	m.mu.sealed = append(m.mu.sealed, &sealed)
	m.mu.active = memtable{number: next}
}

// releaseGone takes out the memtables that are gone, and what those hold that came before one that
// is gone: they are flushed, too, and held by an iterator. gone is the number of one that is known
// to be gone, or -1. It returns the bytes that this frees. Needs mu.
func (m *Memtables) releaseGone(gone int) (freed int64) {
	m.mu.sealed = slices.DeleteFunc(m.mu.sealed, func(t *memtable) bool {
		if m.exists(t.number) {
			return false
		}
		gone = t.number
		freed += t.releaseAll()
		return true
	})
	for _, t := range m.mu.sealed {
		if t.number < gone {
			freed += t.releaseAll()
		}
	}
	return freed
}

func (m *Memtables) newest() int {
	numbers, err := MemNumbers(m.dir)
	if err != nil || len(numbers) == 0 {
		return 0
	}
	return numbers[len(numbers)-1]
}

// AskRelief says that memory is asked for: the next Look then looks closer.
func (m *Memtables) AskRelief() { m.relief.Store(true) }

// ReliefAsked reports whether memory was asked for since the last Look.
func (m *Memtables) ReliefAsked() bool { return m.relief.Load() }

// Flushing reports whether a sealed memtable is on its way to an SSTable.
func (m *Memtables) Flushing() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return flushing(m.mu.sealed)
}

func flushing(sealed []*memtable) bool {
	return slices.ContainsFunc(sealed, func(t *memtable) bool { return t.bytes > 0 })
}

func unflushed(sealed []*memtable) (n int) {
	for _, t := range sealed {
		if t.bytes > 0 {
			n++
		}
	}
	return n
}

// Pinned reports whether there are sealed memtables: if none is being flushed, readers hold them.
func (m *Memtables) Pinned() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.mu.sealed) > 0
}

// Known is what Memtables know.
type Known struct {
	Active int   // the number of the active memtable
	Sealed []int // those of the others, oldest first
	Bytes  int64 // that all hold and that count
}

// Known returns what the last Look has seen, and what came since.
func (m *Memtables) Known() Known {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := Known{Active: m.mu.active.number, Bytes: m.mu.active.bytes}
	for _, t := range m.mu.sealed {
		k.Sealed = append(k.Sealed, t.number)
		k.Bytes += t.bytes
	}
	return k
}
