package spillfile

import (
	"fmt"
	"time"

	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/filepool"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
)

// Bounds and default of Options.SegmentSize, in bytes.
const (
	MinSegmentSize     int64 = 4 << 10
	MaxSegmentSize     int64 = 1 << 30
	DefaultSegmentSize int64 = 64 << 20
)

// Bounds of Options.OpenFiles.
const (
	MinOpenFiles     = filepool.Min
	DefaultOpenFiles = filepool.Default
)

// RecoveryProgress is how far Open has come.
type RecoveryProgress = recovery.Progress

// Options configures Open.
type Options struct {
	// Dir holds the segments. Created with mode 0700 if missing; one Log at a time may write to it.
	Dir string
	// FS is the file system; nil is OS.
	FS FS
	// DatabaseID is the identity of the database that the commits belong to. A spill that holds
	// commits of another one is refused; an empty spill is adopted, unless Existing is set.
	DatabaseID [16]byte
	// Existing says that the database has a spill already, which must be this one.
	Existing bool
	// SegmentSize in bytes is where a segment is sealed; 0 is DefaultSegmentSize. A group of
	// commits that is larger has a segment of its own.
	SegmentSize int64
	// IndexArena is the memory in bytes of the index of the segment that is being written; the
	// segment is sealed when that is full, or earlier at SegmentSize. 0 is a quarter of
	// SegmentSize, within 1 and 64 MiB. A group of commits that needs more has it.
	IndexArena int64
	// CacheSize bounds the memory in bytes for decoded blocks of indexes and segments that point
	// reads have asked for; 0 or less is no cache.
	CacheSize int64
	// OpenFiles bounds the descriptors that the Log takes: for the files of segments and indexes,
	// which are opened when they are read, and for all else. At least MinOpenFiles; 0 is
	// DefaultOpenFiles. Each sealed segment that is not synced yet takes one; where they get to a
	// fourth of the bound, the next commit waits for the oldest.
	OpenFiles int
	// SyncWrites makes every commit durable against a power cut before it is acknowledged, not only
	// against a killed process.
	SyncWrites bool
	// EncryptionKey of 16, 24 or 32 bytes (AES-128, -192, -256) encrypts new segments; empty writes
	// plaintext.
	EncryptionKey []byte
	// Deferred makes nothing on disk, and looks at nothing there, before Make is called. Until then
	// the Log is empty and takes no batches. Dir must not hold a spill, and DatabaseID is not used.
	Deferred bool
	// ReadOnly writes nothing at all, not even a recovery. Several readers may have one directory
	// open, but not beside a writer.
	ReadOnly bool

	// OnRecovery is called by Open for each MiB of segments that it has read, and when it has read
	// all.
	OnRecovery func(RecoveryProgress)
	// OnFirst is called before a batch is written to an empty log, and again if that write failed.
	// What it sets up must be durable when it returns; its error fails the batches at hand. Empty()
	// is false from before this call until the batch failed or was replayed. Called without locks
	// of the Log held.
	OnFirst func() error
	// OnCommit is called once for every group of batches, in log order, after it was written,
	// synced (under SyncWrites) and indexed, and before any Commit of the group returns; with an
	// error if the group failed. Called without locks of the Log held, by a committing goroutine:
	// it should be quick. The slice is valid only during the call, detached batches too.
	OnCommit func(batches []*Batch, err error)
	// OnEvent is called without locks of the Log held, by whichever goroutine caused an event, or
	// by one that calls it already, in the order of events; it should be quick and must not call
	// Close. Open calls it for what it dropped.
	OnEvent func(Event)
	// OnIndexed is called when indexes have gone from memory, to files or with an empty log: Usage
	// is less than it was. It is called like OnEvent.
	OnIndexed func()
	// Now is the wall clock, which dates segments; nil is time.Now. Only ages of what an earlier
	// process has left are told by it.
	Now func() time.Time
	// Logf takes a line about what an operator should know; nil drops it. It must not call the Log.
	Logf func(format string, args ...any)
}

func (o *Options) check() error {
	if err := recovery.CheckDir(o.Dir); err != nil {
		return err
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	if o.SegmentSize < MinSegmentSize || o.SegmentSize > MaxSegmentSize {
		return fmt.Errorf("%w: SegmentSize is %d, want %d to %d", ErrOptions, o.SegmentSize, MinSegmentSize, MaxSegmentSize)
	}
	if o.IndexArena == 0 {
		o.IndexArena = index.ArenaSize(o.SegmentSize)
	}
	if o.IndexArena < index.LeastArena || o.IndexArena > index.MaxArena {
		return fmt.Errorf("%w: IndexArena is %d, want %d to %d", ErrOptions, o.IndexArena, index.LeastArena, index.MaxArena)
	}
	if o.OpenFiles == 0 {
		o.OpenFiles = DefaultOpenFiles
	}
	if o.OpenFiles < MinOpenFiles {
		return fmt.Errorf("%w: OpenFiles is %d, want at least %d", ErrOptions, o.OpenFiles, MinOpenFiles)
	}
	if err := recovery.CheckKey(o.EncryptionKey); err != nil {
		return err
	}
	if o.FS == nil {
		o.FS = OS
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	if o.OnCommit == nil {
		o.OnCommit = func([]*Batch, error) {}
	}
	if o.OnRecovery == nil {
		o.OnRecovery = func(RecoveryProgress) {}
	}
	if o.OnIndexed == nil {
		o.OnIndexed = func() {}
	}
	if o.OnFirst == nil {
		o.OnFirst = func() error { return nil }
	}
	return nil
}

// recovery returns what recovery needs of checked options.
func (o *Options) recovery() recovery.Options {
	return recovery.Options{Dir: o.Dir, FS: o.FS, DatabaseID: o.DatabaseID, EncryptionKey: o.EncryptionKey, ReadOnly: o.ReadOnly,
		OpenFiles: o.OpenFiles, CacheSize: o.CacheSize, Progress: o.OnRecovery, Logf: o.Logf}
}

// source names the spill for who looks at it.
func (o *Options) source() check.Source {
	return check.Source{Dir: o.Dir, FS: o.FS, EncryptionKey: o.EncryptionKey}
}
