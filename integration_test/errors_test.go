package integration_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// The errors and panics of Badger, each brought about by the same calls there and here.

// wholeSide is a side with what else returns errors of its own.
type wholeSide interface {
	side
	RunValueLogGC(discardRatio float64) error
	BanNamespace(ns uint64) error
	DropAll() error
	DropPrefix(prefixes ...[]byte) error
	Flatten(workers int) error
	Load(r io.Reader, maxPendingWrites int) error
	Backup(w io.Writer, since uint64) (uint64, error)
	Subscribe(ctx context.Context, cb func(*badger.KVList) error, matches []pb.Match) error
	CacheMaxCost(cache badger.CacheType, maxCost int64) (int64, error)
}

// maker opens databases of one of the engines.
type maker struct {
	t       *testing.T
	dir     string // for the database
	layered func(badgerspill.Options) badgerspill.Options
	keep    bool // Close leaves in the spill what is there
}

func (m *maker) options() badger.Options {
	return small(m.dir).WithMemTableSize(1 << 20).WithValueLogFileSize(4 << 20)
}

func (m *maker) open(opt badger.Options, managed bool) (wholeSide, error) {
	if m.layered == nil {
		open := badger.Open
		if managed {
			open = badger.OpenManaged
		}
		db, err := open(opt)
		if err != nil {
			return nil, err
		}
		m.t.Cleanup(func() { _ = db.Close() })
		return plainSideOf(db), nil
	}
	o := badgerspill.OptionsFrom(opt)
	if !opt.InMemory {
		o = m.layered(o)
	}
	open := badgerspill.Open
	if managed {
		open = badgerspill.OpenManaged
	}
	db, err := open(o.WithDrainOnClose(!m.keep))
	if err != nil {
		return nil, err
	}
	m.t.Cleanup(func() { _ = db.Close() })
	return spillSideOf(db), nil
}

func (m *maker) db() wholeSide {
	db, err := m.open(m.options(), false)
	require.NoError(m.t, err)
	return db
}

func (m *maker) managed() wholeSide {
	db, err := m.open(m.options(), true)
	require.NoError(m.t, err)
	return db
}

// closed is a database that holds key a, and was closed.
func (m *maker) closed() wholeSide {
	db := m.db()
	require.NoError(m.t, db.Update(func(txn sideTxn) error { return txn.Set([]byte("a"), []byte("1")) }))
	require.NoError(m.t, db.Close())
	return db
}

// readOnly is a database of key a that is open for reading.
func (m *maker) readOnly() wholeSide {
	m.keep = true
	m.closed()
	db, err := m.open(m.options().WithReadOnly(true), false)
	require.NoError(m.t, err)
	return db
}

// reopened returns the error of another Open, after the database was closed and change was made to
// it.
func (m *maker) reopened(change func(o badger.Options) badger.Options) error {
	m.closed()
	_, err := m.open(change(m.options()), false)
	return err
}

// caught returns what fn panics with as an error.
func caught(fn func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			err = fmt.Errorf("panic: %w", r)
		default:
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	fn()
	return nil
}

func update(db side, fn func(sideTxn) error) error { return db.Update(fn) }

func sequence(db side, bandwidth uint64) (err error) {
	switch d := db.(type) {
	case plainSide:
		_, err = d.GetSequence([]byte("seq"), bandwidth)
	case spillSide:
		_, err = d.GetSequence([]byte("seq"), bandwidth)
	}
	return err
}

func streamDB(db side, o badger.Options) error {
	switch d := db.(type) {
	case plainSide:
		return d.StreamDB(o)
	case spillSide:
		return d.StreamDB(badgerspill.OptionsFrom(o))
	}
	return nil
}

func stream(db side, at uint64) {
	switch d := db.(type) {
	case plainSide:
		if at == 0 {
			d.NewStream()
		} else {
			d.NewStreamAt(at)
		}
	case spillSide:
		if at == 0 {
			d.NewStream()
		} else {
			d.NewStreamAt(at)
		}
	}
}

// manifest writes bytes over those of Badger's MANIFEST.
func manifest(at int64, text ...byte) func(m *maker) error {
	return func(m *maker) error {
		return m.reopened(func(o badger.Options) badger.Options {
			f, err := os.OpenFile(filepath.Join(o.Dir, badger.ManifestFilename), os.O_RDWR, 0)
			require.NoError(m.t, err)
			_, err = f.WriteAt(text, at)
			require.NoError(m.t, err)
			require.NoError(m.t, f.Close())
			return o
		})
	}
}

