package room

import (
	"sync"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// Ledger keeps the accounts of the spill: what commits have reserved is replaced, once they are
// written, by what the log really holds on disk and in its indexes. It is safe for concurrent use,
// and does not block. It is there before the log is, which tells of its files while it opens: until
// the ledger follows the log nothing of that is accounted for.
type Ledger struct {
	spill *wbm.SpilloverManager

	mu struct {
		sync.Mutex
		log         Log   // nil: it follows none yet
		disk, index int64 // as accounted last
	}
}

// NewLedger returns the ledger of an empty spill.
func NewLedger(spill *wbm.SpilloverManager) *Ledger { return &Ledger{spill: spill} }

// Follow accounts for what log holds, and from here on Refresh does.
func (l *Ledger) Follow(log Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.log = log
	l.refreshLocked()
}

// Refresh accounts for what the log holds now.
func (l *Ledger) Refresh() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refreshLocked()
}

func (l *Ledger) refreshLocked() {
	if l.mu.log == nil {
		return
	}
	nowDisk, nowIndex := l.mu.log.Usage()
	disk, index := nowDisk-l.mu.disk, nowIndex-l.mu.index
	l.mu.disk, l.mu.index = nowDisk, nowIndex
	l.spill.Force(max(disk, 0), max(index, 0))
	l.spill.ReleaseSpillover(max(-disk, 0), max(-index, 0), max(-disk, 0))
}

// Accounted returns the bytes on disk, and those of indexes, as accounted for last.
func (l *Ledger) Accounted() (disk, index int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.disk, l.mu.index
}

// written settles the reservations of batches that were written, or failed.
func (l *Ledger) written(batches []*spillfile.Batch) {
	var disk, index int64
	for _, b := range batches {
		disk += b.DiskSize()
		index += b.IndexSize()
	}
	l.Refresh() // first, so that the bytes are not counted nowhere for a moment
	l.spill.ReleaseSpillover(disk, index, 0)
}
