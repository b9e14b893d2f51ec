package badgerspill

import (
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// This file repeats the With methods of badger.Options so that they return badgerspill.Options. What each option means
// is said at badger.Options.

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
	opt.Options = opt.Options.WithDir(val)
	return opt
}

// WithValueDir is badger.Options.WithValueDir.
func (opt Options) WithValueDir(val string) Options {
	opt.Options = opt.Options.WithValueDir(val)
	return opt
}

// WithSyncWrites is badger.Options.WithSyncWrites.
func (opt Options) WithSyncWrites(val bool) Options {
	opt.Options = opt.Options.WithSyncWrites(val)
	return opt
}

// WithNumVersionsToKeep is badger.Options.WithNumVersionsToKeep.
func (opt Options) WithNumVersionsToKeep(val int) Options {
	opt.Options = opt.Options.WithNumVersionsToKeep(val)
	return opt
}

// WithNumGoroutines is badger.Options.WithNumGoroutines.
func (opt Options) WithNumGoroutines(val int) Options {
	opt.Options = opt.Options.WithNumGoroutines(val)
	return opt
}

// WithReadOnly is badger.Options.WithReadOnly.
func (opt Options) WithReadOnly(val bool) Options {
	opt.Options = opt.Options.WithReadOnly(val)
	return opt
}

// WithMetricsEnabled is badger.Options.WithMetricsEnabled.
func (opt Options) WithMetricsEnabled(val bool) Options {
	opt.Options = opt.Options.WithMetricsEnabled(val)
	return opt
}

// WithLogger is badger.Options.WithLogger.
func (opt Options) WithLogger(val badger.Logger) Options {
	opt.Options = opt.Options.WithLogger(val)
	return opt
}

// WithLoggingLevel returns opt with Badger's default logger at the given level, DEBUG to ERROR.
func (opt Options) WithLoggingLevel(val loggingLevel) Options {
	switch {
	case val <= DEBUG:
		opt.Options = opt.Options.WithLoggingLevel(badger.DEBUG)
	case val == INFO:
		opt.Options = opt.Options.WithLoggingLevel(badger.INFO)
	case val == WARNING:
		opt.Options = opt.Options.WithLoggingLevel(badger.WARNING)
	default:
		opt.Options = opt.Options.WithLoggingLevel(badger.ERROR)
	}
	return opt
}

// WithBaseTableSize is badger.Options.WithBaseTableSize.
func (opt Options) WithBaseTableSize(val int64) Options {
	opt.Options = opt.Options.WithBaseTableSize(val)
	return opt
}

// WithLevelSizeMultiplier is badger.Options.WithLevelSizeMultiplier.
func (opt Options) WithLevelSizeMultiplier(val int) Options {
	opt.Options = opt.Options.WithLevelSizeMultiplier(val)
	return opt
}

// WithMaxLevels is badger.Options.WithMaxLevels.
func (opt Options) WithMaxLevels(val int) Options {
	opt.Options = opt.Options.WithMaxLevels(val)
	return opt
}

// WithValueThreshold is badger.Options.WithValueThreshold.
func (opt Options) WithValueThreshold(val int64) Options {
	opt.Options = opt.Options.WithValueThreshold(val)
	return opt
}

// WithVLogPercentile is badger.Options.WithVLogPercentile.
func (opt Options) WithVLogPercentile(t float64) Options {
	opt.Options = opt.Options.WithVLogPercentile(t)
	return opt
}

// WithNumMemtables is badger.Options.WithNumMemtables.
func (opt Options) WithNumMemtables(val int) Options {
	opt.Options = opt.Options.WithNumMemtables(val)
	return opt
}

// WithMemTableSize is badger.Options.WithMemTableSize.
func (opt Options) WithMemTableSize(val int64) Options {
	opt.Options = opt.Options.WithMemTableSize(val)
	return opt
}

// WithBloomFalsePositive is badger.Options.WithBloomFalsePositive.
func (opt Options) WithBloomFalsePositive(val float64) Options {
	opt.Options = opt.Options.WithBloomFalsePositive(val)
	return opt
}

// WithBlockSize is badger.Options.WithBlockSize.
func (opt Options) WithBlockSize(val int) Options {
	opt.Options = opt.Options.WithBlockSize(val)
	return opt
}

// WithNumLevelZeroTables is badger.Options.WithNumLevelZeroTables.
func (opt Options) WithNumLevelZeroTables(val int) Options {
	opt.Options = opt.Options.WithNumLevelZeroTables(val)
	return opt
}

