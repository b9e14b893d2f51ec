package badgerspill

import (
	"github.com/dgraph-io/badger/v4"
)

// ValueThresholdLimit is badger.ValueThresholdLimit.
const ValueThresholdLimit = badger.ValueThresholdLimit

// Names of files in Options.Dir, as in Badger.
const (
	// ManifestFilename is badger.ManifestFilename.
	ManifestFilename = badger.ManifestFilename
	// KeyRegistryFileName is badger.KeyRegistryFileName.
	KeyRegistryFileName = badger.KeyRegistryFileName
	// KeyRegistryRewriteFileName is badger.KeyRegistryRewriteFileName.
	KeyRegistryRewriteFileName = badger.KeyRegistryRewriteFileName
)

// The caches that DB.CacheMaxCost knows.
const (
	// BlockCache is badger.BlockCache.
	BlockCache = badger.BlockCache
	// IndexCache is badger.IndexCache.
	IndexCache = badger.IndexCache
)
