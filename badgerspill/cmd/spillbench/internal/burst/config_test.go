package burst

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
)

func TestDefaultsAreValidAndKeepTheirPromises(t *testing.T) {
	c := DefaultConfig()
	require.NoError(t, c.Validate())
	require.Equal(t, 64, c.Writers)
	require.EqualValues(t, 60_000*20, c.phases()[1].Writes())
	require.LessOrEqual(t, 2*(c.schedule().End()+c.Backlog), 2*time.Minute, "leaves a minute for the last replay, closing and checking")
	require.Less(t, c.need(), int64(3_400_000_000), "about 3 GB of disk")
}

func TestBadValuesNameFlagValueAndBound(t *testing.T) {
	for _, row := range []struct {
		name string
		set  func(*Config)
		want string
	}{
		{"no calm rate", func(c *Config) { c.CalmRate = 0 }, "--calm-rate 0: must be between 1 and 1000000"},
		{"burst rate too high", func(c *Config) { c.BurstRate = 1_000_001 }, "--burst-rate 1000001: must be between 1 and 1000000"},
		{"negative quiet rate", func(c *Config) { c.QuietRate = -5 }, "--quiet-rate -5: must be between 1 and 1000000"},
		{"negative duration", func(c *Config) { c.Calm = -time.Second }, "--calm -1s: must be between 0s and 1h0m0s"},
		{"burst too long", func(c *Config) { c.Burst = 2 * time.Hour }, "--burst 2h0m0s: must be between 0s and 1h0m0s"},
		{"quiet too long", func(c *Config) { c.Quiet = 61 * time.Minute }, "--quiet 1h1m0s: must be between 0s and 1h0m0s"},
		{"negative backlog", func(c *Config) { c.Backlog = -1 }, "--backlog -1ns: must be between 0s and 1h0m0s"},
		{"value without room for its stamp", func(c *Config) { c.ValueSize = 15 }, "--value-size 15: must be between 16 and 1048576"},
		{"value for the value log", func(c *Config) { c.ValueSize = 1<<20 + 1 }, "--value-size 1048577: must be between 16 and 1048576"},
		{"no writers", func(c *Config) { c.Writers = 0 }, "--writers 0: must be between 1 and 10000"},
		{"too many writers", func(c *Config) { c.Writers = 10_001 }, "--writers 10001: must be between 1 and 10000"},
		{"unknown engine", func(c *Config) { c.Engine = "rocksdb" }, `--engine "rocksdb": must be both, or some of badger, badgerspill, log, pebble, badger-mended and badgerspill-mended, separated by commas`},
		{"both and another", func(c *Config) { c.Engine = "both,log" }, `--engine "both,log": must be both, or some of badger, badgerspill, log, pebble, badger-mended and badgerspill-mended, separated by commas`},
		{"no engine", func(c *Config) { c.Engine = "" }, `--engine "": must be both, or some of badger, badgerspill, log, pebble, badger-mended and badgerspill-mended, separated by commas`},
		{"engine named twice", func(c *Config) { c.Engine = "log,badger,log" }, `--engine "log,badger,log": must name log once`},
		{"more reads than operations", func(c *Config) { c.Reads = 101 }, "--reads 101: must be between 0 and 100"},
		{"negative reads", func(c *Config) { c.Reads = -1 }, "--reads -1: must be between 0 and 100"},
		{"no run", func(c *Config) { c.Pairs = 0 }, "--pairs 0: must be between 1 and 100"},
		{"too many runs", func(c *Config) { c.Pairs = 101 }, "--pairs 101: must be between 1 and 100"},
		{"figure of another kind", func(c *Config) { c.Plot = "burst.pdf" }, "--plot burst.pdf: must end in .svg or .png"},
		{"figure without a kind", func(c *Config) { c.Plot = "/tmp/svg" }, "--plot /tmp/svg: must end in .svg or .png"},
		{"page of another kind", func(c *Config) { c.HTML = "burst.svg" }, "--html burst.svg: must end in .html or .htm"},
		{"data of another kind", func(c *Config) { c.Data = "burst.svg" }, "--data burst.svg: must end in .json"},
		{"phase too short for a write", func(c *Config) { c.Quiet = time.Millisecond },
			"--quiet 1ms: must be long enough for one write at 500/s, or 0s to leave the phase out"},
		{"no phase at all", func(c *Config) { c.Calm, c.Burst, c.Quiet = 0, 0, 0 },
			"--burst 0s: must be above 0s when --calm and --quiet are 0s too"},
		{"more writes than can be kept account of", func(c *Config) { c.Burst = time.Hour },
			"--burst 1h0m0s: all phases together make 216025000 writes, must be at most 50000000"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := DefaultConfig()
			row.set(&c)
			err := c.Validate()
			var bad *flagcheck.Error
			require.ErrorAs(t, err, &bad)
			require.EqualError(t, err, row.want)
		})
	}
}

func TestLargestAllowedLoadDoesNotOverflow(t *testing.T) {
	c := DefaultConfig()
	c.BurstRate, c.Burst = maxRate, maxDuration
	require.Equal(t, int64(3_600_000_000), c.phases()[1].Writes())
	c.ValueSize = 1 << 20
	require.Positive(t, c.need())
	c.Dir, c.Pairs = "db", maxPairs
	require.Positive(t, c.need())
}

func TestTurnsAlternate(t *testing.T) {
	c := DefaultConfig()
	c.Engine, c.Pairs = "badger,badgerspill,log", 3
	var names []string
	for _, turn := range c.turns() {
		names = append(names, turn.name())
	}
	require.Equal(t, []string{"badger", "badgerspill", "log", "log-2", "badgerspill-2", "badger-2", "badger-3", "badgerspill-3", "log-3"}, names)
}
