package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

const (
	maxPairs    = 100
	minScale    = 1e-4
	maxScale    = 100
	minDuration = time.Second
	maxDuration = time.Hour

	minSettledFor = 10 * time.Millisecond

	maxRate = 500_000
	// maxOffered keeps the per-write records of the load generator near a gigabyte.
	maxOffered = 100_000_000

	// mostRate is above what two cores take of writers that wait for their answers, a second.
	mostRate = 250_000

	defaultValueSize = 1 << 10
	defaultBase      = 1_000_000
	minBase          = 1000
	maxBase          = 100_000_000

	writers = 64
)

// Config is what the command line asks for.
type Config struct {
	Pairs int     `json:"pairs"` // 1 to 100
	Scale float64 `json:"scale"` // of sizes and times, 1e-4 to 100; 1 = as they are described
	// Base is how many entries a database holds before the run, where it holds some, before
	// scaling, 1e3 to 1e8.
	Base int64 `json:"base"`
	// OwnBase has each engine make the database that its runs begin with, and so choose the shape
	// of its tree. Otherwise all begin with a copy of one of plain Badger's.
	OwnBase bool `json:"own_base,omitempty"`
	// ValueSize is the size of values in bytes, openloop.MinValueSize to openloop.MaxValueSize.
	ValueSize int `json:"value_size"`

	Duration time.Duration `json:"duration_ns"`
	// Rate is how many writes a second plain Badger sustains, for the case that offers twice as
	// many. 0 = measure it.
	Rate int64 `json:"rate"`
	// SettledFor is how long nothing may change until a database counts as settled, 10 ms to 1 h.
	SettledFor time.Duration `json:"settled_for_ns"`

	// Against is the engine that badgerspill is compared with. Cases that begin with a database of
	// plain Badger's take no other without OwnBase.
	Against string `json:"against"`
	// Engine is the engine that is compared: badgerspill, on Badger as released or mended.
	Engine string `json:"engine"`
	// Mended is an executable like this one, built on a mended Badger.
	Mended string `json:"mended,omitempty"`

	Seed uint64 `json:"seed"` // of keys and values

	Options string `json:"options,omitempty"` // of both engines, as engine.Options.Superflag

	Dir  string `json:"-"` // empty: a temporary one
	Keep bool   `json:"-"` // keep the databases
	JSON bool   `json:"-"` // result as JSON instead of a table
}

// DefaultConfig runs one pair at full size.
func DefaultConfig() Config {
	return Config{
		Pairs: 1, Scale: 1, Base: defaultBase, ValueSize: defaultValueSize,
		Duration: 5 * time.Minute, SettledFor: time.Second, Against: engine.Badger, Engine: engine.Badgerspill, Seed: 1,
	}
}

// Validate returns a *flagcheck.Error for the first value that is out of its bounds.
func (c Config) Validate() error {
	if err := flagcheck.Between("--pairs", c.Pairs, 1, maxPairs); err != nil {
		return err
	}
	if err := flagcheck.Between("--scale", c.Scale, minScale, maxScale); err != nil {
		return err
	}
	if err := flagcheck.Between("--base", c.Base, minBase, maxBase); err != nil {
		return err
	}
	if err := flagcheck.Between("--value-size", c.ValueSize, openloop.MinValueSize, openloop.MaxValueSize); err != nil {
		return err
	}
	if err := flagcheck.Between("--duration", c.Duration, minDuration, maxDuration); err != nil {
		return err
	}
	if err := flagcheck.Between("--settled-for", c.SettledFor, minSettledFor, maxDuration); err != nil {
		return err
	}
	if err := flagcheck.Between("--rate", c.Rate, 0, maxRate); err != nil {
		return err
	}
	layers, others := Engines()
	if !slices.Contains(layers, c.Engine) {
		return flagcheck.New("--engine", fmt.Sprintf("%q", c.Engine), "must be one of %s", strings.Join(layers, ", "))
	}
	if !slices.Contains(others, c.Against) {
		return flagcheck.New("--against", fmt.Sprintf("%q", c.Against), "must be one of %s", strings.Join(others, ", "))
	}
	for _, name := range []string{c.Against, c.Engine} {
		if _, mended := engine.Mended(name); mended && c.Mended == "" {
			return flagcheck.New("--mended", `""`, "must name an executable to run %s", name)
		}
	}
	if err := (engine.Options{Superflag: c.Options}).Check(); err != nil {
		return flagcheck.New("--options", fmt.Sprintf("%q", c.Options), "%v", err)
	}
	if n := c.offered(float64(c.Rate)).Writes(); n > maxOffered {
		return flagcheck.New("--rate", c.Rate, "makes %d writes in %v, must be at most %d", n, c.Duration, maxOffered)
	}
	return nil
}

// offered is the load of a store that is offered twice what it sustains, in writes a second.
func (c Config) offered(sustained float64) openloop.Phase {
	return openloop.Phase{Name: "overload", Rate: int64(2 * sustained), Duration: c.Duration}
}

// engines returns the engines of a pair.
func (c Config) engines() []string { return []string{c.Against, c.Engine} }

// scaled returns n at the scale of the run, at least 1.
func (c Config) scaled(n int64) int64 { return max(int64(float64(n)*c.Scale), 1) }

// scaledTime returns how long a load of d is at the scale of the run. From a second on there is
// something to see.
func (c Config) scaledTime(d time.Duration) time.Duration {
	return max(time.Duration(float64(d)*c.Scale), time.Second)
}

// writtenIn is more than what any engine takes in d at the scale of the run, for the disk space
// that a case asks for.
func (c Config) writtenIn(d time.Duration) int64 {
	return mostRate * int64(math.Ceil(c.scaledTime(d).Seconds()))
}

// preloaded is how many entries the database holds before the run, where it holds some: slots 0 to
// preloaded-1.
func (c Config) preloaded() int64 { return c.scaled(c.Base) }

// written is how many entries a burst has.
func (c Config) written() int64 { return c.scaled(1_200_000) }

// ofBytes is how many entries have so many bytes of values, before scaling.
func (c Config) ofBytes(n int64) int64 { return c.scaled(n / int64(c.ValueSize)) }

func (c Config) workload() *openloop.Workload { return openloop.NewWorkload(c.Seed, c.ValueSize) }

// diskBytes is about what n entries take on disk while Badger rewrites them or the spill holds them
// too: twice their size, with about 32 bytes each for what Badger stores beside a key.
func (c Config) diskBytes(n int64) int64 {
	return 2 * n * (int64(c.ValueSize) + openloop.KeySize + 32)
}

// Engines returns the names of the engines that a case measures, and of those that it may compare
// them with.
func Engines() (layers, others []string) { return slicesOf(engine.Names(), layered) }

// slicesOf returns the names that are so, and the others.
func slicesOf(names []string, is func(string) bool) (those, others []string) {
	for _, name := range names {
		if is(name) {
			those = append(those, name)
		} else {
			others = append(others, name)
		}
	}
	return those, others
}
