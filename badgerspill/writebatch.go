package badgerspill

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
	"google.golang.org/protobuf/proto"
)

// WriteBatch writes many entries in as few transactions as their limits allow, without waiting for
// each. The transactions are blind, so they never conflict; each commits on its own, before Flush.
// It stands for badger.WriteBatch and is safe for concurrent use.
type WriteBatch struct {
	sync.Mutex
	txn      *Txn
	db       *DB
	throttle *y.Throttle
	err      atomic.Pointer[error]

	managed  bool
	commitTs uint64
	finished bool
}

// defaultPendingTxns is how many transactions of a batch may be on their way, as in Badger.
const defaultPendingTxns = 16

// NewWriteBatch creates a WriteBatch. Flush or Cancel must be called in the end. It panics in
// managed mode.
func (db *DB) NewWriteBatch() *WriteBatch {
	if db.opt.managed {
		panic("cannot use NewWriteBatch in managed mode. Use NewWriteBatchAt instead")
	}
	return db.newWriteBatch(0)
}

// NewWriteBatchAt creates a WriteBatch whose transactions commit at commitTs. It panics if the
// database is not managed.
func (db *DB) NewWriteBatchAt(commitTs uint64) *WriteBatch {
	if !db.opt.managed {
		panic("cannot use NewWriteBatchAt with managedDB=false. Use NewWriteBatch instead")
	}
	return db.newWriteBatch(commitTs)
}

// NewManagedWriteBatch creates a WriteBatch for SetEntryAt and DeleteAt. It panics if the database
// is not managed.
func (db *DB) NewManagedWriteBatch() *WriteBatch {
	if !db.opt.managed {
		panic("cannot use NewManagedWriteBatch with managedDB=false. Use NewWriteBatch instead")
	}
	return db.newWriteBatch(0)
}

func (db *DB) newWriteBatch(commitTs uint64) *WriteBatch {
	wb := &WriteBatch{db: db, managed: db.opt.managed, commitTs: commitTs, throttle: y.NewThrottle(defaultPendingTxns)}
	wb.txn = wb.newTxn()
	return wb
}

func (wb *WriteBatch) newTxn() *Txn {
	if !wb.managed {
		return wb.db.NewTransaction(true)
	}
	txn := wb.db.newTxn(true)
	txn.commitTs = wb.commitTs
	return txn
}

// SetMaxPendingTxns bounds how many transactions may be on their way; the default is 16. It must be
// called before the batch is used.
func (wb *WriteBatch) SetMaxPendingTxns(max int) {
	wb.throttle = y.NewThrottle(max)
}

// Cancel ends the batch without committing what is pending. What was committed before stays. It
// waits for transactions on their way, and may be called after Flush.
func (wb *WriteBatch) Cancel() {
	wb.Lock()
	defer wb.Unlock()
	wb.finished = true
	if err := wb.throttle.Finish(); err != nil {
		wb.db.opt.Errorf("badgerspill: WriteBatch.Cancel: a transaction of the batch failed: %v\n", err)
	}
	wb.txn.Discard()
}

// Write adds the entries of a buffer of marshalled pb.KV. Each must carry a version; one without is
// an error.
func (wb *WriteBatch) Write(buf *z.Buffer) error {
	wb.Lock()
	defer wb.Unlock()
	return buf.SliceIterate(func(s []byte) error {
		kv := &pb.KV{}
		if err := proto.Unmarshal(s, kv); err != nil {
			return err
		}
		return wb.writeKV(kv)
	})
}

// WriteList adds the entries of a list. Each must carry a version; one without is an error.
func (wb *WriteBatch) WriteList(kvList *KVList) error {
	wb.Lock()
	defer wb.Unlock()
	for _, kv := range kvList.Kv {
		if err := wb.writeKV(kv); err != nil {
			return err
		}
	}
	return nil
}