// WithNumLevelZeroTablesStall is badger.Options.WithNumLevelZeroTablesStall.
func (opt Options) WithNumLevelZeroTablesStall(val int) Options {
	opt.Options = opt.Options.WithNumLevelZeroTablesStall(val)
	return opt
}

// WithBaseLevelSize is badger.Options.WithBaseLevelSize.
func (opt Options) WithBaseLevelSize(val int64) Options {
	opt.Options = opt.Options.WithBaseLevelSize(val)
	return opt
}

// WithValueLogFileSize is badger.Options.WithValueLogFileSize.
func (opt Options) WithValueLogFileSize(val int64) Options {
	opt.Options = opt.Options.WithValueLogFileSize(val)
	return opt
}

// WithValueLogMaxEntries is badger.Options.WithValueLogMaxEntries.
func (opt Options) WithValueLogMaxEntries(val uint32) Options {
	opt.Options = opt.Options.WithValueLogMaxEntries(val)
	return opt
}

// WithNumCompactors is badger.Options.WithNumCompactors.
func (opt Options) WithNumCompactors(val int) Options {
	opt.Options = opt.Options.WithNumCompactors(val)
	return opt
}

// WithCompactL0OnClose is badger.Options.WithCompactL0OnClose.
func (opt Options) WithCompactL0OnClose(val bool) Options {
	opt.Options = opt.Options.WithCompactL0OnClose(val)
	return opt
}

// WithEncryptionKey is badger.Options.WithEncryptionKey.
func (opt Options) WithEncryptionKey(key []byte) Options {
	opt.Options = opt.Options.WithEncryptionKey(key)
	return opt
}

// WithEncryptionKeyRotationDuration is badger.Options.WithEncryptionKeyRotationDuration.
func (opt Options) WithEncryptionKeyRotationDuration(d time.Duration) Options {
	opt.Options = opt.Options.WithEncryptionKeyRotationDuration(d)
	return opt
}

// WithCompression is badger.Options.WithCompression.
func (opt Options) WithCompression(cType options.CompressionType) Options {
	opt.Options = opt.Options.WithCompression(cType)
	return opt
}

// WithVerifyValueChecksum is badger.Options.WithVerifyValueChecksum.
func (opt Options) WithVerifyValueChecksum(val bool) Options {
	opt.Options = opt.Options.WithVerifyValueChecksum(val)
	return opt
}

// WithChecksumVerificationMode is badger.Options.WithChecksumVerificationMode.
func (opt Options) WithChecksumVerificationMode(cvMode options.ChecksumVerificationMode) Options {
	opt.Options = opt.Options.WithChecksumVerificationMode(cvMode)
	return opt
}

// WithBlockCacheSize is badger.Options.WithBlockCacheSize.
func (opt Options) WithBlockCacheSize(size int64) Options {
	opt.Options = opt.Options.WithBlockCacheSize(size)
	return opt
}

// WithInMemory is badger.Options.WithInMemory.
func (opt Options) WithInMemory(b bool) Options {
	opt.Options = opt.Options.WithInMemory(b)
	return opt
}

// WithZSTDCompressionLevel is badger.Options.WithZSTDCompressionLevel.
func (opt Options) WithZSTDCompressionLevel(cLevel int) Options {
	opt.Options = opt.Options.WithZSTDCompressionLevel(cLevel)
	return opt
}

// WithBypassLockGuard is badger.Options.WithBypassLockGuard.
func (opt Options) WithBypassLockGuard(b bool) Options {
	opt.Options = opt.Options.WithBypassLockGuard(b)
	return opt
}

// WithIndexCacheSize is badger.Options.WithIndexCacheSize.
func (opt Options) WithIndexCacheSize(size int64) Options {
	opt.Options = opt.Options.WithIndexCacheSize(size)
	return opt
}

// WithDetectConflicts is badger.Options.WithDetectConflicts.
func (opt Options) WithDetectConflicts(b bool) Options {
	opt.Options = opt.Options.WithDetectConflicts(b)
	return opt
}

// WithNamespaceOffset is badger.Options.WithNamespaceOffset.
func (opt Options) WithNamespaceOffset(offset int) Options {
	opt.Options = opt.Options.WithNamespaceOffset(offset)
	return opt
}

// WithExternalMagic is badger.Options.WithExternalMagic.
func (opt Options) WithExternalMagic(magic uint16) Options {
	opt.Options = opt.Options.WithExternalMagic(magic)
	return opt
}

// FromSuperFlag is badger.Options.FromSuperFlag: it reads Badger's options from a superflag string. The layer's own are kept.
func (opt Options) FromSuperFlag(superflag string) Options {
	opt.Options = opt.Options.FromSuperFlag(superflag)
	return opt
}
