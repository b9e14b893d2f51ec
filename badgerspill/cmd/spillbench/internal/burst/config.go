package burst

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/chart"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/workspace"
)

// The engines that a burst knows by name, and the value of Config.Engine that stands for plain
// Badger and badgerspill.
const (
	Badger      = engine.Badger
	Badgerspill = engine.Badgerspill
	Log         = engine.Log
	Both        = "both"
)

// The phases of a run, in order.
const (
	PhaseCalm  = "calm"
	PhaseBurst = "burst"
	PhaseQuiet = "quiet"
)

const (
	maxRate     = 1_000_000
	maxDuration = time.Hour
	maxWriters  = 10_000
	maxPairs    = 100
	maxBase     = 100_000_000
	// maxWrites keeps the per-write records of the generator under a gigabyte.
	maxWrites = 50_000_000
)

// Config is what the command line asks for.
type Config struct {
	CalmRate  int64 `json:"calm_rate"`  // writes a second, 1 to 1,000,000, as the other rates
	BurstRate int64 `json:"burst_rate"` // writes a second
	QuietRate int64 `json:"quiet_rate"` // writes a second

	Calm  time.Duration `json:"calm_ns"` // 0 to 1 h, 0 leaves the phase out, as the other two
	Burst time.Duration `json:"burst_ns"`
	Quiet time.Duration `json:"quiet_ns"`
	// Backlog is how long after the last phase overdue writes may still be sent and the spill may
	// still be replayed, 0 to 1 h.
	Backlog time.Duration `json:"backlog_ns"`
	// Base is how many entries the database holds before the load, none of which the load
	// overwrites, 0 to 100,000,000. Each engine makes its own once, and each run gets a copy.
	Base int64 `json:"base,omitempty"`

	// bytes, openloop.MinValueSize to openloop.MaxValueSize
	ValueSize int  `json:"value_size"`
	Writers   int  `json:"writers"` // 1 to 10,000
	Sync      bool `json:"sync"`    // SyncWrites in every engine
	// of Badger and the layer, as engine.Options.Superflag
	Options string `json:"options,omitempty"`
	Seed    uint64 `json:"seed"` // of keys and values
	// percentage of the operations that read a key acknowledged shortly before, 0 to 100
	Reads int `json:"reads"`

	Engine string `json:"engine"` // engines to run, in order, separated by commas; or Both
	// Mended is an executable like this one, built on a mended Badger, for engines that want one.
	Mended string `json:"mended,omitempty"`
	// how often to run them all, 1 to 100, in turns forwards and backwards
	Pairs int    `json:"pairs"`
	Dir   string `json:"-"` // empty: a temporary one
	Keep  bool   `json:"-"` // keep the temporary one
	JSON  bool   `json:"-"` // result as JSON instead of a table

	Plot string `json:"-"` // file for a figure, .svg or .png; empty: none
	HTML string `json:"-"` // file for a page, .html or .htm; empty: none
	// Serve is the address to show badgerspill at while it runs, a host and a port; empty: none
	Serve string `json:"-"`
	Data  string `json:"-"` // file for what the figure draws, .json; empty: none
}

// DefaultConfig shows what the layer does with its defaults: in the calm phase commits go to
// Badger, in the burst to the spill, and in the quiet phase the spill is replayed. CalmRate and
// QuietRate are a quarter of badgerspill.DefaultSpillRate, and quiet is below half of it. So a
// pause of half a second, after which all that was due comes at once, changes neither phase. It
// takes less than three minutes on two cores, and less than 3 GB of disk.
func DefaultConfig() Config {
	return Config{
		CalmRate: 250, BurstRate: 60_000, QuietRate: 250,
		Calm: 10 * time.Second, Burst: 20 * time.Second, Quiet: 30 * time.Second,
		Backlog:   20 * time.Second,
		ValueSize: 1 << 10, Writers: 64, Seed: 1, Engine: Both, Pairs: 1,
	}
}

