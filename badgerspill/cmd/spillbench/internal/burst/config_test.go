package burst

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
	"github.com/badgerspill/badgerspill/replay"
)

func TestDefaultsAreValidAndKeepTheirPromises(t *testing.T) {
	c := DefaultConfig()
	require.NoError(t, c.Validate())
	require.Equal(t, 64, c.Writers)
	require.EqualValues(t, 60_000*20, c.phases()[1].Writes())
	require.LessOrEqual(t, 2*c.schedule().End()+c.Backlog, 150*time.Second, "plain Badger has no replay; leaves half a minute for closing and checking")
	require.Less(t, c.need(), int64(3_400_000_000), "about 3 GB of disk")
}

// The library with its defaults sees the phases as what they are called. By the rate of commits it
// never turns to the spill in the calm phase. In the quiet phase it is quiet, before the spill is
// old enough to be replayed without that. A pause of half a second, after which all that was due is
// committed at once, changes neither.
func TestLibraryTakesThePhasesForWhatTheyAre(t *testing.T) {
	for _, row := range []struct {
		name          string
		calm, quiet   int64
		pause         time.Duration
		turns, quiets bool
	}{
		{name: "the defaults", calm: DefaultConfig().CalmRate, quiet: DefaultConfig().QuietRate, quiets: true},
		{name: "the defaults with a pause in each phase", calm: DefaultConfig().CalmRate, quiet: DefaultConfig().QuietRate, pause: 500 * time.Millisecond, quiets: true},
		{name: "a calm rate above SpillRate", calm: 2 * badgerspill.DefaultSpillRate, quiet: 250, turns: true, quiets: true},
		{name: "a quiet rate of half of SpillRate", calm: 250, quiet: badgerspill.DefaultSpillRate / 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := DefaultConfig()
			c.CalmRate, c.QuietRate = row.calm, row.quiet
			s := c.schedule()
			calmEnd, burstEnd := s.EndOf(PhaseCalm), s.EndOf(PhaseBurst)
			pauses := []time.Duration{c.Calm / 2, burstEnd + c.Quiet/2}

			now := time.Unix(0, 0)
			commits := replay.NewRateDetector(replay.RateOptions{QuietRate: badgerspill.DefaultSpillRate / 2, Now: func() time.Time { return now }})
			turned, quiet, ended := false, time.Duration(0), false
			slot := int64(0)
			for at := time.Duration(0); at < s.End(); at += time.Millisecond {
				now = time.Unix(0, 0).Add(at)
				waits := false
				for _, p := range pauses {
					waits = waits || row.pause > 0 && at >= p && at < p+row.pause
				}
				for ; !waits && slot < s.Total() && s.Due(slot) <= at; slot++ {
					commits.Add(1)
				}
				switch {
				case at < calmEnd:
					turned = turned || commits.Rate() >= badgerspill.DefaultSpillRate
				case at >= burstEnd && quiet == 0:
					if commits.Quiet() {
						quiet = at - burstEnd
					}
				case at >= burstEnd:
					ended = ended || commits.Burst() // the end of a run of replay
				default:
					commits.Sample()
				}
			}
			require.Equal(t, row.turns, turned)
			require.Equal(t, row.quiets, quiet > 0)
			if row.quiets {
				require.Less(t, c.Burst+quiet, replay.DefaultMaxSpillAge, "the age of what was spilled first")
				require.False(t, ended)
			}
		})
	}
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
		{"negative base", func(c *Config) { c.Base = -1 }, "--base -1: must be between 0 and 100000000"},
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
			"--quiet 1ms: must be long enough for one write at 250/s, or 0s to leave the phase out"},
		{"no phase at all", func(c *Config) { c.Calm, c.Burst, c.Quiet = 0, 0, 0 },
			"--burst 0s: must be above 0s when --calm and --quiet are 0s too"},
		{"more writes than can be kept account of", func(c *Config) { c.Burst = time.Hour },
			"--burst 1h0m0s: all phases together make 216010000 writes, must be at most 50000000"},
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
