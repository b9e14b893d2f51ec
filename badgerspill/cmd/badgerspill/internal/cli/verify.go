package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/place"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/progress"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/terminal"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/spillfile"
)

const verifyHelp = `Verify reads the manifest of a spill, every block of every segment that is not wholly replayed, and every block of its
index files; checks them, and holds each index against its segment. It writes nothing and changes nothing, and goes on after a fault to
name all of them, one a line:

  FILE:OFFSET: kind: what is wrong

  damage         bytes that were durable are wrong or gone: Open fails, or a read will.
                 "badgerspill salvage" gets out what is intact
  torn tail      what a kill or a power cut left of a commit: the next Open cuts it off
  damaged index  it is made again from its segment; nothing is lost

Badger's own files are not checked; DB.VerifyChecksum does that.

While a program has the database open its files are read beside it, at 64 MiB a second at most, and without a lock; a fault counts if it is found
twice. The end of the newest segment, which is being written, is not checked then, nor whether Open would take the spill.
DB.VerifySpill does the same inside of the program.

Exit code 0: sound, a torn tail included. 1: there are faults. 2: it could not be checked.`

const exitUnchecked = 2

func newVerify() *cobra.Command {
	var flags place.Flags
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Read and check every block, index and the manifest of a spill; name file and offset of each fault",
		Long:  verifyHelp,
		Example: `  badgerspill verify /var/lib/app
  badgerspill verify --encryption-key-file key /var/lib/app && echo sound`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			db, err := flags.Find(args[0])
			if err == nil {
				err = verify(cmd, db)
			}
			if faults := new(frame.ExitError); err == nil || errors.As(err, &faults) || cmd.Context().Err() != nil {
				return err
			}
			return &frame.ExitError{Code: exitUnchecked, Err: fmt.Errorf("could not check: %w", err)}
		},
	}
	flags.Register(cmd)
	return cmd
}

func verify(cmd *cobra.Command, db *place.Database) error {
	out, errs := cmd.OutOrStdout(), cmd.ErrOrStderr()
	lock, err := db.Source().Lock()
	if errors.Is(err, badgerspill.ErrLocked) {
		return verifyInUse(cmd, db)
	}
	if err != nil {
		return db.Explain(err)
	}
	defer lock.Close()
	in, err := spillfile.Inspect(db.Source())
	if err != nil {
		return db.Explain(err)
	}
	judged := db.Judge(in)
	// whose the spill is; it is checked nevertheless
	unknown := errors.Is(judged, badgerspill.ErrForeignSpill) && !db.Known
	if errors.Is(judged, badgerspill.ErrMissingSpill) || errors.Is(judged, badgerspill.ErrForeignSpill) && !unknown {
		return db.Explain(judged)
	}
	var bar *progress.Bar
	n, err := spillfile.Verify(cmd.Context(), db.Source(), func(done, total int64) {
		if bar == nil {
			bar = progress.New(errs, terminal.Is(errs), "checking", total, time.Now)
		}
		bar.Update(done, done)
	})
	if bar != nil {
		bar.Clear()
	}
	if err != nil {
		return db.Explain(err)
	}
	faults, err := printFaults(out, n)
	if err != nil {
		return err
	}
	t := text.NewWriter(out)
	switch {
	case unknown:
		faults++
		t.Printf("%s:0: damage: %v\n", db.IdentityPath(), judged)
	case db.BadID != nil:
		faults++
		t.Printf("%s:0: damage: %v; no commits are pending: the next Open writes it anew\n", db.IdentityPath(), db.BadID)
	}
	if !in.Exists {
		t.Printf("%s: there is no spill: nothing to check\n", db.SpillDir)
	} else {
		t.Printf("%s: %s, %s, %s, %s and %s pending, %s\n", db.SpillDir, plural(n.Segments, "segment"), text.Bytes(n.Bytes),
			plural(int(n.Blocks), "block"), plural(int(n.Commits), "commit"), entries(n.Entries), indexes(n.Indexes))
		t.Printf("%s", droppedByOpen(n, db))
		if judged != nil && !unknown {
			t.Printf("Open refuses it: %v\n", judged)
		}
	}
	switch {
	case t.Err() != nil:
		return t.Err()
	case faults == 0:
		t.Printf("sound\n")
		return t.Err()
	case n.Damaged():
		return &frame.ExitError{Code: frame.Failed, Err: fmt.Errorf("%s: %s; \"badgerspill salvage %s\" gets out what is intact", db.SpillDir, plural(faults, "fault"), db.Dir)}
	}
	return &frame.ExitError{Code: frame.Failed, Err: fmt.Errorf("%s: %s", db.SpillDir, plural(faults, "fault"))}
}

// inUseRate is how fast the spill of a running program is read, in bytes a second: the program has
// the disk first.
const inUseRate = badgerspill.DefaultSpillVerifyRate

// verifyInUse reads the files of a program that has the database open. It changes nothing, and
// takes no lock.
func verifyInUse(cmd *cobra.Command, db *place.Database) error {
	out, errs := cmd.OutOrStdout(), cmd.ErrOrStderr()
	src := db.Source()
	src.Rate = inUseRate
	n, err := spillfile.VerifyInUse(cmd.Context(), src, nil)
	if err != nil {
		return db.Explain(err)
	}
	faults, err := printFaults(out, n)
	if err != nil {
		return err
	}
	fmt.Fprintf(errs, "badgerspill: %s: %v: the end of the newest segment is not checked, and the numbers are those of a moment\n", db.Dir, db.Holders())
	t := text.NewWriter(out)
	t.Printf("%s: %s, %s, %s, %s\n", db.SpillDir, plural(n.Segments, "segment"), text.Bytes(n.Bytes), plural(int(n.Blocks), "block"), indexes(n.Indexes))
	if faults == 0 {
		t.Printf("sound, as far as it was read\n")
		return t.Err()
	}
	if err := t.Err(); err != nil {
		return err
	}
	return &frame.ExitError{Code: frame.Failed, Err: fmt.Errorf("%s: %s; stop the program before \"badgerspill salvage %s\"", db.SpillDir, plural(faults, "fault"), db.Dir)}
}

// droppedByOpen is a line about intact commits behind a torn place, "" if there are none: after a
// power cut Open keeps a prefix of the log.
func droppedByOpen(n *spillfile.Findings, db *place.Database) string {
	if n.Damaged() || n.AfterLoss == 0 {
		return ""
	}
	return fmt.Sprintf("Dropped by the next Open: %s after a torn one that was never synced; "+
		"\"badgerspill salvage --copy-only --out FILE %s\" copies what is intact\n", plural(int(n.AfterLoss), "commit"), db.Dir)
}

// printFaults prints one line for each, and counts those that are none of a kill.
func printFaults(out io.Writer, n *spillfile.Findings) (faults int, err error) {
	t := text.NewWriter(out)
	for _, f := range n.Faults {
		t.Printf("%s:%d: %s: %s\n", f.File, f.Offset, f.Kind, f.Reason)
		if f.Kind != spillfile.Torn {
			faults++
		}
	}
	return faults, t.Err()
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return text.Count(int64(n)) + " " + what + "s"
}

func entries(n int64) string { return several(n, "entry", "entries") }

func indexes(n int) string { return several(int64(n), "index", "indexes") }

func several(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return text.Count(n) + " " + more
}
