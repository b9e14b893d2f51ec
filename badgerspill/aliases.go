package badgerspill

import (
	"fmt"
	"os"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/spillfile"
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
	// CacheType is badger.CacheType.
	CacheType = badger.CacheType
	// KeyRegistry is badger.KeyRegistry.
	KeyRegistry = badger.KeyRegistry
	// KeyRegistryOptions is badger.KeyRegistryOptions.
	KeyRegistryOptions = badger.KeyRegistryOptions
	// Manifest is badger.Manifest.
	Manifest = badger.Manifest
	// TableManifest is badger.TableManifest.
	TableManifest = badger.TableManifest
)

// DefaultIteratorOptions contains default options when iterating over key-value pairs, as
// badger.DefaultIteratorOptions.
var DefaultIteratorOptions = badger.DefaultIteratorOptions

// OpenKeyRegistry is badger.OpenKeyRegistry: it reads the data keys in opt.Dir, and creates their
// file if there is none, except read-only. Close must be called in the end. Errors:
// ErrInvalidEncryptionKey, ErrEncryptionKeyMismatch, and those of the file. It must not run beside
// an open database of that directory.
func OpenKeyRegistry(opt KeyRegistryOptions) (*KeyRegistry, error) {
	reg, err := badger.OpenKeyRegistry(opt)
	return reg, named(err)
}

// WriteKeyRegistry is badger.WriteKeyRegistry: it replaces the file of data keys in opt.Dir, in one
// step, by what reg holds, wrapped with opt.EncryptionKey. It refuses while a spill beside it holds
// commits, whose keys are wrapped with the old one: open the database and Drain it first.
func WriteKeyRegistry(reg *KeyRegistry, opt KeyRegistryOptions) error {
	if !opt.InMemory {
		lock := marker.NewInterlock(spillfile.OS, opt.Dir, "", nil)
		locked, err := lock.Present()
		if err != nil {
			return err
		}
		if locked {
			where, _, _ := lock.Read()
			return fmt.Errorf("badgerspill: the spill in %s holds commits under the old key: Drain the database before its key is changed", where)
		}
	}
	return badger.WriteKeyRegistry(reg, opt)
}

// KVToBuffer is badger.KVToBuffer: it appends kv, marshalled, to buf as one slice. It is not safe
// for concurrent use of one buf.
func KVToBuffer(kv *pb.KV, buf *z.Buffer) { badger.KVToBuffer(kv, buf) }

// BufferToKVList is badger.BufferToKVList: it unmarshals what KVToBuffer has put into buf. With an
// error the list holds what came before it.
func BufferToKVList(buf *z.Buffer) (*pb.KVList, error) { return badger.BufferToKVList(buf) }

// ReplayManifestFile is badger.ReplayManifestFile: it reads Badger's MANIFEST from fp and returns
// its state and the offset behind the last whole change. It fails on a bad checksum, and if the
// external magic number is not extMagic.
func ReplayManifestFile(fp *os.File, extMagic uint16, opt Options) (Manifest, int64, error) {
	return badger.ReplayManifestFile(fp, extMagic, opt.Badger())
}