// errorRow is one error. Its text, if it has one, is what programs look for; otherwise all that
// Badger says is.
type errorRow struct {
	name  string // of the exported error, if it is one
	means error  // what errors.Is finds
	text  string
	play  func(m *maker) error
	never string // why Badger cannot be brought to it: there is no play then
	// what is said here on purpose, with what is in the list of docs/differences.md; empty: the
	// same
	better string
}

var errorRows = []errorRow{
	{name: "ErrValueLogSize", means: badger.ErrValueLogSize, play: func(m *maker) error {
		_, err := m.open(m.options().WithValueLogFileSize(1), false)
		return err
	}},
	{name: "ErrKeyNotFound", means: badger.ErrKeyNotFound, play: func(m *maker) error {
		return m.db().View(func(txn sideTxn) error { _, err := txn.Read([]byte("none")); return err })
	}},
	{name: "ErrTxnTooBig", means: badger.ErrTxnTooBig, play: func(m *maker) error {
		return update(m.db(), func(txn sideTxn) error {
			for i := range 1 << 20 {
				if err := txn.Set(key(i), nil); err != nil {
					return err
				}
			}
			return nil
		})
	}},
	{name: "ErrConflict", means: badger.ErrConflict, play: func(m *maker) error {
		db := m.db()
		return update(db, func(txn sideTxn) error {
			_, err := txn.Read([]byte("a"))
			require.ErrorIs(m.t, err, badger.ErrKeyNotFound)
			require.NoError(m.t, update(db, func(txn sideTxn) error { return txn.Set([]byte("a"), nil) }))
			return txn.Set([]byte("b"), nil)
		})
	}},
	{name: "ErrReadOnlyTxn", means: badger.ErrReadOnlyTxn, text: "No sets or deletes are allowed in a read-only transaction", play: func(m *maker) error {
		return m.db().View(func(txn sideTxn) error { return txn.Set([]byte("a"), nil) })
	}},
	{name: "ErrReadOnlyTxn of a delete", means: badger.ErrReadOnlyTxn, play: func(m *maker) error {
		return m.db().View(func(txn sideTxn) error { return txn.Delete([]byte("a")) })
	}},
	{name: "ErrReadOnlyTxn in a read-only database", means: badger.ErrReadOnlyTxn, play: func(m *maker) error {
		return update(m.readOnly(), func(txn sideTxn) error { return txn.Set([]byte("a"), nil) })
	}},
	{name: "ErrDiscardedTxn", means: badger.ErrDiscardedTxn, play: func(m *maker) error {
		txn := m.db().Begin(true)
		txn.Discard()
		return txn.Set([]byte("a"), nil)
	}},
	{name: "ErrDiscardedTxn of a batch", means: badger.ErrDiscardedTxn, play: func(m *maker) error {
		wb := m.db().NewBatch()
		wb.Cancel()
		return wb.Set([]byte("a"), nil)
	}},
	{name: "ErrDiscardedTxn of an iterator", means: badger.ErrDiscardedTxn, play: func(m *maker) error {
		txn := m.db().Begin(false)
		txn.Discard()
		return caught(func() { txn.Iter(badger.DefaultIteratorOptions) })
	}},
	{name: "ErrEmptyKey", means: badger.ErrEmptyKey, play: func(m *maker) error {
		return update(m.db(), func(txn sideTxn) error { return txn.Set(nil, nil) })
	}},
	{name: "ErrInvalidKey", means: badger.ErrInvalidKey, play: func(m *maker) error {
		return update(m.db(), func(txn sideTxn) error { return txn.Set([]byte("!badger!x"), nil) })
	}},
	{name: "ErrBannedKey", means: badger.ErrBannedKey, play: func(m *maker) error {
		db, err := m.open(m.options().WithNamespaceOffset(0), false)
		require.NoError(m.t, err)
		require.NoError(m.t, db.BanNamespace(7))
		return update(db, func(txn sideTxn) error { return txn.Set(append(binary.BigEndian.AppendUint64(nil, 7), 'a'), nil) })
	}},
	{name: "ErrThresholdZero", means: badger.ErrThresholdZero, never: "v4.9.6 returns it nowhere"},
	{name: "ErrNoRewrite", means: badger.ErrNoRewrite, play: func(m *maker) error { return m.db().RunValueLogGC(0.5) }},
	{name: "ErrRejected", means: badger.ErrRejected, play: func(m *maker) error { return m.closed().RunValueLogGC(0.5) }},
	{name: "ErrInvalidRequest", means: badger.ErrInvalidRequest, play: func(m *maker) error { return m.db().RunValueLogGC(1) }},
	{name: "ErrManagedTxn", means: badger.ErrManagedTxn, never: "v4.9.6 returns it nowhere: it panics with texts"},
	{name: "ErrNamespaceMode", means: badger.ErrNamespaceMode, play: func(m *maker) error { return m.db().BanNamespace(1) }},
	{name: "ErrInvalidDump", means: badger.ErrInvalidDump, never: "v4.9.6 returns it nowhere"},
	{name: "ErrZeroBandwidth", means: badger.ErrZeroBandwidth, play: func(m *maker) error { return sequence(m.db(), 0) }},
	{name: "ErrWindowsNotSupported", means: badger.ErrWindowsNotSupported, never: "only on Windows, where both return it for ReadOnly"},
	{name: "ErrPlan9NotSupported", means: badger.ErrPlan9NotSupported, never: "only on Plan 9, for which the layer does not build"},
	{name: "ErrTruncateNeeded", means: badger.ErrTruncateNeeded, text: "Log truncate required to run DB. This might result in data loss",
		better: "`errors.Is` finds `ErrTruncateNeeded` and `ErrInvalidEncryptionKey`", play: func(m *maker) error {
			db := m.db()
			require.NoError(m.t, update(db, func(txn sideTxn) error { return txn.Set([]byte("a"), nil) }))
			copied := m.dir + "-copied" // as a kill leaves it
			require.NoError(m.t, os.CopyFS(copied, os.DirFS(m.dir)))
			m.dir = copied
			_, err := m.open(m.options().WithReadOnly(true), false)
			return err
		}},
	{name: "ErrBlockedWrites", means: badger.ErrBlockedWrites, play: func(m *maker) error {
		db := m.db()
		txn := db.Begin(true)
		require.NoError(m.t, txn.Set([]byte("a"), nil))
		require.NoError(m.t, db.Close())
		return txn.Commit()
	}},
	{name: "ErrBlockedWrites of a drop", means: badger.ErrBlockedWrites, play: func(m *maker) error { return m.closed().DropAll() }},
	{name: "ErrNilCallback", means: badger.ErrNilCallback, play: func(m *maker) error {
		return m.db().Subscribe(context.Background(), nil, nil)
	}},
	{name: "ErrEncryptionKeyMismatch", means: badger.ErrEncryptionKeyMismatch, text: "Encryption key mismatch", play: func(m *maker) error {
		with := func(b byte) badger.Options {
			return m.options().WithIndexCacheSize(1 << 20).WithEncryptionKey(bytes.Repeat([]byte{b}, 32))
		}
		db, err := m.open(with(1), false)
		require.NoError(m.t, err)
		require.NoError(m.t, update(db, func(txn sideTxn) error { return txn.Set([]byte("a"), nil) }))
		require.NoError(m.t, db.Close())
		_, err = m.open(with(2), false)
		return err
	}},
	{name: "ErrEncryptionKeyMismatch without a key", means: badger.ErrEncryptionKeyMismatch, text: "Encryption key mismatch", play: func(m *maker) error {
		db, err := m.open(m.options().WithIndexCacheSize(1<<20).WithEncryptionKey(make([]byte, 16)), false)
		require.NoError(m.t, err)
		require.NoError(m.t, update(db, func(txn sideTxn) error { return txn.Set([]byte("a"), nil) }))
		require.NoError(m.t, db.Close())
		_, err = m.open(m.options(), false)
		return err
	}},
	{name: "ErrInvalidDataKeyID", means: badger.ErrInvalidDataKeyID, text: "Invalid datakey id", play: func(m *maker) error {
		open := badger.OpenKeyRegistry
		if m.layered != nil {
			open = badgerspill.OpenKeyRegistry
		}
		require.NoError(m.t, os.MkdirAll(m.dir, 0o700))
		reg, err := open(badger.KeyRegistryOptions{Dir: m.dir, ReadOnly: false})
		require.NoError(m.t, err)
		m.t.Cleanup(func() { _ = reg.Close() })
		_, err = reg.DataKey(99)
		return err
	}},
	{name: "ErrInvalidEncryptionKey", means: badger.ErrInvalidEncryptionKey, text: badger.ErrInvalidEncryptionKey.Error(),
		better: "`errors.Is` finds `ErrTruncateNeeded` and `ErrInvalidEncryptionKey`", play: func(m *maker) error {
			_, err := m.open(m.options().WithIndexCacheSize(1<<20).WithEncryptionKey([]byte("short")), false)
			return err
		}},
	{name: "ErrGCInMemoryMode", means: badger.ErrGCInMemoryMode, play: func(m *maker) error {
		db, err := m.open(m.options().WithDir("").WithValueDir("").WithInMemory(true), false)
		require.NoError(m.t, err)
		return db.RunValueLogGC(0.5)
	}},
	{name: "ErrGCInReadOnlyMode", means: badger.ErrGCInReadOnlyMode, play: func(m *maker) error { return m.readOnly().RunValueLogGC(0.5) }},
	{name: "ErrDBClosed", means: badger.ErrDBClosed, play: func(m *maker) error { return m.closed().View(func(sideTxn) error { return nil }) }},
	{name: "ErrDBClosed of an update", means: badger.ErrDBClosed, play: func(m *maker) error {
		return m.closed().Update(func(sideTxn) error { return nil })
	}},
	{name: "ErrDBClosed of an iterator", means: badger.ErrDBClosed, play: func(m *maker) error {
		db := m.db()
		txn := db.Begin(false)
		defer txn.Discard()
		require.NoError(m.t, db.Close())
		return caught(func() { txn.Iter(badger.DefaultIteratorOptions) })
	}},
	{name: "Get of a closed database", means: badger.ErrDBClosed, text: "DB Closed", play: func(m *maker) error {
		db := m.db()
		txn := db.Begin(false)
		defer txn.Discard()
		require.NoError(m.t, db.Close())
		_, err := txn.Read([]byte("a"))
		return err
	}},
	{name: "a batch that is flushed twice", means: y.ErrCommitAfterFinish, play: func(m *maker) error {
		wb := m.db().NewBatch()
		require.NoError(m.t, wb.Flush())
		return wb.Flush()
	}},
	{name: "a checksum of the key registry", text: "checksum mismatch", play: func(m *maker) error {
		opt := m.options().WithIndexCacheSize(1 << 20).WithEncryptionKey(make([]byte, 32))
		db, err := m.open(opt, false)
		require.NoError(m.t, err)
		require.NoError(m.t, update(db, func(txn sideTxn) error { return txn.Set([]byte("a"), nil) }))
		require.NoError(m.t, db.Close())
		path := filepath.Join(m.dir, "KEYREGISTRY")
		b, err := os.ReadFile(path)
		require.NoError(m.t, err)
		b[len(b)-1] ^= 1
		require.NoError(m.t, os.WriteFile(path, b, 0o600))
		_, err = m.open(opt, false)
		return err
	}},

	{name: "a directory that is open", text: "Another process is using this Badger database", play: func(m *maker) error {
		m.db()
		_, err := m.open(m.options(), false)
		return err
	}},
	{name: "a directory that is open, to be read", text: "Another process is using this Badger database", play: func(m *maker) error {
		m.db()
		_, err := m.open(m.options().WithReadOnly(true), false)
		return err
	}},
	{name: "a directory that is missing, to be read", text: "for read-only open", play: func(m *maker) error {
		_, err := m.open(m.options().WithReadOnly(true), false)
		return err
	}},
	{name: "a directory without a database, to be read", text: "no manifest found, required for read-only db", play: func(m *maker) error {
		require.NoError(m.t, os.MkdirAll(m.dir, 0o700))
		_, err := m.open(m.options().WithReadOnly(true), false)
		return err
	}},
	{name: "a directory that cannot be made", text: "Error Creating Dir:", play: func(m *maker) error {
		require.NoError(m.t, os.Symlink("leads-nowhere", m.dir))
		_, err := m.open(m.options(), false)
		return err
	}},
	{name: "a directory below a file", text: "Invalid Dir:", play: func(m *maker) error {
		require.NoError(m.t, os.WriteFile(m.dir, nil, 0o600))
		m.dir = filepath.Join(m.dir, "below")
		_, err := m.open(m.options(), false)
		return err
	}},
	{name: "a manifest of another program", text: "manifest has bad magic", play: manifest(0, 'X')},
	{name: "a manifest of another version", text: "manifest has unsupported version: 9 (we support 8).", play: manifest(7, 9)},
	{name: "a manifest with another external magic number", text: "cannot open DB because the external magic number doesn't match, expected: 5, version present in manifest: 0",
		play: func(m *maker) error {
			return m.reopened(func(o badger.Options) badger.Options { return o.WithExternalMagic(5) })
		}},
	{name: "a manifest that is damaged", text: "manifest has checksum mismatch", play: manifest(12, 0xFF, 0xFF)},
	{name: "a table that is missing", text: "file does not exist for table 1", play: func(m *maker) error {
		return m.reopened(func(o badger.Options) badger.Options {
			require.NoError(m.t, os.Remove(filepath.Join(o.Dir, "000001.sst")))
			return o
		})
	}},
	{name: "one compactor", text: "Cannot have 1 compactor. Need at least 2", play: func(m *maker) error {
		return m.reopened(func(o badger.Options) badger.Options { return o.WithNumCompactors(1) })
	}},
	{name: "in memory with a directory", text: "Cannot use badger in Disk-less mode with Dir or ValueDir set", play: func(m *maker) error {
		_, err := m.open(m.options().WithInMemory(true), false)
		return err
	}},
	{name: "a percentile above 1", text: "vlogPercentile must be within range of 0.0-1.0", play: func(m *maker) error {
		return m.reopened(func(o badger.Options) badger.Options { return o.WithVLogPercentile(2) })
	}},
	{name: "a value threshold that is too large", text: "Invalid ValueThreshold, must be less or equal to 1048576", play: func(m *maker) error {
		return m.reopened(func(o badger.Options) badger.Options { return o.WithValueThreshold(1<<20 + 1) })
	}},
	{name: "a value threshold above a batch", text: "greater than max batch size", play: func(m *maker) error {
		return m.reopened(func(o badger.Options) badger.Options { return o.WithValueThreshold(1 << 20) })
	}},
	{name: "compression without a block cache", text: "BlockCacheSize", better: "compression or encryption without a `BlockCacheSize`", play: func(m *maker) (err error) {
		return errors.Join(caught(func() {
			_, err = m.open(m.options().WithCompression(options.Snappy).WithBlockCacheSize(0), false)
		}), err)
	}},

	{name: "a key that is too long", text: "Key with size 65001 exceeded 65000 limit", play: func(m *maker) error {
		return update(m.db(), func(txn sideTxn) error { return txn.Set(bytes.Repeat([]byte("k"), 65001), nil) })
	}},
	{name: "a value that is too long", text: "Value with size 4194305 exceeded 4194304 limit", play: func(m *maker) error {
		return update(m.db(), func(txn sideTxn) error { return txn.Set([]byte("k"), make([]byte, 4<<20+1)) })
	}},
	{name: "a second commit", text: "Trying to commit a discarded txn", play: func(m *maker) error {
		txn := m.db().Begin(true)
		require.NoError(m.t, txn.Set([]byte("a"), nil))
		require.NoError(m.t, txn.Commit())
		return txn.Commit()
	}},
	{name: "commit in managed mode", text: "CommitTs cannot be zero. Please use commitAt instead", play: func(m *maker) error {
		txn := m.managed().BeginAt(1, true)
		require.NoError(m.t, txn.Set([]byte("a"), nil))
		return txn.Commit()
	}},
	{name: "an entry at a version", text: "SetEntryAt can only be used in managed mode. Use SetEntry instead", play: func(m *maker) error {
		wb := m.db().NewBatch()
		defer wb.Cancel()
		return wb.PutAt(write{Key: []byte("a")}, 1)
	}},
	{name: "a cache that is none", text: "invalid cache type", play: func(m *maker) error {
		_, err := m.db().CacheMaxCost(badger.CacheType(99), 1)
		return err
	}},
	{name: "a stream to a database that does not open", text: "cannot open out DB at DIR-out err: Cannot have 1 compactor. Need at least 2", play: func(m *maker) error {
		return streamDB(m.managed(), m.options().WithDir(m.dir+"-out").WithValueDir(m.dir+"-out").WithNumCompactors(1))
	}},
	{name: "a backup that is garbage", play: func(m *maker) error {
		return m.db().Load(bytes.NewReader([]byte{4, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}), 1)
	}},
	{name: "a backup that is cut off", means: io.ErrUnexpectedEOF, play: func(m *maker) error {
		return m.db().Load(bytes.NewReader([]byte{40, 0, 0, 0, 0, 0, 0, 0, 0xFF}), 1)
	}},

	{name: "iterator open at Discard", text: "Unclosed iterator at time of Txn.Discard.", play: func(m *maker) error {
		txn := m.db().Begin(false)
		it := txn.Iter(badger.DefaultIteratorOptions)
		err := caught(txn.Discard)
		it.Close()
		txn.Discard()
		return err
	}},
	{name: "CommitWith(nil)", text: "Nil callback provided to CommitWith", play: func(m *maker) error {
		txn := m.db().Begin(true)
		defer txn.Discard()
		return caught(func() { txn.CommitWith(nil) })
	}},
	{name: "a key iterator with a prefix", text: "opt.Prefix should be nil for NewKeyIterator.", play: func(m *maker) error {
		txn := m.db().Begin(false)
		defer txn.Discard()
		return caught(func() { txn.KeyIter([]byte("a"), badger.IteratorOptions{Prefix: []byte("a")}) })
	}},
	{name: "NewTransactionAt unmanaged", text: "Cannot use NewTransactionAt with managedDB=false. Use NewTransaction instead.", play: func(m *maker) error {
		return caught(func() { m.db().BeginAt(1, true) })
	}},
	{name: "NewWriteBatchAt unmanaged", text: "cannot use NewWriteBatchAt with managedDB=false. Use NewWriteBatch instead", play: func(m *maker) error {
		return caught(func() { m.db().NewBatchAt(1) })
	}},
	{name: "NewManagedWriteBatch unmanaged", text: "cannot use NewManagedWriteBatch with managedDB=false. Use NewWriteBatch instead", play: func(m *maker) error {
		return caught(func() { m.db().NewManagedBatch() })
	}},
	{name: "CommitAt unmanaged", text: "Cannot use CommitAt with managedDB=false. Use Commit instead.", play: func(m *maker) error {
		txn := m.db().Begin(true)
		defer txn.Discard()
		return caught(func() { _ = txn.CommitAt(1, nil) })
	}},
	{name: "SetDiscardTs unmanaged", text: "Cannot use SetDiscardTs with managedDB=false.", play: func(m *maker) error {
		return caught(func() { m.db().SetDiscardTs(1) })
	}},
	{name: "NewStreamAt unmanaged", text: "This API can only be called in managed mode.", play: func(m *maker) error {
		return caught(func() { stream(m.db(), 1) })
	}},
	{name: "NewStream managed", text: "This API can not be called in managed mode.", play: func(m *maker) error {
		return caught(func() { stream(m.managed(), 0) })
	}},
	{name: "NewTransaction managed", text: "ReadTs should not be retrieved for managed DB", play: func(m *maker) error {
		return caught(func() { m.managed().Begin(false) })
	}},
	{name: "Update managed", text: "Update can only be used with managedDB=false.", play: func(m *maker) error {
		return caught(func() { _ = m.managed().Update(func(sideTxn) error { return nil }) })
	}},
	{name: "NewWriteBatch managed", text: "cannot use NewWriteBatch in managed mode. Use NewWriteBatchAt instead", play: func(m *maker) error {
		return caught(func() { m.managed().NewBatch() })
	}},
	{name: "GetSequence managed", text: "Cannot use GetSequence with managedDB=true.", play: func(m *maker) error {
		return caught(func() { _ = sequence(m.managed(), 1) })
	}},
	{name: "Backup managed", text: "This API can not be called in managed mode.", play: func(m *maker) error {
		return caught(func() { _, _ = m.managed().Backup(io.Discard, 0) })
	}},
	{name: "GetSequence read-only", text: "Cannot use GetSequence in read-only mode.", play: func(m *maker) error {
		return caught(func() { _ = sequence(m.readOnly(), 1) })
	}},
	{name: "Flatten read-only", text: "Cannot flatten in read-only mode.", play: func(m *maker) error {
		return caught(func() { _ = m.readOnly().Flatten(1) })
	}},
	{name: "DropAll read-only", text: "Attempting to drop data in read-only mode.", play: func(m *maker) error {
		return caught(func() { _ = m.readOnly().DropAll() })
	}},
	{name: "DropPrefix read-only", text: "Attempting to drop data in read-only mode.", play: func(m *maker) error {
		return caught(func() { _ = m.readOnly().DropPrefix([]byte("a")) })
	}},
	{name: "BanNamespace read-only", text: "Cannot ban namespace in read-only mode.", play: func(m *maker) error {
		m.closed()
		db, err := m.open(m.options().WithReadOnly(true).WithNamespaceOffset(0), false)
		require.NoError(m.t, err)
		return caught(func() { _ = db.BanNamespace(1) })
	}},
}

