package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/place"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/terminal"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/repair"
)

const discardHelp = `Discard is for who gives a spill up: the commits in it that Badger does not have
are then missing from the database. It says how many they are and of when, and
asks. Then it sets all files of the spill and the interlock aside, together, in
a folder with a date in the spill's directory. It deletes nothing. The database
opens afterwards, with plain Badger too, as it was before these commits.

First try what loses less: "badgerspill drain" replays a spill that is sound,
"badgerspill salvage" gets out of a damaged one what is intact, "badgerspill
dump" shows what is in it.

It is undone by moving back what is in the folder: the interlock to DIR first,
then the other files to the spill's directory, the file MANIFEST last. Do that
before anything is written to the database: badgerspill refuses a spill that is
older than what Badger holds.

Without a terminal to ask on it changes nothing, unless -y says yes.
Interrupted, the database is refused until it is run again.

Exit code 0: set aside, or there was nothing. 1: it failed, or the answer was
no. 2: another process has it open, and nothing was changed.`

func newDiscard() *cobra.Command {
	var flags place.Flags
	var yes bool
	cmd := &cobra.Command{
		Use:   "discard DIR",
		Short: "Give up the commits in a spill: set its files and the interlock aside",
		Long:  discardHelp,
		Example: `  badgerspill discard /var/lib/app
  badgerspill discard -y --spill-dir /fast/spill /var/lib/app`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			db, err := flags.Find(args[0])
			if err != nil {
				return err
			}
			ask := &salvageRun{db: db, yes: yes, w: text.NewWriter(cmd.OutOrStdout()), errs: cmd.ErrOrStderr(),
				stdin: cmd.InOrStdin(), canAsk: terminal.Is(cmd.InOrStdin())}
			return discard(cmd.Context(), ask)
		},
	}
	flags.Register(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func discard(ctx context.Context, ask *salvageRun) error {
	db, t := ask.db, ask.w
	if db.Drop {
		return fmt.Errorf("%s: a DropAll or DropPrefix was interrupted, and the interlock is there for that: open the database once to finish it", db.Dir)
	}
	// not only of the spill: another program may have the database open past it
	if db.Holders().Open() {
		return db.Explain(badgerspill.ErrLocked)
	}
	lock, err := db.Source().Lock()
	if err != nil {
		return db.Explain(err)
	}
	in, err := check.Inspect(db.Source())
	if err = errors.Join(err, lock.Close()); err != nil {
		return db.Explain(err)
	}
	judged := db.Judge(in)
	if in.Commits == 0 && !db.Locked && judged == nil {
		t.Printf("%s: the spill holds nothing: there is nothing to give up\n", db.SpillDir)
		return t.Err()
	}
	if judged != nil {
		t.Printf("%v\n", judged)
	}
	what := in.Left() + "."
	if in.Commits > 0 && judged == nil {
		what += " The spill is sound: \"badgerspill drain\" would bring them all to Badger."
	}
	t.Printf("To be given up, in %s: %s\n", db.SpillDir, what)
	if err := ask.confirm(ctx, "Set the spill aside and give up "+plural(int(in.Commits), "commit")+"?"); err != nil {
		return err
	}
	interlock := ""
	if db.Locked {
		interlock = db.InterlockPath()
	}
	folder, err := repair.Discard(db.Source(), interlock, time.Now())
	if err != nil {
		return db.Explain(err)
	}
	t.Printf("The spill is in %s\nTo undo this before anything is written:", folder)
	if db.Locked {
		t.Printf(" move %s back to %s,", filepath.Base(interlock), db.Dir)
	}
	t.Printf(" then the other files to %s, MANIFEST last.\n", db.SpillDir)
	return t.Err()
}
