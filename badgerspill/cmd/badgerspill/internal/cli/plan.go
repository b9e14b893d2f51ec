package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/plan"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
)

const planHelp = `Plan calculates what a write burst takes: which SpillCapacity and MemoryLimit to
set, disk, memory and descriptors, and how long replay takes afterwards. It
opens no database and writes nothing; the load is what the flags say.

  SpillCapacity   so large that no commit is slowed: twice what the spill holds
                  at the end of the burst, if nothing is replayed until then
  commits         whether Badger takes all of them, or the spill, and why
  spill           on disk, and its index in memory
  disk            at most: the spill until it is replayed, the data, and what
                  compaction takes beside it for a while
  replay          until the spill is empty: by itself, as in Drain and Close;
                  and beside requests that would suffer from it all the time

What Badger takes for long depends on the machine, and no other number matters
more. The default is modest, for two cores and a solid-state disk. To measure it
run "spillbench bench replay" with your --value-size, on the machine: its figure
"entries until settled", times the size of key and value, is --badger-rate.

It does not know: what else the machine does, the database that is there, keys
that begin alike or come in order (their index is smaller), how a slow disk
holds up Badger before its memory is full. The sizes of the spill, on disk and
in memory, were checked against runs, and are right within a third. The page
docs/capacity.md has examples.`

