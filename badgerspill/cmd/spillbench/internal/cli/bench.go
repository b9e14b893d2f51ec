package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/bench"
)

const benchHelp = `Bench measures what badgerspill costs and gains against plain Badger. A case is
one experiment:

%s
Each pair runs both engines, in turns who is first, every one in processes of
its own with Badger's default options, on a copy of the same database where the
case needs one, or with --own-base of one of its own: 16-byte keys, values of
--value-size, three quarters of them random bytes. Settled means that the spill
is empty, no level of Badger's tree is due for compaction, and nothing has
changed for a second, which does not count. Case growth runs badgerspill alone.
The ratio of a figure is badgerspill's value by plain Badger's; of several pairs
it is the median of the ratios. CPU and bytes written are the process's own,
from /proc: most cases need Linux.

In the end the keys are read and compared with what was written: all of them, a
sample in case growth and after the kill of case rss. A key that is missing or
wrong makes the exit code 1 and keeps the database.

Progress goes to standard error, the result to standard output.`

func newBench() *cobra.Command {
	cfg := bench.DefaultConfig()
	cmd := &cobra.Command{
		Use:   "bench CASE",
		Short: "Measure one case on plain Badger and on badgerspill, in pairs, and compare",
		Long:  fmt.Sprintf(benchHelp, caseList()),
		Example: `  spillbench bench settle --pairs 5
  spillbench bench reads --scale 0.25 --json
  spillbench bench overload --duration 1m --rate 20000`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &frame.UsageError{Err: fmt.Errorf("name one case, not %d", len(args))}
			}
			_, err := bench.Find(args[0])
			return err
		},
		ValidArgsFunction: frame.Argument(frame.Words(caseWords()...)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := bench.Find(args[0])
			if err != nil {
				return err
			}
			return bench.Run(cmd.Context(), c, cfg, bench.Process, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&cfg.Pairs, "pairs", cfg.Pairs, "`how many` times each engine runs")
	f.Float64Var(&cfg.Scale, "scale", cfg.Scale, "`factor` on all numbers of entries and bytes, and on the times, which are a second at least, of the case")
	f.Int64Var(&cfg.Base, "base", cfg.Base,
		"`entries` that a database holds before the run, where the case begins with some, before --scale")
	f.BoolVar(&cfg.OwnBase, "own-base", cfg.OwnBase,
		"each engine makes the database that its runs begin with, and so the tree; without it both get a copy of one of plain Badger's")
	f.IntVar(&cfg.ValueSize, "value-size", cfg.ValueSize, "size of a value in `bytes`")
	f.DurationVar(&cfg.Duration, "duration", cfg.Duration, "how long the load of the cases overload and pauses lasts")
	f.Int64Var(&cfg.Rate, "rate", cfg.Rate,
		"`writes` a second that plain Badger sustains, of which case overload offers twice as many; 0 measures it")
	f.DurationVar(&cfg.SettledFor, "settled-for", cfg.SettledFor,
		"how long nothing may change until a database counts as settled")
	f.StringVar(&cfg.Against, "against", cfg.Against,
		"`engine` that badgerspill is compared with; another than badger only with --own-base, or where the case does not begin with a database; never in case overload")
	f.StringVar(&cfg.Engine, "engine", cfg.Engine, "`engine` that is measured, badgerspill or badgerspill-mended")
	f.StringVar(&cfg.Mended, "mended", cfg.Mended,
		"spillbench `executable` that was built on a mended Badger, for the engines whose names say so: see docs/mended.md")
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "`number` that keys and values are derived from")
	f.StringVar(&cfg.Options, "options", cfg.Options,
		"`options` of both engines, in the form of FromSuperFlag:\n\"numcompactors=2; baselevelsize=1073741824\"")
	f.StringVar(&cfg.Dir, "dir", cfg.Dir,
		"`directory` for the databases, empty or absent (default a temporary one, removed at the end)")
	f.BoolVar(&cfg.Keep, "keep", cfg.Keep, "keep the database of every run")
	f.BoolVar(&cfg.JSON, "json", cfg.JSON, "print the result as JSON, with all that the layer has counted")
	layers, others := bench.Engines()
	completeFlag(cmd, "engine", frame.Words(layers...))
	completeFlag(cmd, "against", frame.Words(others...))
	completeFlag(cmd, "dir", directories)
	completeFlag(cmd, "mended", files)
	return cmd
}

// caseList has a line for each case, or more where that is too long for one.
func caseList() string {
	var b strings.Builder
	for _, c := range bench.Cases() {
		name := c.Name
		for _, line := range frame.Fold(c.Short, frame.Columns-14) {
			fmt.Fprintf(&b, "  %-12s%s\n", name, line)
			name = ""
		}
	}
	return b.String()
}

// caseWords are the cases, as a shell completes them.
func caseWords() (words []string) {
	for _, c := range bench.Cases() {
		words = append(words, c.Name+"\t"+strings.Join(strings.Fields(c.Short), " "))
	}
	return words
}

func newBenchChild() *cobra.Command {
	return &cobra.Command{
		Use:    bench.ChildCommand,
		Hidden: true,
		Args:   frame.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			leaveSignalsToTheParent()
			return bench.ChildMain(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}
