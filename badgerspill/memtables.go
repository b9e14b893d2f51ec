package badgerspill

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/wbm"
)

// memtables knows what Badger's memtables hold, by observation: every live memtable has one file
// NNNNN.mem in Dir, numbered in sequence, that is removed when the memtable is in an SSTable and
// its last reader is gone. Bytes that Badger took are counted to the memtable that was active when
// the last look was taken; so a late look counts them to an older memtable, and every byte is
// released in the end.
type memtables struct {
	db  *DB
	dir string // empty: in-memory database, nothing to observe, nothing to count

	relief  atomic.Bool // the budget's manager asks for memory
	sealing atomic.Bool // a forced seal is under way

	cause atomic.Int64 // the StallCause that the last look has seen

	levels   func() []badger.LevelInfo
	tables   func() []badger.TableInfo
	lastList int64 // when tables was called last, in nanoseconds of DB.now; the watcher's own
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
	marks  []mark // of bytes, in the order in which they came
	// pinned are bytes that were released although the file is there: they are in an SSTable, and
	// the memtable is merely held by an open iterator. No action of ours can free it, so it is
	// reported but not counted.
	pinned int64
}

// mark stands for some bytes that Badger took. Badger flushes its memtables in sequence, so once an
// SSTable holds a version that came no earlier than these bytes, they are in an SSTable, too: any
// version from flushed on.
type mark struct {
	flushed uint64
	bytes   int64
}

// stuckInterval is how long sealed memtables may show no sign of their flush while memory is asked
// for. Past it they are taken for flushed, and held by an iterator, although no version says so:
// those of a chunk, which come in the order of keys, say little. Then the active memtable is
// sealed: the second one at the latest the iterator does not hold, and when that goes all before
// are known to be flushed.
const stuckInterval = int64(time.Second)

// markBytes is about how many bytes one mark stands for.
const markBytes = 64 << 10

// add counts bytes of which the newest timestamp is ts. latest is the highest that came before.
func (t *memtable) add(bytes int64, ts, latest uint64) {
	flushed := latest + 1 // ts says nothing: a version as high may have come before
	if ts > latest {
		flushed = ts
	}
	t.bytes += bytes
	if n := len(t.marks); n > 0 && t.marks[n-1].bytes < markBytes {
		last := &t.marks[n-1]
		last.bytes += bytes
		last.flushed = max(last.flushed, flushed)
		return
	}
	t.marks = append(t.marks, mark{flushed, bytes})
}

// release takes out what is flushed if an SSTable holds version, and returns how many bytes that
// is.
func (t *memtable) release(version uint64) (freed int64) {
	n := 0
	for n < len(t.marks) && t.marks[n].flushed <= version {
		freed += t.marks[n].bytes
		n++
	}
	t.marks = t.marks[n:]
	t.bytes -= freed
	t.pinned += freed
	return freed
}

// releaseAll takes out everything.
func (t *memtable) releaseAll() (freed int64) {
	freed = t.bytes
	t.pinned += freed
	t.bytes, t.marks = 0, nil
	return freed
}

// newMemtables looks at the memtables that a Badger just opened has: the newest is active, the
// others, left by an unclean stop, are being flushed.
func newMemtables(db *DB) (*memtables, error) {
	m := &memtables{db: db, tables: db.inner.Tables, levels: db.inner.Levels}
	if db.opt.InMemory || db.opt.ReadOnly {
		return m, nil
	}
	m.dir = db.opt.Dir
	numbers, err := host.MemNumbers(m.dir)
	if err != nil {
		return nil, err
	}
	m.mu.newest = db.inner.MaxVersion()
	for i, n := range numbers {
		if i < len(numbers)-1 {
			bytes := db.opt.MemTableSize
			m.mu.sealed = append(m.mu.sealed, &memtable{number: n, bytes: bytes})
			db.account.Force(wbm.Memtable, bytes)
			continue
		}
		m.mu.active.number = n
	}
	return m, nil
}

// took counts bytes that Badger has answered, up to timestamp ts: from in flight to the active
// memtable.
func (m *memtables) took(bytes int64, ts uint64) {
	if m.dir == "" {
		m.db.account.Release(wbm.InFlight, bytes)
		return
	}
	// first: what is marked can be released
	m.db.account.Transfer(wbm.InFlight, wbm.Memtable, bytes)
	m.mu.Lock()
	m.mu.active.add(bytes, ts, m.mu.newest)
	m.mu.newest = max(m.mu.newest, ts)
	m.mu.Unlock()
}

func (m *memtables) exists(number int) bool {
	info, err := os.Stat(host.MemPath(m.dir, number))
	if err == nil {
		return !info.IsDir() // which is in Badger's way: see guard
	}
	return !os.IsNotExist(err)
}