// Validate returns a *flagcheck.Error for the first value that is out of its bounds.
func (c Config) Validate() error {
	for _, f := range []struct {
		flag     string
		value    int64
		low, top int64
	}{
		{"--calm-rate", c.CalmRate, 1, maxRate},
		{"--burst-rate", c.BurstRate, 1, maxRate},
		{"--quiet-rate", c.QuietRate, 1, maxRate},
		{"--value-size", int64(c.ValueSize), openloop.MinValueSize, openloop.MaxValueSize},
		{"--base", c.Base, 0, maxBase},
		{"--writers", int64(c.Writers), 1, maxWriters},
		{"--reads", int64(c.Reads), 0, 100},
		{"--pairs", int64(c.Pairs), 1, maxPairs},
	} {
		if err := flagcheck.Between(f.flag, f.value, f.low, f.top); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		flag  string
		value time.Duration
	}{
		{"--calm", c.Calm}, {"--burst", c.Burst}, {"--quiet", c.Quiet}, {"--backlog", c.Backlog},
	} {
		if err := flagcheck.Between(f.flag, f.value, 0, maxDuration); err != nil {
			return err
		}
	}
	if err := c.validateEngine(); err != nil {
		return err
	}
	if err := c.validateServe(); err != nil {
		return err
	}
	if _, ok := chart.FormatOf(c.Plot); c.Plot != "" && !ok {
		return flagcheck.New("--plot", c.Plot, "must end in .svg or .png")
	}
	if ext := strings.ToLower(filepath.Ext(c.HTML)); c.HTML != "" && ext != ".html" && ext != ".htm" {
		return flagcheck.New("--html", c.HTML, "must end in .html or .htm")
	}
	if c.Data != "" && strings.ToLower(filepath.Ext(c.Data)) != ".json" {
		return flagcheck.New("--data", c.Data, "must end in .json")
	}
	for _, p := range c.phases() {
		if p.Duration > 0 && p.Writes() == 0 {
			return flagcheck.New("--"+p.Name, p.Duration,
				"must be long enough for one write at %d/s, or 0s to leave the phase out", p.Rate)
		}
	}
	if err := (engine.Options{Superflag: c.Options}).Check(); err != nil {
		return flagcheck.New("--options", fmt.Sprintf("%q", c.Options), "%v", err)
	}
	switch n := c.schedule().Total(); {
	case n == 0:
		return flagcheck.New("--burst", "0s", "must be above 0s when --calm and --quiet are 0s too")
	case n > maxWrites:
		return flagcheck.New("--burst", c.Burst, "all phases together make %d writes, must be at most %d", n, maxWrites)
	}
	return nil
}

func (c Config) phases() []openloop.Phase {
	return []openloop.Phase{
		{Name: PhaseCalm, Rate: c.CalmRate, Duration: c.Calm},
		{Name: PhaseBurst, Rate: c.BurstRate, Duration: c.Burst},
		{Name: PhaseQuiet, Rate: c.QuietRate, Duration: c.Quiet},
	}
}

func (c Config) workload() *openloop.Workload { return openloop.NewWorkload(c.Seed, c.ValueSize) }

func (c Config) schedule() *openloop.Schedule { return openloop.NewSchedule(c.phases()...) }

// engines returns the engines to run, in order.
func (c Config) engines() []string {
	if c.Engine == Both {
		return []string{Badger, Badgerspill}
	}
	return strings.Split(c.Engine, ",")
}

func (c Config) validateEngine() error {
	known := engine.Names()
	named := map[string]bool{}
	for _, name := range c.engines() {
		if !slices.Contains(known, name) {
			last := len(known) - 1
			return flagcheck.New("--engine", fmt.Sprintf("%q", c.Engine), "must be %s, or some of %s and %s, separated by commas",
				Both, strings.Join(known[:last], ", "), known[last])
		}
		if _, mended := engine.Mended(name); mended && c.Mended == "" {
			return flagcheck.New("--mended", `""`, "must name an executable to run %s", name)
		}
		if named[name] {
			return flagcheck.New("--engine", fmt.Sprintf("%q", c.Engine), "must name %s once", name)
		}
		named[name] = true
	}
	return nil
}

// turn is one engine in one of the runs of all.
type turn struct {
	run    int // from 1
	engine string
}

// turns returns what to run, in order. Every second run goes backwards, so that what changes with
// time on the machine favours none.
func (c Config) turns() (all []turn) {
	for run := 1; run <= c.Pairs; run++ {
		engines := c.engines()
		if run%2 == 0 {
			slices.Reverse(engines)
		}
		for _, name := range engines {
			all = append(all, turn{run, name})
		}
	}
	return all
}

// name is that of the turn's directory.
func (t turn) name() string {
	if t.run == 1 {
		return t.engine
	}
	return fmt.Sprintf("%s-%d", t.engine, t.run)
}

// workspace asks for a directory that holds the run.
func (c Config) workspace() workspace.Options {
	return workspace.Options{
		Dir: c.Dir, Keep: c.Keep, Prefix: "spillbench-burst-",
		Need: c.need(), Advice: "lower --burst-rate, --burst, --base or --value-size",
	}
}

// need estimates how many bytes of disk a run takes at its peak.
func (c Config) need() int64 {
	data := c.keysAndValues()
	// The tables, and beside them either what compaction is rewriting or the spill that is being
	// replayed, each at most as large as the data; and Badger's logs.
	const logs = 512 << 20
	need := 2*data + logs + int64(len(c.engines())+1)*2*c.Base*c.entryBytes()
	if kept := c.Dir != "" || c.Keep; kept {
		before := int64(len(c.turns()) - 1) // databases that are still there
		left := data + logs + c.Base*c.entryBytes()
		if before > 0 && left > (math.MaxInt64/2-need)/before {
			return math.MaxInt64 / 2
		}
		need += before * left
	}
	return need
}

// entryBytes is what an entry takes: a key, its timestamp, and what Badger stores beside them come
// to about 32 bytes.
func (c Config) entryBytes() int64 { return int64(c.ValueSize) + openloop.KeySize + 32 }

// keysAndValues is how many bytes the load holds, before any compression.
func (c Config) keysAndValues() int64 {
	per := c.entryBytes()
	n := c.schedule().Total()
	if n > math.MaxInt64/per/4 {
		return math.MaxInt64 / 4
	}
	return n * per
}
