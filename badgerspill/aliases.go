package badgerspill

import (
	"github.com/dgraph-io/badger/v4"
)

// Types of Badger that carry no state which the layer must see.
type (
	// IteratorOptions is badger.IteratorOptions.
	IteratorOptions = badger.IteratorOptions
	// Logger is badger.Logger.
	Logger = badger.Logger
	// KVList is badger.KVList.
	KVList = badger.KVList
	// TableInfo is badger.TableInfo.
	TableInfo = badger.TableInfo
	// LevelInfo is badger.LevelInfo.
	LevelInfo = badger.LevelInfo
)

// DefaultIteratorOptions contains default options when iterating over key-value pairs, as badger.DefaultIteratorOptions.
var DefaultIteratorOptions = badger.DefaultIteratorOptions

// ValueThresholdLimit is badger.ValueThresholdLimit.
const ValueThresholdLimit = badger.ValueThresholdLimit