func newPlan() *cobra.Command {
	burst := plan.DefaultBurst()
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "plan --rate N --size N --seconds N",
		Short: "Calculate what a write burst takes, and the options for it",
		Long:  planHelp,
		Example: `  badgerspill plan --rate 60000 --size 1024 --seconds 20
  badgerspill plan --rate 200000 --size 100 --batch 100 --seconds 60 --json
  badgerspill plan --rate 4000 --size 16384 --seconds 600 --badger-rate 60000000`,
		Args:              frame.NoArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			missing := ""
			for _, flag := range []string{"seconds", "size", "rate"} {
				if !cmd.Flags().Changed(flag) {
					missing = flag
					_ = cmd.Flags().Set(flag, "1") // what is there is judged first
				}
			}
			if err := burst.Validate(); err != nil {
				return err
			}
			if missing != "" {
				return &frame.UsageError{Err: fmt.Errorf("--%s: say what the load is, with --rate, --size and --seconds", missing)}
			}
			p := plan.For(burst)
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(p)
			}
			return printPlan(p, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.Float64Var(&burst.Rate, "rate", 0, "`writes` a second of the burst")
	f.Int64Var(&burst.ValueSize, "size", 0, "size of a value in `bytes`")
	f.Float64Var(&burst.Seconds, "seconds", 0, "how many `seconds` the burst lasts")
	f.Int64Var(&burst.KeySize, "key", burst.KeySize, "size of a key in `bytes`")
	f.Int64Var(&burst.Batch, "batch", burst.Batch, "`writes` in one commit")
	f.Float64Var(&burst.Overwrites, "overwrites", 0, "`share` of the writes whose key is written again before replay, 0 to 0.999")
	f.Float64Var(&burst.Ratio, "ratio", burst.Ratio, "`factor` by which Snappy makes keys and values smaller: 1 for random bytes, about 3 for text")
	f.Int64Var(&burst.BadgerRate, "badger-rate", burst.BadgerRate, "what Badger takes for long, in `bytes` of keys and values a second")
	f.Int64Var(&burst.MemoryLimit, "memory-limit", burst.MemoryLimit, "Options.MemoryLimit in `bytes`")
	f.BoolVar(&burst.SyncWrites, "sync", false, "the database has Options.SyncWrites")
	f.BoolVar(&asJSON, "json", false, "print the plan as JSON, sizes in bytes")
	for _, flag := range []string{"rate", "size", "seconds", "key", "batch", "overwrites", "ratio", "badger-rate", "memory-limit"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	return cmd
}

func printPlan(p *plan.Plan, out io.Writer) error {
	b, t := &p.Burst, text.NewWriter(out)
	load := fmt.Sprintf("%s of %s and %s for %s s: %s in %s, %s", text.Rate(b.Rate), text.Bytes(b.KeySize), text.Bytes(b.ValueSize), number(b.Seconds),
		several(p.Writes, "write", "writes"), several(p.Commits, "commit", "commits"), text.Bytes(p.Bytes))
	if b.Overwrites > 0 {
		load += fmt.Sprintf(", %s %% of them overwritten", number(100*b.Overwrites))
	}
	t.Printf("%s\n", load)

	t.Printf("\nOptions\n")
	memory := text.Bytes(p.Options.MemoryLimit) + " does"
	if p.Options.MemoryLimit > b.MemoryLimit {
		memory = fmt.Sprintf("%s or more: with %s the index would pass its half of it, and the spill be full before", text.Bytes(p.Options.MemoryLimit), text.Bytes(b.MemoryLimit))
	}
	t.Columns([][]string{
		{"SpillCapacity", text.Bytes(p.Options.SpillCapacity) + " or more: no commit is slowed then"},
		{"MemoryLimit", memory},
	})

	t.Printf("\nCommits\n")
	switch {
	case p.Way.Direct:
		paragraph(t, "Badger takes them, all the time: "+p.Way.Why+". "+worst)
	case p.Way.DirectSeconds > 0:
		paragraph(t, fmt.Sprintf("Badger takes them for %s s at most, the spill from then on: %s. %s", text.Digits(p.Way.DirectSeconds), p.Way.Why, worst))
	default:
		paragraph(t, "The spill takes them, from the first second on: "+p.Way.Why+".")
	}

	s := &p.Spill
	t.Printf("\nSpill when the burst ends\n")
	rows := [][]string{
		{"on disk", fmt.Sprintf("%s in %s, indexes %s", text.Bytes(s.DiskBytes), several(s.Segments, "segment", "segments"), text.Bytes(s.IndexBytes))},
		{"index in memory", text.Bytes(s.MemoryBytes) + " of MemoryLimit"},
	}
	if s.LeastDiskBytes < s.DiskBytes {
		rows = append(rows, []string{"peak, replayed meanwhile", text.Bytes(s.LeastDiskBytes) + ": replay begins by MaxSpillAge, and this is if Badger takes that rate beside the burst"})
	}
	t.Columns(rows)

	d := &p.Disk
	t.Printf("\nDisk, beside what is there\n")
	t.Columns([][]string{
		{"at its peak, at most", fmt.Sprintf("%s: spill %s, data %s, compaction %s", text.Bytes(d.Peak), text.Bytes(d.Spill), text.Bytes(d.Data), text.Bytes(d.Working))},
		{"to stay", text.Bytes(d.Data)},
		{"descriptors", fmt.Sprintf("%d for the spill, about %s for Badger's new tables and logs", p.Files.Spill, text.Count(p.Files.Badger))},
	})

	r := &p.Replay
	t.Printf("\nReplay of %s, with a Badger that takes %s/s\n", text.Bytes(r.Bytes), text.Bytes(b.BadgerRate))
	t.Columns([][]string{
		{"by itself", lasts(r.Seconds)},
		{"beside requests", "up to " + lasts(r.BesideForegroundSeconds)},
	})
	return t.Err()
}

const worst = "What follows is the worst case: Badger stalls as the burst begins."

func paragraph(t *text.Writer, words string) {
	for _, line := range frame.Fold(words, frame.Columns-2) {
		t.Printf("  %s\n", line)
	}
}

// number shows x with the digits that it needs.
func number(x float64) string {
	if x >= 1000 {
		return text.Digits(x)
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

// lasts shows a time that is planned: seconds up to two minutes, then minutes, then hours.
func lasts(seconds float64) string {
	d := time.Duration(min(seconds, 1e9) * float64(time.Second))
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}
