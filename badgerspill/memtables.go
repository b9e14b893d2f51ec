package badgerspill

import (
	"os"
	"sync"
	"sync/atomic"

	"github.com/badgerspill/badgerspill/wbm"
)

const memSuffix = ".mem"

// memtables knows what Badger's memtables hold, by observation: every live memtable has one file NNNNN.mem in Dir,
// numbered in sequence, that is removed when the memtable is in an SSTable and its last reader is gone. Bytes that
// Badger took are counted to the memtable that was active when the last look was taken; so a late look counts them to
// an older memtable, and every byte is released in the end.
type memtables struct {
	db  *DB
	dir string // empty: in-memory database, nothing to observe, nothing to count

	relief  atomic.Bool // the budget's manager asks for memory
	sealing atomic.Bool // a forced seal is under way

	mu struct {
		sync.Mutex
		active      int    // number of the active memtable
		activeBytes int64  // what it holds
		activeTs    uint64 // the newest timestamp in it
		sealed      []sealedMemtable
	}
}

type sealedMemtable struct {
	number int
	bytes  int64
	ts     uint64 // the newest timestamp in it
	// flushed: a later memtable is gone already, or an SSTable holds a timestamp as new as its newest. Badger flushes
	// in sequence, so this one is in an SSTable and merely held by an open iterator: no action of ours can free it,
	// so it is reported but not counted.
	flushed bool
}

// newMemtables looks at the memtables that a Badger just opened has: the newest is active, the others, left by an
// unclean stop, are being flushed.
func newMemtables(db *DB) (*memtables, error) {
	m := &memtables{db: db}
	if db.opt.InMemory || db.opt.ReadOnly {
		return m, nil
	}
	m.dir = db.opt.Dir
	numbers, err := memNumbers(m.dir)
	if err != nil {
		return nil, err
	}
	for _, n := range numbers {
		if m.mu.active != 0 {
			bytes := db.opt.MemTableSize
			m.mu.sealed = append(m.mu.sealed, sealedMemtable{number: m.mu.active, bytes: bytes})
			db.account.Force(wbm.Memtable, bytes)
		}
		m.mu.active = n
	}
	return m, nil
}

// took counts bytes that Badger has answered, up to timestamp ts: from in flight to the active memtable.
func (m *memtables) took(bytes int64, ts uint64) {
	if m.dir == "" {
		m.db.account.Release(wbm.InFlight, bytes)
		return
	}
	m.mu.Lock()
	m.mu.activeBytes += bytes
	m.mu.activeTs = max(m.mu.activeTs, ts)
	m.mu.Unlock()
	m.db.account.Transfer(wbm.InFlight, wbm.Memtable, bytes)
}

func (m *memtables) exists(number int) bool {
	_, err := os.Stat(memPath(m.dir, number))
	return err == nil || !os.IsNotExist(err)
}

// look finds memtables that were sealed or are gone, and releases what is gone. If relief was asked for and nothing is
// on its way to disk, it seals the active memtable. Only the watcher calls it.
func (m *memtables) look() {
	if m.dir == "" {
		return
	}
	relief := m.relief.Swap(false)
	m.mu.Lock()
	for m.exists(m.mu.active + 1) {
		m.sealActive(m.mu.active + 1)
	}
	if !m.exists(m.mu.active) { // sealed and flushed between two looks
		if next := m.newest(); next > m.mu.active {
			m.sealActive(next)
		}
	}
	var freed, pinned int64
	gone := -1 // the newest sealed memtable that is gone
	kept := m.mu.sealed[:0]
	for i := range m.mu.sealed {
		if !m.exists(m.mu.sealed[i].number) {
			gone = m.mu.sealed[i].number
		}
	}
	var inTables uint64 // Badger's SSTables hold all up to this timestamp
	if relief && len(m.mu.sealed) > 0 && !m.db.opt.managed {
		for _, t := range m.db.inner.Tables() {
			inTables = max(inTables, t.MaxVersion)
		}
	}
	for _, s := range m.mu.sealed {
		if (s.number <= gone || (s.ts > 0 && s.ts <= inTables)) && !s.flushed {
			s.flushed = true
			freed += s.bytes
		}
		if m.exists(s.number) {
			if s.flushed {
				pinned += s.bytes
			}
			kept = append(kept, s)
		} else if !s.flushed { // went while we looked
			freed += s.bytes
		}
	}
	m.mu.sealed = kept
	seal := relief && freed == 0 && !flushing(kept) && m.mu.activeBytes > m.db.opt.MemTableSize/8
	m.mu.Unlock()
	m.db.account.SetPinned(pinned)
	if freed > 0 {
		m.db.account.Release(wbm.Memtable, freed)
	}
	if seal && m.sealing.CompareAndSwap(false, true) {
		m.db.background.Go(func() {
			defer m.sealing.Store(false)
			if err := m.db.engine.seal(); err != nil && !m.db.closing.Load() {
				m.db.events.backgroundError("seal Badger's memtable", err)
			}
			m.db.watch.hurry()
		})
	}
}

func (m *memtables) sealActive(next int) {
	m.mu.sealed = append(m.mu.sealed, sealedMemtable{number: m.mu.active, bytes: m.mu.activeBytes, ts: m.mu.activeTs})
	m.mu.active, m.mu.activeBytes = next, 0
}

func (m *memtables) newest() int {
	numbers, err := memNumbers(m.dir)
	if err != nil || len(numbers) == 0 {
		return 0
	}
	return numbers[len(numbers)-1]
}

// relieve is the budget manager's request for memory. It never blocks.
func (m *memtables) relieve() {
	m.relief.Store(true)
	m.db.watch.hurry()
	m.db.wakeReplay()
}

// flushing reports whether a sealed memtable is on its way to an SSTable.
func (m *memtables) flushing() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return flushing(m.mu.sealed)
}

func flushing(sealed []sealedMemtable) bool {
	for _, s := range sealed {
		if !s.flushed {
			return true
		}
	}
	return false
}

// pinned reports whether a flushed memtable is still held by a reader.
func (m *memtables) pinned() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.mu.sealed) > 0
}