func (wb *WriteBatch) writeKV(kv *pb.KV) error {
	if kv.Version == 0 {
		// Badger's assertion ends the process here
		return errors.New("KV without a version in a WriteBatch")
	}
	e := &Entry{Key: kv.Key, Value: kv.Value, version: kv.Version}
	if len(kv.UserMeta) > 0 {
		e.UserMeta = kv.UserMeta[0]
	}
	return wb.add(e)
}

// SetEntryAt is SetEntry with a version of its own, in managed mode only.
func (wb *WriteBatch) SetEntryAt(e *Entry, ts uint64) error {
	if !wb.managed {
		return errors.New("SetEntryAt can only be used in managed mode. Use SetEntry instead")
	}
	e.version = ts
	return wb.SetEntry(e)
}

// SetEntry adds e. Errors are those of Txn.SetEntry but ErrTxnTooBig, and the first one of an
// earlier commit. It may block while too many transactions are on their way.
func (wb *WriteBatch) SetEntry(e *Entry) error {
	wb.Lock()
	defer wb.Unlock()
	return wb.add(e)
}

// Set is SetEntry for a key and a value.
func (wb *WriteBatch) Set(k, v []byte) error {
	return wb.SetEntry(&Entry{Key: k, Value: v})
}

// DeleteAt is Delete with a version of its own.
func (wb *WriteBatch) DeleteAt(k []byte, ts uint64) error {
	return wb.SetEntry(&Entry{Key: k, meta: metaDelete, version: ts})
}

// Delete deletes a key.
func (wb *WriteBatch) Delete(k []byte) error {
	return wb.SetEntry(&Entry{Key: k, meta: metaDelete})
}

// add needs the lock.
func (wb *WriteBatch) add(e *Entry) error {
	err := wb.txn.SetEntry(e)
	if err != ErrTxnTooBig {
		return err
	}
	if err := wb.commit(); err != nil {
		return err
	}
	if err := wb.txn.SetEntry(e); err != nil {
		wb.fail(err) // too big for an empty transaction: nothing will help
		return err
	}
	return nil
}

// commit needs the lock.
func (wb *WriteBatch) commit() error {
	if err := wb.Error(); err != nil {
		return err
	}
	if wb.finished {
		return y.ErrCommitAfterFinish
	}
	if err := wb.throttle.Do(); err != nil {
		wb.fail(err)
		return err
	}
	wb.txn.CommitWith(wb.committed)
	wb.txn = wb.newTxn()
	return wb.Error()
}

func (wb *WriteBatch) committed(err error) {
	defer wb.throttle.Done(err)
	if err != nil {
		wb.fail(err)
	}
}

// Flush commits what is pending and waits until all of the batch is acknowledged. It returns the
// first error of any of its transactions; on a closed database that is ErrDBClosed if anything is
// pending.
func (wb *WriteBatch) Flush() error {
	wb.Lock()
	if wb.db.IsClosed() && !wb.finished {
		wb.finished = true
		nothing := wb.txn.writes.empty()
		wb.txn.Discard()
		wb.Unlock()
		_ = wb.throttle.Finish()
		if err := wb.Error(); err != nil || nothing {
			return err
		}
		return ErrDBClosed
	}
	if err := wb.commit(); err != nil {
		wb.Unlock()
		return err
	}
	wb.finished = true
	wb.txn.Discard()
	wb.Unlock()

	if err := wb.throttle.Finish(); err != nil {
		if wb.Error() != nil {
			return fmt.Errorf("wb.err: %w err: %w", wb.Error(), err)
		}
		return err
	}
	return wb.Error()
}

// Error returns the first error of the batch so far. Nothing more is committed after one.
func (wb *WriteBatch) Error() error {
	if err := wb.err.Load(); err != nil {
		return *err
	}
	return nil
}

// fail keeps the first error.
func (wb *WriteBatch) fail(err error) { wb.err.CompareAndSwap(nil, &err) }
