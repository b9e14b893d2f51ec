package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/place"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/progress"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/terminal"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/text"
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

Exit code 0: sound, a torn tail included. 1: there are faults. 2: it could not be checked, for instance because a program has it open.`

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
			if faults := new(exitError); err == nil || errors.As(err, &faults) || cmd.Context().Err() != nil {
				return err
			}
			return &exitError{exitUnchecked, fmt.Errorf("could not check: %w", err)}
		},
	}
	flags.Register(cmd)
	return cmd
}

func verify(cmd *cobra.Command, db *place.Database) error {
	out, errs := cmd.OutOrStdout(), cmd.ErrOrStderr()
	lock, err := db.Source().Lock()
	if err != nil {
		return db.Explain(err)
	}
	defer lock.Close()
	in, err := spillfile.Inspect(db.Source())
	if err != nil {
		return db.Explain(err)
	}
	if err := db.Missing(in); err != nil {
		return err
	}
	foreign := db.Foreign(in)
	if foreign != nil && db.Known {
		return foreign
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
	case foreign != nil:
		faults++
		t.Printf("%s:0: damage: %v\n", db.IdentityPath(), foreign)
	case db.BadID != nil:
		faults++
		t.Printf("%s:0: damage: not 32 hexadecimal digits and a line feed; no commits are pending: remove the file\n", db.IdentityPath())
	}
	if !in.Exists {
		t.Printf("%s: there is no spill: nothing to check\n", db.SpillDir)
	} else {
		t.Printf("%s: %d segments, %s, %s blocks, %s commits and %s entries pending, %d indexes\n", db.SpillDir, n.Segments, text.Bytes(n.Bytes),
			text.Count(n.Blocks), text.Count(n.Commits), text.Count(n.Entries), n.Indexes)
		t.Printf("%s", droppedByOpen(n, db))
	}
	switch {
	case t.Err() != nil:
		return t.Err()
	case faults == 0:
		t.Printf("sound\n")
		return t.Err()
	case n.Damaged():
		return &exitError{exitFailed, fmt.Errorf("%s: %s; \"badgerspill salvage %s\" gets out what is intact", db.SpillDir, plural(faults, "fault"), db.Dir)}
	}
	return &exitError{exitFailed, fmt.Errorf("%s: %s", db.SpillDir, plural(faults, "fault"))}
}

// droppedByOpen is a line about intact commits behind a torn place, "" if there are none: after a power cut Open keeps a prefix of the log.
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