// TestSubscriptionThatCannotBeUnderstood is no row: Badger's Close waits for ever after such an
// error.
func TestSubscriptionThatCannotBeUnderstood(t *testing.T) {
	plain, err := badger.Open(small("").WithInMemory(true)) // never closed
	require.NoError(t, err)
	layered := openSpill(t, layer(t.TempDir()))
	ignore := func(*badger.KVList) error { return nil }
	for _, matches := range [][]pb.Match{{{IgnoreBytes: "x-y"}}, {{Prefix: []byte("a"), IgnoreBytes: "3-1-2"}}} {
		want := plain.Subscribe(t.Context(), ignore, matches)
		require.Error(t, want)
		require.EqualError(t, layered.Subscribe(t.Context(), ignore, matches), want.Error())
	}
	in(t, time.Minute, "Close", func() { require.NoError(t, layered.Close()) })
}

// exportedErrors are the names of all exported errors in Badger's root package.
func exportedErrors(t *testing.T) (names []string) {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/dgraph-io/badger/v4").Output()
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "*.go"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			if vars, ok := decl.(*ast.GenDecl); ok && vars.Tok == token.VAR {
				for _, spec := range vars.Specs {
					for _, id := range spec.(*ast.ValueSpec).Names {
						if strings.HasPrefix(id.Name, "Err") {
							names = append(names, id.Name)
						}
					}
				}
			}
		}
	}
	return names
}

