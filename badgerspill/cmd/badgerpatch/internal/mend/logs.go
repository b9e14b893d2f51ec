package mend

var logs = Mend{
	Name:  "logs",
	Short: "the log of a memtable is written with one write for all that waits, not page by page through a mapping",
	edits: []edit{
		{
			file:   "memtable.go",
			anchor: "	opt        Options\n	buf        *bytes.Buffer\n}\n",
			with: `	opt        Options
	buf        *bytes.Buffer
	group      logGroup
}
`,
		},
		{
			file:   "memtable.go",
			anchor: "		// If WAL exceeds opt.ValueLogFileSize, we'll force flush the memTable. See logic in\n",
			with: `		if mt.group.open {
			return mt.putLater(entry, value)
		}
		// If WAL exceeds opt.ValueLogFileSize, we'll force flush the memTable. See logic in
`,
		},
		{
			file:   "db.go",
			anchor: "		count += len(b.Entries)\n",
			with: `		count += len(b.Entries)
		if db.mt.endsBefore(b) {
			if err := db.mt.endGroup(); err != nil {
				db.failGroup(reqs, err)
				return y.Wrap(err, "writeRequests")
			}
		}
`,
		},
		{
			file:   "db.go",
			anchor: "	db.opt.Debugf(\"Sending updates to subscribers\")\n",
			with: `	if err := db.mt.endGroup(); err != nil {
		db.failGroup(reqs, err)
		return y.Wrap(err, "writeRequests")
	}
	db.opt.Debugf("Sending updates to subscribers")
`,
		},
		{
			file:   "db.go",
			anchor: "	for i, entry := range b.Entries {\n		var err error\n",
			with: `	db.mt.openGroup(b)
	for i, entry := range b.Entries {
		var err error
`,
		},
		{
			file:   "db.go",
			anchor: "		if err := db.writeToLSM(b); err != nil {\n			done(err)\n",
			with:   "		if err := db.writeToLSM(b); err != nil {\n			db.failGroup(reqs, err)\n",
		},
		{
			file:   "db.go",
			anchor: "		return db.mt.SyncWAL()\n",
			with: `		if err := db.mt.endGroup(); err != nil {
			return err
		}
		return db.mt.SyncWAL()
`,
		},
	},
	files: map[string]string{"badgerpatch_logs.go": `package badger

import (
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4/y"
)

// logGroup is what writeToLSM has encoded, in memTable.buf, and not written yet. What is in it is not
// in the skiplist either, and not acknowledged. Of the writing goroutine alone.
type logGroup struct {
	open    bool
	first   *request // with which it began
	entries []groupEntry
}

type groupEntry struct {
	key   []byte
	value y.ValueStruct
	size  int64 // for the metric; 0 of the end of a transaction, which only the log has
}

// endsBefore reports whether the group must be in the skiplist before the request is added to it: the
// memtable is full, and another one may be needed; or it would be more than a fraction of the room that
// a memtable has beyond its size.
func (mt *memTable) endsBefore(b *request) bool {
	if len(mt.group.entries) == 0 {
		return false
	}
	limit := int(min(64<<10, mt.opt.maxBatchSize/4))
	size := mt.buf.Len()
	for _, e := range b.Entries {
		if size += len(e.Key) + len(e.Value) + maxHeaderSize; size > limit {
			return true
		}
	}
	return mt.isFull()
}

// openGroup is called before the entries of a request are put. A log that is mapped and written to at
// the same time takes a system with one cache for both.
func (mt *memTable) openGroup(b *request) {
	mt.group.open = mt.wal != nil && runtime.GOOS != "openbsd"
	if len(mt.group.entries) == 0 {
		mt.group.first = b
	}
}

// failGroup answers requests of which the latest group has failed: those before it are written.
func (db *DB) failGroup(reqs []*request, err error) {
	failed := 0
	for i, r := range reqs {
		if r == db.mt.group.first {
			failed = i
		}
	}
	db.pub.sendUpdates(reqs[:failed])
	for i, r := range reqs {
		if i >= failed {
			r.Err = err
		}
		r.Wg.Done()
	}
}

var errLogFull = errors.New("the log of the memtable is full")

// putLater adds an entry to the group. If it cannot, all of the group is gone.
func (mt *memTable) putLater(e *Entry, value y.ValueStruct) error {
	if len(mt.group.entries) == 0 {
		mt.buf.Reset()
	}
	if _, err := mt.wal.encodeEntry(mt.buf, e, mt.wal.writeAt+uint32(mt.buf.Len())); err != nil {
		mt.dropGroup()
		return y.Wrapf(err, "cannot write entry to WAL file")
	}
	g := groupEntry{key: e.Key, value: value}
	if e.meta&bitFinTxn == 0 {
		g.size = e.estimateSizeAndSetThreshold(mt.opt.ValueThreshold)
	}
	mt.group.entries = append(mt.group.entries, g)
	return nil
}

func (mt *memTable) dropGroup() {
	clear(mt.group.entries)
	mt.group.entries = mt.group.entries[:0]
	mt.group.open = false
}

// endGroup writes the group to the log, and then puts it into the skiplist. After an error neither has
// anything of it.
func (mt *memTable) endGroup() error {
	defer mt.dropGroup()
	if len(mt.group.entries) == 0 {
		return nil
	}
	n := mt.buf.Len()
	room := len(mt.wal.Data) - int(mt.wal.writeAt)
	if n > room {
		return errLogFull
	}
	var zeros [maxHeaderSize]byte // ends the log, as zeroNextEntry does
	mt.buf.Write(zeros[:min(maxHeaderSize, room-n)])
	if _, err := mt.wal.Fd.WriteAt(mt.buf.Bytes(), int64(mt.wal.writeAt)); err != nil {
		// A part of it may be there, and must not be read after a kill.
		_, cut := mt.wal.Fd.WriteAt(zeros[:min(maxHeaderSize, room)], int64(mt.wal.writeAt))
		err = errors.Join(err, cut)
		return y.Wrapf(err, "cannot write to WAL file %s", mt.wal.path)
	}
	mt.wal.writeAt += uint32(n)
	for _, e := range mt.group.entries {
		if e.size == 0 {
			continue
		}
		mt.sl.Put(e.key, e.value)
		atomic.StoreUint64(&mt.maxVersion, max(mt.maxVersion, y.ParseTs(e.key)))
		y.NumBytesWrittenToL0Add(mt.opt.MetricsEnabled, e.size)
	}
	return nil
}
`},
}
