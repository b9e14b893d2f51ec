package badgerspill

import (
	"sync"

	"github.com/badgerspill/badgerspill/spillfile"
)

// spillUse keeps the accounts of the spill: what commits have reserved is replaced, once they are
// written, by what the log really holds on disk and in its indexes.
type spillUse struct {
	db *DB
	mu struct {
		sync.Mutex
		disk, index int64 // as accounted last
	}
}

// written settles the reservations of batches that were written, or failed.
func (u *spillUse) written(batches []*spillfile.Batch) {
	var disk, index int64
	for _, b := range batches {
		disk += b.DiskSize()
		index += b.IndexSize()
	}
	u.refresh() // first, so that the bytes are not counted nowhere for a moment
	u.db.spill.ReleaseSpillover(disk, index, 0)
}

// refresh accounts for what the log holds now.
func (u *spillUse) refresh() {
	u.mu.Lock()
	defer u.mu.Unlock()
	nowDisk, nowIndex := u.db.log.Usage()
	disk, index := nowDisk-u.mu.disk, nowIndex-u.mu.index
	u.mu.disk, u.mu.index = nowDisk, nowIndex
	u.db.spill.Force(max(disk, 0), max(index, 0))
	u.db.spill.ReleaseSpillover(max(-disk, 0), max(-index, 0), max(-disk, 0))
}