// TestErrorsAreAllCompared: a new error of Badger's needs a row.
func TestErrorsAreAllCompared(t *testing.T) {
	rows := map[string]errorRow{}
	for _, r := range errorRows {
		require.NotContains(t, rows, r.name)
		require.True(t, (r.play == nil) == (r.never != ""), r.name)
		rows[r.name] = r
	}
	names := exportedErrors(t)
	require.Greater(t, len(names), 25)
	for _, name := range names {
		require.Contains(t, rows, name)
		require.Error(t, rows[name].means, name)
	}
}

func TestErrorsAsInBadger(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "differences.md"))
	require.NoError(t, err)
	differences := strings.Join(strings.Fields(string(page)), " ")
	for _, r := range errorRows {
		if r.play == nil {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			plain := &maker{t: t, dir: filepath.Join(t.TempDir(), "db")}
			want := r.play(plain)
			require.Error(t, want)
			text := strings.ReplaceAll(want.Error(), plain.dir, "DIR")
			require.Contains(t, text, r.text)
			found := r.means != nil && errors.Is(want, r.means)
			if r.means != nil && !found { // Badger's own wrapping keeps the text only
				require.Contains(t, text, r.means.Error())
			}
			for _, m := range sideModes[:2] {
				t.Run(m.name, func(t *testing.T) {
					layered := &maker{t: t, dir: filepath.Join(t.TempDir(), "db"), layered: m.change}
					got := r.play(layered)
					require.Error(t, got)
					if found || r.means != nil && r.better != "" {
						require.ErrorIs(t, got, r.means)
					}
					for _, other := range errorRows { // it is nothing that Badger's is not
						if other.means != nil && other.means != r.means {
							require.NotErrorIs(t, got, other.means)
						}
					}
					text, said := text, strings.ReplaceAll(got.Error(), layered.dir, "DIR")
					if r.text != "" {
						text = r.text
					}
					require.Contains(t, said, text)
					if r.better != "" {
						require.True(t, strings.Contains(differences, r.better), "docs/differences.md does not say: %s", r.better)
					} else {
						require.Equal(t, strings.HasPrefix(want.Error(), "panic: "), strings.HasPrefix(said, "panic: "), "%v\n%v", want, got)
					}
				})
			}
		})
	}
}
