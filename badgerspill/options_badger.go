package badgerspill

import (
	"reflect"
	"time"
	"unsafe"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// This file has what Options shares with badger.Options: the way from and to it, its logging
// methods, and its With methods, which return badgerspill.Options. What each option means is said
// at badger.Options.

// OptionsFrom returns o with the layer's own options at their defaults: the way to move a program
// that already has Badger's. All of o is carried over. Options of a managed database
// (badger.DB.Opts) open a managed one here, too.
func OptionsFrom(o badger.Options) Options {
	return Options{
		Dir:                           o.Dir,
		ValueDir:                      o.ValueDir,
		SyncWrites:                    o.SyncWrites,
		NumVersionsToKeep:             o.NumVersionsToKeep,
		ReadOnly:                      o.ReadOnly,
		Logger:                        o.Logger,
		Compression:                   o.Compression,
		InMemory:                      o.InMemory,
		MetricsEnabled:                o.MetricsEnabled,
		NumGoroutines:                 o.NumGoroutines,
		MemTableSize:                  o.MemTableSize,
		BaseTableSize:                 o.BaseTableSize,
		BaseLevelSize:                 o.BaseLevelSize,
		LevelSizeMultiplier:           o.LevelSizeMultiplier,
		TableSizeMultiplier:           o.TableSizeMultiplier,
		MaxLevels:                     o.MaxLevels,
		VLogPercentile:                o.VLogPercentile,
		ValueThreshold:                o.ValueThreshold,
		NumMemtables:                  o.NumMemtables,
		BlockSize:                     o.BlockSize,
		BloomFalsePositive:            o.BloomFalsePositive,
		BlockCacheSize:                o.BlockCacheSize,
		IndexCacheSize:                o.IndexCacheSize,
		NumLevelZeroTables:            o.NumLevelZeroTables,
		NumLevelZeroTablesStall:       o.NumLevelZeroTablesStall,
		ValueLogFileSize:              o.ValueLogFileSize,
		ValueLogMaxEntries:            o.ValueLogMaxEntries,
		NumCompactors:                 o.NumCompactors,
		CompactL0OnClose:              o.CompactL0OnClose,
		LmaxCompaction:                o.LmaxCompaction,
		ZSTDCompressionLevel:          o.ZSTDCompressionLevel,
		VerifyValueChecksum:           o.VerifyValueChecksum,
		EncryptionKey:                 o.EncryptionKey,
		EncryptionKeyRotationDuration: o.EncryptionKeyRotationDuration,
		BypassLockGuard:               o.BypassLockGuard,
		ChecksumVerificationMode:      o.ChecksumVerificationMode,
		DetectConflicts:               o.DetectConflicts,
		NamespaceOffset:               o.NamespaceOffset,
		ExternalMagicVersion:          o.ExternalMagicVersion,
		managed:                       managedMark(&o).isSet(),
	}
}

// Badger returns Badger's part of opt, the mark of a managed database included: the way back from
// OptionsFrom. What only the layer knows is left out, also what FromSuperFlag has refused.
func (opt Options) Badger() badger.Options {
	o := badger.Options{
		Dir:                           opt.Dir,
		ValueDir:                      opt.ValueDir,
		SyncWrites:                    opt.SyncWrites,
		NumVersionsToKeep:             opt.NumVersionsToKeep,
		ReadOnly:                      opt.ReadOnly,
		Logger:                        opt.Logger,
		Compression:                   opt.Compression,
		InMemory:                      opt.InMemory,
		MetricsEnabled:                opt.MetricsEnabled,
		NumGoroutines:                 opt.NumGoroutines,
		MemTableSize:                  opt.MemTableSize,
		BaseTableSize:                 opt.BaseTableSize,
		BaseLevelSize:                 opt.BaseLevelSize,
		LevelSizeMultiplier:           opt.LevelSizeMultiplier,
		TableSizeMultiplier:           opt.TableSizeMultiplier,
		MaxLevels:                     opt.MaxLevels,
		VLogPercentile:                opt.VLogPercentile,
		ValueThreshold:                opt.ValueThreshold,
		NumMemtables:                  opt.NumMemtables,
		BlockSize:                     opt.BlockSize,
		BloomFalsePositive:            opt.BloomFalsePositive,
		BlockCacheSize:                opt.BlockCacheSize,
		IndexCacheSize:                opt.IndexCacheSize,
		NumLevelZeroTables:            opt.NumLevelZeroTables,
		NumLevelZeroTablesStall:       opt.NumLevelZeroTablesStall,
		ValueLogFileSize:              opt.ValueLogFileSize,
		ValueLogMaxEntries:            opt.ValueLogMaxEntries,
		NumCompactors:                 opt.NumCompactors,
		CompactL0OnClose:              opt.CompactL0OnClose,
		LmaxCompaction:                opt.LmaxCompaction,
		ZSTDCompressionLevel:          opt.ZSTDCompressionLevel,
		VerifyValueChecksum:           opt.VerifyValueChecksum,
		EncryptionKey:                 opt.EncryptionKey,
		EncryptionKeyRotationDuration: opt.EncryptionKeyRotationDuration,
		BypassLockGuard:               opt.BypassLockGuard,
		ChecksumVerificationMode:      opt.ChecksumVerificationMode,
		DetectConflicts:               opt.DetectConflicts,
		NamespaceOffset:               opt.NamespaceOffset,
		ExternalMagicVersion:          opt.ExternalMagicVersion,
	}
	if opt.managed {
		managedMark(&o).set()
	}
	return o
}

// hiddenMark is the field of badger.Options that makes Open open a managed database. It is not
// exported; OpenManaged sets it.
type hiddenMark struct{ field reflect.Value }

func managedMark(o *badger.Options) hiddenMark {
	return hiddenMark{reflect.ValueOf(o).Elem().FieldByName("managedTxns")}
}

func (m hiddenMark) isSet() bool { return m.field.IsValid() && m.field.Bool() }

// set goes past the compiler, which keeps the field to package badger.
func (m hiddenMark) set() {
	if m.field.IsValid() {
		reflect.NewAt(m.field.Type(), unsafe.Pointer(m.field.UnsafeAddr())).Elem().SetBool(true)
	}
}

// Errorf logs an error to Logger; without one it does nothing.
func (opt *Options) Errorf(format string, args ...any) {
	if opt.Logger != nil {
		opt.Logger.Errorf(format, args...)
	}
}

// Warningf logs a warning to Logger; without one it does nothing.
func (opt *Options) Warningf(format string, args ...any) {
	if opt.Logger != nil {
		opt.Logger.Warningf(format, args...)
	}
}

// Infof logs what is good to know to Logger; without one it does nothing.
func (opt *Options) Infof(format string, args ...any) {
	if opt.Logger != nil {
		opt.Logger.Infof(format, args...)
	}
}

// Debugf logs a detail to Logger; without one it does nothing.
func (opt *Options) Debugf(format string, args ...any) {
	if opt.Logger != nil {
		opt.Logger.Debugf(format, args...)
	}
}

type loggingLevel int

// The logging levels of WithLoggingLevel.
const (
	DEBUG loggingLevel = iota
	INFO
	WARNING
	ERROR
)

// WithDir is badger.Options.WithDir.
func (opt Options) WithDir(val string) Options {
	opt.Dir = val
	return opt
}

// WithValueDir is badger.Options.WithValueDir.
func (opt Options) WithValueDir(val string) Options {
	opt.ValueDir = val
	return opt
}

// WithSyncWrites is badger.Options.WithSyncWrites.
func (opt Options) WithSyncWrites(val bool) Options {
	opt.SyncWrites = val
	return opt
}

// WithNumVersionsToKeep is badger.Options.WithNumVersionsToKeep.
func (opt Options) WithNumVersionsToKeep(val int) Options {
	opt.NumVersionsToKeep = val
	return opt
}

// WithNumGoroutines is badger.Options.WithNumGoroutines.
func (opt Options) WithNumGoroutines(val int) Options {
	opt.NumGoroutines = val
	return opt
}

// WithReadOnly is badger.Options.WithReadOnly.
func (opt Options) WithReadOnly(val bool) Options {
	opt.ReadOnly = val
	return opt
}

// WithMetricsEnabled is badger.Options.WithMetricsEnabled.
func (opt Options) WithMetricsEnabled(val bool) Options {
	opt.MetricsEnabled = val
	return opt
}

// WithLogger is badger.Options.WithLogger.
func (opt Options) WithLogger(val badger.Logger) Options {
	opt.Logger = val
	return opt
}

// WithLoggingLevel returns opt with Badger's default logger at the given level, DEBUG to ERROR.
func (opt Options) WithLoggingLevel(val loggingLevel) Options {
	var theirs badger.Options
	switch {
	case val <= DEBUG:
		theirs = theirs.WithLoggingLevel(badger.DEBUG)
	case val == INFO:
		theirs = theirs.WithLoggingLevel(badger.INFO)
	case val == WARNING:
		theirs = theirs.WithLoggingLevel(badger.WARNING)
	default:
		theirs = theirs.WithLoggingLevel(badger.ERROR)
	}
	opt.Logger = theirs.Logger
	return opt
}

// WithBaseTableSize is badger.Options.WithBaseTableSize.
func (opt Options) WithBaseTableSize(val int64) Options {
	opt.BaseTableSize = val
	return opt
}

// WithLevelSizeMultiplier is badger.Options.WithLevelSizeMultiplier.
func (opt Options) WithLevelSizeMultiplier(val int) Options {
	opt.LevelSizeMultiplier = val
	return opt
}

// WithMaxLevels is badger.Options.WithMaxLevels.
func (opt Options) WithMaxLevels(val int) Options {
	opt.MaxLevels = val
	return opt
}

// WithValueThreshold is badger.Options.WithValueThreshold.
func (opt Options) WithValueThreshold(val int64) Options {
	opt.ValueThreshold = val
	return opt
}

// WithVLogPercentile is badger.Options.WithVLogPercentile.
func (opt Options) WithVLogPercentile(t float64) Options {
	opt.VLogPercentile = t
	return opt
}

// WithNumMemtables is badger.Options.WithNumMemtables.
func (opt Options) WithNumMemtables(val int) Options {
	opt.NumMemtables = val
	return opt
}

// WithMemTableSize is badger.Options.WithMemTableSize.
func (opt Options) WithMemTableSize(val int64) Options {
	opt.MemTableSize = val
	return opt
}

// WithBloomFalsePositive is badger.Options.WithBloomFalsePositive.
func (opt Options) WithBloomFalsePositive(val float64) Options {
	opt.BloomFalsePositive = val
	return opt
}

// WithBlockSize is badger.Options.WithBlockSize.
func (opt Options) WithBlockSize(val int) Options {
	opt.BlockSize = val
	return opt
}

// WithNumLevelZeroTables is badger.Options.WithNumLevelZeroTables.
func (opt Options) WithNumLevelZeroTables(val int) Options {
	opt.NumLevelZeroTables = val
	return opt
}

// WithNumLevelZeroTablesStall is badger.Options.WithNumLevelZeroTablesStall.
func (opt Options) WithNumLevelZeroTablesStall(val int) Options {
	opt.NumLevelZeroTablesStall = val
	return opt
}

// WithBaseLevelSize is badger.Options.WithBaseLevelSize.
func (opt Options) WithBaseLevelSize(val int64) Options {
	opt.BaseLevelSize = val
	return opt
}

// WithValueLogFileSize is badger.Options.WithValueLogFileSize.
func (opt Options) WithValueLogFileSize(val int64) Options {
	opt.ValueLogFileSize = val
	return opt
}

// WithValueLogMaxEntries is badger.Options.WithValueLogMaxEntries.
func (opt Options) WithValueLogMaxEntries(val uint32) Options {
	opt.ValueLogMaxEntries = val
	return opt
}

// WithNumCompactors is badger.Options.WithNumCompactors.
func (opt Options) WithNumCompactors(val int) Options {
	opt.NumCompactors = val
	return opt
}

// WithCompactL0OnClose is badger.Options.WithCompactL0OnClose.
func (opt Options) WithCompactL0OnClose(val bool) Options {
	opt.CompactL0OnClose = val
	return opt
}

// WithEncryptionKey is badger.Options.WithEncryptionKey.
func (opt Options) WithEncryptionKey(key []byte) Options {
	opt.EncryptionKey = key
	return opt
}

// WithEncryptionKeyRotationDuration is badger.Options.WithEncryptionKeyRotationDuration.
func (opt Options) WithEncryptionKeyRotationDuration(d time.Duration) Options {
	opt.EncryptionKeyRotationDuration = d
	return opt
}

// WithCompression is badger.Options.WithCompression.
func (opt Options) WithCompression(cType options.CompressionType) Options {
	opt.Compression = cType
	return opt
}

// WithVerifyValueChecksum is badger.Options.WithVerifyValueChecksum.
func (opt Options) WithVerifyValueChecksum(val bool) Options {
	opt.VerifyValueChecksum = val
	return opt
}

// WithChecksumVerificationMode is badger.Options.WithChecksumVerificationMode.
func (opt Options) WithChecksumVerificationMode(cvMode options.ChecksumVerificationMode) Options {
	opt.ChecksumVerificationMode = cvMode
	return opt
}

// WithBlockCacheSize is badger.Options.WithBlockCacheSize.
func (opt Options) WithBlockCacheSize(size int64) Options {
	opt.BlockCacheSize = size
	return opt
}

// WithInMemory is badger.Options.WithInMemory.
func (opt Options) WithInMemory(b bool) Options {
	opt.InMemory = b
	return opt
}

// WithZSTDCompressionLevel is badger.Options.WithZSTDCompressionLevel.
func (opt Options) WithZSTDCompressionLevel(cLevel int) Options {
	opt.ZSTDCompressionLevel = cLevel
	return opt
}

// WithBypassLockGuard is badger.Options.WithBypassLockGuard.
func (opt Options) WithBypassLockGuard(b bool) Options {
	opt.BypassLockGuard = b
	return opt
}

// WithIndexCacheSize is badger.Options.WithIndexCacheSize.
func (opt Options) WithIndexCacheSize(size int64) Options {
	opt.IndexCacheSize = size
	return opt
}

// WithDetectConflicts is badger.Options.WithDetectConflicts.
func (opt Options) WithDetectConflicts(b bool) Options {
	opt.DetectConflicts = b
	return opt
}

// WithNamespaceOffset is badger.Options.WithNamespaceOffset.
func (opt Options) WithNamespaceOffset(offset int) Options {
	opt.NamespaceOffset = offset
	return opt
}

// WithExternalMagic is badger.Options.WithExternalMagic.
func (opt Options) WithExternalMagic(magic uint16) Options {
	opt.ExternalMagicVersion = magic
	return opt
}
