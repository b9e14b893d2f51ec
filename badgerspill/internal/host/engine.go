package host

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
)

// Engine writes to a Badger that is open in managed mode. Its methods are safe for concurrent use:
// it has no state of its own, and no lock. What comes before what is the callers' affair.
//
// Once a sync of Badger's logs has failed it says so of all that is to be durable, whatever Badger
// says: of every write under SyncWrites, and of Sync.
type Engine struct {
	db    *badger.DB
	state *State
	opt   badger.Options
	// nil: nothing is written to disk
	unsynced *Unsynced
}

// NewEngine returns the engine of an open Badger, of which state is. unsynced is told of syncs that
// fail; it may be nil.
func NewEngine(db *badger.DB, state *State, unsynced *Unsynced) *Engine {
	return &Engine{db: db, state: state, opt: db.Opts(), unsynced: unsynced}
}

// Prepare builds the transaction that carries c, in c.Prepared, unless its entries have versions of
// their own. It needs no lock and does not block. After an error nothing is prepared.
func (e *Engine) Prepare(c *pipeline.Commit) error {
	if c.Raw {
		return nil
	}
	txn := e.db.NewTransactionAt(math.MaxUint64, true)
	entries := make([]badger.Entry, len(c.Entries)) // one allocation
	for i := range c.Entries {
		s := &c.Entries[i]
		var err error
		if s.Meta&spillfile.MetaDelete > 0 {
			err = txn.Delete(s.Key)
		} else {
			be := &entries[i]
			be.Key, be.Value, be.ExpiresAt, be.UserMeta = s.Key, s.Value, s.ExpiresAt, s.UserMeta
			if s.Meta&spillfile.MetaDiscardEarlier > 0 {
				be.WithDiscard()
			}
			err = txn.SetEntry(be)
		}
		// banned since it was set: nobody can read it
		if err != nil && !errors.Is(err, badger.ErrBannedKey) {
			txn.Discard()
			return err
		}
	}
	c.Prepared = txn
	return nil
}

// Send queues c in Badger and returns. Calls are in commit order, and Badger keeps it. answer is
// called once, from another goroutine, when Badger has written c, or failed to.
func (e *Engine) Send(c *pipeline.Commit, answer func(error)) {
	if c.Prepared == nil {
		if c.Raw {
			// Entries with versions of their own. Their order among concurrent commits is free, and
			// Badger writes them without transaction markers, too.
			entries := slices.Clone(c.Entries)
			for i := range entries {
				if entries[i].Version == 0 {
					entries[i].Version = c.Ts
				}
			}
			go func() { answer(e.Load(entries)) }()
			return
		}
		if err := e.Prepare(c); err != nil {
			go answer(err)
			return
		}
	}
	txn := c.Prepared.(*badger.Txn)
	c.Prepared = nil
	if e.opt.SyncWrites {
		badgers := answer
		answer = func(err error) { badgers(e.durable(err)) }
	}
	_ = txn.CommitAt(c.Ts, answer) // with a callback every error goes to it
}

// durable returns Badger's answer to a write, or that it may not be durable under SyncWrites.
func (e *Engine) durable(err error) error {
	if err == nil && e.opt.SyncWrites {
		return e.unsynced.Err()
	}
	return err
}

// loadPending is how many batches Badger's loader may have in flight. One chunk of replay rarely
// fills more than one.
const loadPending = 4

// Load writes entries that carry their own versions, and waits. It keeps every bit of their
// metadata.
func (e *Engine) Load(entries []spillfile.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	loader := e.db.NewKVLoader(loadPending)
	var err error
	for i := range entries {
		s := &entries[i]
		kv := &pb.KV{Key: s.Key, Value: s.Value, Version: s.Version, ExpiresAt: s.ExpiresAt,
			UserMeta: []byte{s.UserMeta}, Meta: []byte{s.Meta}}
		if err = loader.Set(kv); err != nil {
			break
		}
	}
	return e.durable(errors.Join(err, loader.Finish()))
}

// Sync makes all that Badger has answered durable, and waits for the disk. It syncs the logs of
// sealed memtables, too: Badger's own Sync covers only the active one. A sealed one that is not
// flushed yet would be lost in a power cut although the spill had been dropped by then. Nor does it
// panic where Badger's would (see State). In memory it does nothing. After one that has failed all
// fail, with an error that matches ErrFailed.
func (e *Engine) Sync() error {
	if e.opt.InMemory {
		return nil
	}
	if err := e.unsynced.Err(); err != nil {
		return err
	}
	if !e.opt.SyncWrites { // with it every log was synced when it was written
		numbers, err := MemNumbers(e.opt.Dir)
		if err != nil {
			return err
		}
		for _, n := range numbers {
			if err := e.syncFile(MemPath(e.opt.Dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("sync of Badger's memtable log: %w", err)
			}
		}
	}
	sync := e.db.Sync
	if e.state != nil {
		sync = e.state.sync
	}
	err := sync()
	if err != nil {
		e.unsynced.Note(err)
	}
	return err
}

func (e *Engine) syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		e.unsynced.Note(err)
	}
	return errors.Join(err, f.Close())
}

// FillerKey is where Seal writes, with memtables of that size. Badger hides its internal keys from
// everybody, and the value is a tombstone at a version below all others, so compaction drops it. It
// is as long as a transaction over small memtables allows.
func FillerKey(memTableSize int64) []byte {
	return append([]byte("!badger!badgerspill!fill"), make([]byte, min(32<<10, memTableSize/16))...)
}

// Seal makes Badger seal its active memtable, whose flush to an SSTable then starts. It writes as
// much as a memtable's log holds, and waits for that. Badger has no call for it: it seals a
// memtable when its log or its arena is full. Rewriting one long internal key fills the log but
// neither the arena nor the SSTable.
func (e *Engine) Seal() error {
	key := FillerKey(e.opt.MemTableSize)
	kv := func() *pb.KV {
		return &pb.KV{Key: key, Version: 1, Meta: []byte{spillfile.MetaDelete}}
	}
	loader := e.db.NewKVLoader(loadPending)
	var err error
	for n := int64(0); n <= e.opt.MemTableSize && err == nil; n += int64(len(key)) {
		err = loader.Set(kv())
	}
	if err = errors.Join(err, loader.Finish()); err != nil {
		return err
	}
	// A memtable is sealed by the first write that finds it full.
	loader = e.db.NewKVLoader(1)
	return errors.Join(loader.Set(kv()), loader.Finish())
}