// look finds memtables that were sealed or are gone, and releases what is gone. If relief was asked
// for and nothing is on its way to disk, it seals the active memtable. Only the watcher calls it.
func (m *memtables) look() {
	if m.dir == "" {
		return
	}
	relief := m.relief.Swap(false)
	now := m.db.now()
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
		for _, t := range m.tables() {
			version = max(version, t.MaxVersion)
		}
		m.lastList = now
	}

	// What all databases of the budget may keep unsealed stays an eighth of it, however many they
	// are.
	worth := min(m.db.opt.MemTableSize, m.db.manager.Limit()/int64(max(1, len(m.db.manager.Accounts())))) / 8
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
	seal := relief && freed == 0 && !flushing(m.mu.sealed) && m.mu.active.bytes > worth
	seal = seal || list && freed == 0 && now-m.lastMove >= stuckInterval
	m.mu.Unlock()
	m.cause.Store(int64(m.judge(waiting)))
	m.db.account.SetPinned(pinned)
	if freed > 0 {
		m.db.account.Release(wbm.Memtable, freed)
	}
	if seal && m.sealing.CompareAndSwap(false, true) {
		m.db.inBackground(func() {
			defer m.sealing.Store(false)
			m.db.gate.Lock()
			defer m.db.gate.Unlock()
			// It fills a log. Without room for that, the bytes stay where they are.
			size := m.db.opt.MemTableSize
			if m.db.guard.check() != nil || m.db.room.ClaimBadger(size) != nil {
				return
			}
			defer m.db.room.Settle(size)
			if err := m.db.engine.seal(); err != nil && !m.db.closing.Load() {
				m.db.events.backgroundError("seal Badger's memtable", err, "it is tried again while memory is short")
			}
			m.db.watch.hurry()
		})
	}
}

// judge tells what holds Badger up, if anything does, with so many memtables that wait for the
// flusher, or are with it.
func (m *memtables) judge(waiting int) StallCause {
	to := m.db.events.to
	if waiting <= m.db.opt.NumMemtables || to.StallBegin == nil && to.StallEnd == nil {
		return StallBusy
	}
	for _, l := range m.levels() {
		if l.Level == 0 && l.NumTables >= m.db.opt.NumLevelZeroTablesStall {
			return StallLevelZero
		}
	}
	return StallMemtables
}

// stallCause returns what the last look, 25 ms ago at most while commits come, has seen. It does
// not block.
func (m *memtables) stallCause() StallCause { return StallCause(m.cause.Load()) }

// findSealed finds memtables that Badger has sealed since the last look. It returns the number of
// one that came and went unseen between two looks, or -1. The file of the one that was active may
// still be there then, held by an iterator; so with thorough it looks for higher numbers in any
// case. Needs mu.
func (m *memtables) findSealed(thorough bool) (gone int) {
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

func (m *memtables) sealActive(next int) {
	sealed := m.mu.active
	m.mu.sealed = append(m.mu.sealed, &sealed)
	m.mu.active = memtable{number: next}
}

// releaseGone takes out the memtables that are gone, and what those hold that came before one that
// is gone: they are flushed, too, and held by an iterator. gone is the number of one that is known
// to be gone, or -1. It returns the bytes that this frees. Needs mu.
func (m *memtables) releaseGone(gone int) (freed int64) {
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

func (m *memtables) newest() int {
	numbers, err := host.MemNumbers(m.dir)
	if err != nil || len(numbers) == 0 {
		return 0
	}
	return numbers[len(numbers)-1]
}

// relieve is the budget manager's request for memory: the soft limit's flush, of Badger's memtables
// and of the spill's index. It never blocks.
func (m *memtables) relieve() {
	m.relief.Store(true)
	m.db.watch.hurry()
	if m.db.log != nil {
		m.db.log.Relieve()
	}
	m.db.wakeReplay()
}

// flushing reports whether a sealed memtable is on its way to an SSTable.
func (m *memtables) flushing() bool {
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

// pinned reports whether a flushed memtable is still held by a reader.
func (m *memtables) pinned() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.mu.sealed) > 0
}

// noteMemtable makes a note of the active memtable's number; nobody may write to Badger meanwhile.
// If it fails no log is removed because of it, as without. It is not made where LOCK is what is
// locked: Windows would refuse it, and on AIX it would end the lock.
func (db *DB) noteMemtable(note marker.Note) {
	opt := &db.opt
	// the notes are another's; others may not write the file anew
	if opt.ReadOnly || opt.BypassLockGuard {
		return
	}
	if !opt.system().notes {
		return
	}
	numbers, err := host.MemNumbers(opt.Dir)
	if err != nil || len(numbers) == 0 {
		return
	}
	_ = marker.WriteNote(opt.Dir, note, numbers[len(numbers)-1])
}
