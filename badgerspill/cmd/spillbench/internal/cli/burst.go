package cli

import (
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/burst"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

const burstHelp = `Burst drives the same load through plain Badger and through badgerspill, one
after the other, each in a process of its own with the same Badger options, and
compares them. With --engine it runs others, too: log is a bare group-committed
log of the same entries, with no index and no background work, the floor for a
durable write on this machine.

The load has three phases. In the calm one commits come slower than SpillRate,
1,000 a second, so badgerspill passes them to Badger directly. In the burst it
spills them. In the quiet one they come at less than half of SpillRate, so it
replays the spill beside them. "What the layer did" has, for each phase, how
many commits went to Badger directly, and says what began the replay that
emptied the spill. With --sync SpillRate is 20, and all phases are spilled,
unless --calm-rate and --quiet-rate are below 10.

It is an open loop: every write has a time at which it is due, fixed in advance,
and its latency counts from then until it is acknowledged. A write that waits
behind a stalled one carries the wait, as a request to a service would. Writes
are sent in the order in which they are due, so an engine that fell behind in
the burst starts the quiet phase with a backlog. How to read the table:

  offered     writes of the phase, by its duration
  achieved    those of them acknowledged before the phase was over, by its
              duration
  p50 ... max latency of the phase's acknowledged writes, however late they were
              sent
  unsent      writes that were due and not sent when the run was cut off,
              --backlog after the last phase; they have no latency and are in no
              percentile

With --reads that share of the operations, on the same schedule, is a read of
one of the 10,000 keys acknowledged last. Reads have a table of their own, and
one that does not find its key, or finds another value, makes the run fail. With
reads log is no floor: it looks for the key in the file that it has written,
beside its writes.

With --pairs everything runs several times, every second time in reverse order.
Ratios are then made run by run, and the median is shown; the tables have all
runs, the figure the first.

Keys are unique and in random order, one Update for each. Values hardly
compress: three quarters are random bytes, one quarter is text. Then the
databases are reopened, and every acknowledged key is read and compared with
what was written. A key that is missing or wrong makes the exit code 1 and keeps
the databases.

With --plot the run is drawn second by second: above, the p99 of the writes that
were due in each, below, how many were acknowledged in it, between them what
badgerspill did.

With --serve a browser shows badgerspill while it runs: rates, the spill,
replay, memory and latency over the last five minutes. The page is that of
package live. It takes a little of the processor, so leave it out where the
numbers matter.

Progress goes to standard error, the result to standard output.`

func newBurst() *cobra.Command {
	cfg := burst.DefaultConfig()
	cmd := &cobra.Command{
		Use:   "burst",
		Short: "Drive a write burst through plain Badger and through badgerspill, and compare",
		Long:  burstHelp,
		Example: `  spillbench burst
  spillbench burst --burst-rate 100000 --burst 10s --value-size 256
  spillbench burst --engine badgerspill --sync --json
  spillbench burst --engine badger,badgerspill,log --reads 10 --pairs 5
  spillbench burst --plot burst.svg --html burst.html
  spillbench burst --engine badgerspill --serve localhost:8080`,
		Args: frame.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return burst.Run(cmd.Context(), cfg, burst.Process, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.Int64Var(&cfg.CalmRate, "calm-rate", cfg.CalmRate, "`writes` a second in the calm phase")
	f.Int64Var(&cfg.BurstRate, "burst-rate", cfg.BurstRate, "`writes` a second in the burst phase")
	f.Int64Var(&cfg.QuietRate, "quiet-rate", cfg.QuietRate, "`writes` a second in the quiet phase")
	f.DurationVar(&cfg.Calm, "calm", cfg.Calm, "how long the calm phase lasts; 0s leaves it out")
	f.DurationVar(&cfg.Burst, "burst", cfg.Burst, "how long the burst phase lasts; 0s leaves it out")
	f.DurationVar(&cfg.Quiet, "quiet", cfg.Quiet, "how long the quiet phase lasts; 0s leaves it out")
	f.DurationVar(&cfg.Backlog, "backlog", cfg.Backlog,
		"how long after the last phase overdue writes may still be sent and the spill may take to empty")
	f.Int64Var(&cfg.Base, "base", cfg.Base, "`entries` that the database holds before the load; each engine makes its own, and each run gets a copy")
	f.IntVar(&cfg.ValueSize, "value-size", cfg.ValueSize, "size of a value in `bytes`")
	f.IntVar(&cfg.Writers, "writers", cfg.Writers, "how many writes may be in flight; `n` goroutines")
	f.StringVar(&cfg.Engine, "engine", cfg.Engine, "`engines` to run, in order: both, which is badger,badgerspill, or some of "+strings.Join(engine.Names(), ", "))
	f.StringVar(&cfg.Mended, "mended", cfg.Mended,
		"spillbench `executable` that was built on a mended Badger, for the engines whose names say so: see docs/mended.md")
	f.IntVar(&cfg.Pairs, "pairs", cfg.Pairs, "how many `times` to run them all, order alternating")
	f.IntVar(&cfg.Reads, "reads", cfg.Reads, "`percent` of the operations that read a recent key")
	f.BoolVar(&cfg.Sync, "sync", cfg.Sync, "set SyncWrites in every engine")
	f.StringVar(&cfg.Options, "options", cfg.Options,
		"`options` of Badger and the layer, in the form of FromSuperFlag:\n\"numcompactors=2; baselevelsize=1073741824\"")
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "`number` that keys and values are derived from")
	f.StringVar(&cfg.Dir, "dir", cfg.Dir,
		"`directory` for the databases, empty or absent; it is kept (default a temporary one, removed at the end)")
	f.BoolVar(&cfg.Keep, "keep", cfg.Keep, "keep the temporary directory")
	f.BoolVar(&cfg.JSON, "json", cfg.JSON, "print the result as JSON, with every second of the run")
	f.StringVar(&cfg.Plot, "plot", cfg.Plot, "draw latency and throughput over time to a `file`, .svg or .png")
	f.StringVar(&cfg.Serve, "serve", cfg.Serve,
		"show badgerspill in a browser while it runs, at an `address` such as localhost:8080")
	f.StringVar(&cfg.HTML, "html", cfg.HTML, "write figure, tables and settings to a `file`, .html: one page to pass on")
	f.StringVar(&cfg.Data, "data", cfg.Data, "write what the figure draws to a `file`, .json: spillbench plot draws it again")
	completeFlag(cmd, "engine", engines())
	completeFlag(cmd, "dir", directories)
	completeFlag(cmd, "mended", files)
	completeFlag(cmd, "plot", endingIn("svg", "png"))
	completeFlag(cmd, "serve", cobra.NoFileCompletions)
	completeFlag(cmd, "html", endingIn("html", "htm"))
	completeFlag(cmd, "data", endingIn("json"))
	return cmd
}

func newBurstChild() *cobra.Command {
	return &cobra.Command{
		Use:    burst.ChildCommand,
		Hidden: true,
		Args:   frame.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			leaveSignalsToTheParent()
			return burst.ChildMain(cmd.Context(), burst.OpenEngine, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// leaveSignalsToTheParent is for a child. A terminal interrupts the whole process group; the parent
// decides, and ends this process by closing its input.
func leaveSignalsToTheParent() { signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP) }
