package burst

import (
	"context"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// Engine is what a burst needs of an engine.Engine. All methods are safe for concurrent use, except
// Close.
type Engine interface {
	openloop.Reader
	Writer() func(key, value []byte) error
	Batch() engine.Batch
	Levels() []badger.LevelInfo
	Layer() *engine.Layer
	Drain(ctx context.Context) error
	Close() error
}

// OpenFunc opens the named engine in dir, which exists.
type OpenFunc func(name, dir string, opt engine.Options) (Engine, error)

// OpenEngine is an OpenFunc: engine.Open.
func OpenEngine(name, dir string, opt engine.Options) (Engine, error) {
	return engine.Open(name, dir, opt)
}
