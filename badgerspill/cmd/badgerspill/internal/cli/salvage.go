package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/backup"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/place"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/terminal"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/repair"
)

const salvageHelp = `Salvage gets out of a damaged spill what is intact. It reads everything, names
each fault with file and offset, and says which commits are lost. Then, if you
say yes, it sets all files of the spill aside, renamed into a folder beside them
and not deleted, and puts a new spill with the intact commits in their place, so
that the database opens.

A commit is kept whole or not at all: with one damaged block all of it is lost.
Timestamps, versions, deletes and expiry are kept. Which commits are kept after
the first lost one is yours to decide:

  by default   every intact one. No more is lost than what is damaged; but the
               state of the database is one that never was: a commit that is
               kept may have read, or written over, what a lost one wrote
  --prefix     only those before the first lost one. The database is then as it
               was at an earlier moment, and all later commits of the spill are
               gone with the lost ones

In both cases parts of lost commits that a replay has already brought to Badger
stay there.

  --out FILE   also copies every intact commit into FILE, whatever --prefix
               says: a backup in Badger's own format, in commit order, one list
               of keys for each commit, with all versions and deletes. Restore
               it with "badger restore -f FILE" into a new directory, or with
               DB.Load. FILE is not encrypted, also if the database is; its mode
               is 0600
  --copy-only  writes FILE and changes nothing in the database

Without a terminal to ask on it changes nothing, unless -y says yes. It needs
room beside the spill for what is intact. Interrupted, it has changed nothing,
or goes on when it is run again.

Exit code 0: the spill is sound, or is sound now, or FILE is written. 1: it
failed, or the answer was no. 2: another process has it open, and nothing was
changed.`

func newSalvage() *cobra.Command {
	var flags place.Flags
	var s salvageRun
	cmd := &cobra.Command{
		Use:   "salvage DIR",
		Short: "Get out of a damaged spill what is intact, so that the database opens again",
		Long:  salvageHelp,
		Example: `  badgerspill salvage /var/lib/app
  badgerspill salvage --out intact.bak --copy-only /var/lib/app
  badgerspill salvage --prefix -y /var/lib/app`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.copyOnly && s.out == "" {
				return &frame.UsageError{Err: errors.New("--copy-only: name the file with --out")}
			}
			db, err := flags.Find(args[0])
			if err != nil {
				return err
			}
			s.db, s.w, s.errs = db, text.NewWriter(cmd.OutOrStdout()), cmd.ErrOrStderr()
			s.stdin, s.canAsk = cmd.InOrStdin(), terminal.Is(cmd.InOrStdin())
			return s.run(cmd.Context())
		},
	}
	flags.Register(cmd)
	f := cmd.Flags()
	f.StringVar(&s.out, "out", "", "copy every intact commit into this new `file`, a backup that Badger restores")
	f.BoolVar(&s.copyOnly, "copy-only", false, "only write --out, and leave the database as it is")
	f.BoolVar(&s.prefix, "prefix", false, "keep no commit that comes after a lost one")
	f.BoolVarP(&s.yes, "yes", "y", false, "do not ask")
	_ = cmd.MarkFlagFilename("out")
	return cmd
}

// salvageRun is one run of the command.
type salvageRun struct {
	out                   string
	copyOnly, prefix, yes bool

	db     *place.Database
	w      *text.Writer
	errs   io.Writer
	stdin  io.Reader
	canAsk bool
}

func (s *salvageRun) run(ctx context.Context) error {
	src := s.db.Source()
	lock, err := src.Lock()
	if err != nil {
		return s.db.Explain(err)
	}
	defer func() { lock.Close() }()
	if unfinished, err := repair.SalvageInterrupted(src); err != nil {
		return s.db.Explain(err)
	} else if unfinished {
		s.w.Printf("An earlier salvage of %s was interrupted while it moved files.\n", s.db.SpillDir)
		return s.replace(ctx, &lock, nil, "Finish it?")
	}
	in, err := check.Inspect(src)
	if err != nil {
		return s.db.Explain(err)
	}
	judged := s.db.Judge(in)
	unknown := errors.Is(judged, badgerspill.ErrForeignSpill) && !s.db.Known
	if errors.Is(judged, badgerspill.ErrMissingSpill) || errors.Is(judged, badgerspill.ErrForeignSpill) && !unknown {
		return s.db.Explain(judged)
	}
	found, err := check.Walk(ctx, src, nil)
	if err != nil {
		return s.failed(ctx, err)
	}
	if err := s.report(found); err != nil {
		return err
	}
	if s.out != "" {
		if err := s.copy(ctx); err != nil {
			return s.failed(ctx, err)
		}
	}
	switch {
	case unknown && !s.copyOnly:
		return fmt.Errorf("nothing was changed: %w", judged)
	case !found.Damaged():
		s.w.Printf("The spill is sound. Nothing was changed.\n")
		return s.w.Err()
	case s.copyOnly:
		s.w.Printf("Nothing was changed in the database.\n")
		return s.w.Err()
	}
	return s.replace(ctx, &lock, found, "Set the old files aside and keep "+plural(int(s.kept(found)), "commit")+"?")
}

// failed explains an error, but for an interrupt.
func (s *salvageRun) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.db.Explain(err)
}

// kept is how many commits the new spill will have.
func (s *salvageRun) kept(n *check.Findings) int64 {
	if !s.prefix || len(n.Lost) == 0 {
		return n.Commits
	}
	return n.Commits - n.AfterLoss
}

// report says what is wrong, what is lost, and what would be kept.
func (s *salvageRun) report(n *check.Findings) error {
	t := s.w
	if len(n.Faults) > 0 {
		t.Printf("Faults in %s:\n", s.db.SpillDir)
		for _, f := range n.Faults {
			where := fmt.Sprintf("%s:%d", f.File, f.Offset)
			if f.End > f.Offset {
				where += fmt.Sprintf(" to %d", f.End)
			}
			t.Printf("  %s: %s: %s\n", where, f.Kind, f.Reason)
		}
	}
	if n.Damaged() {
		if len(n.Lost) == 0 {
			t.Printf("No commit is lost.\n")
		} else {
			t.Printf("Lost:\n")
		}
		for _, l := range n.Lost {
			t.Printf("  %s\n", lost(l))
		}
		if n.ManifestLost {
			t.Printf("Without a manifest it is not known which commits Badger has already. All that is intact is kept, which is harmless for those;\n" +
				"whether commits before the first that is here were replayed, or are lost, is not known either.\n")
		}
	}
	t.Printf("Intact: %s, %s", plural(int(n.Commits), "commit"), entries(n.Entries))
	if n.Commits > 0 {
		t.Printf(", timestamps %d to %d", n.FirstTs, n.LastTs)
	}
	t.Printf("\n%s", droppedByOpen(dropped(n), s.db.Dir))
	if n.Damaged() && n.AfterLoss > 0 && !s.copyOnly {
		if s.prefix {
			t.Printf("Dropped: %s after the first lost one.\n", plural(int(n.AfterLoss), "intact commit"))
		} else {
			t.Printf("Kept of these: %s after a lost one; --prefix would drop them.\n", plural(int(n.AfterLoss), "commit"))
		}
	}
	return t.Err()
}

// lost says which commits a loss is.
func lost(l check.Loss) string {
	var b strings.Builder
	switch n := l.Commits(); {
	case n == 0:
		fmt.Fprintf(&b, "commits from sequence %d on, it is not known how many", l.FirstSeq)
	case n == 1:
		fmt.Fprintf(&b, "1 commit, sequence %d", l.FirstSeq)
	default:
		fmt.Fprintf(&b, "%s commits, sequences %d to %d", text.Count(int64(n)), l.FirstSeq, l.LastSeq)
	}
	switch {
	case l.AfterTs != 0 && l.BeforeTs != 0:
		fmt.Fprintf(&b, ", between timestamps %d and %d", l.AfterTs, l.BeforeTs)
	case l.AfterTs != 0:
		fmt.Fprintf(&b, ", after timestamp %d", l.AfterTs)
	case l.BeforeTs != 0:
		fmt.Fprintf(&b, ", before timestamp %d", l.BeforeTs)
	}
	return b.String()
}

// copy writes every intact commit to a file.
func (s *salvageRun) copy(ctx context.Context) error {
	f, err := backup.Create(s.out)
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	n, err := check.Walk(ctx, s.db.Source(), func(c *check.Commit) error {
		if c.Replayed {
			return nil
		}
		return f.Add(c.Entries)
	})
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return errors.Join(err, f.Remove())
	}
	s.w.Printf("Copied %s to %s\n", plural(int(n.Commits), "commit"), s.out)
	return s.w.Err()
}

// replace asks, and then puts the new spill in the place of the old one. The lock, which readers
// share, is given up for one that nobody shares.
func (s *salvageRun) replace(ctx context.Context, lock *io.Closer, found *check.Findings, question string) error {
	if err := s.confirm(ctx, question); err != nil {
		return err
	}
	if err := (*lock).Close(); err != nil {
		return err
	}
	*lock = io.NopCloser(nil)
	if !s.db.Locked {
		if err := s.db.SetInterlock(); err != nil {
			return err
		}
	}
	done, err := repair.Salvage(ctx, s.db.Source(), found, s.prefix)
	if err != nil {
		return s.failed(ctx, err)
	}
	if done.Resumed {
		s.w.Printf("Finished. ")
	} else {
		s.w.Printf("Kept %s. ", plural(int(done.Commits), "commit"))
	}
	s.w.Printf("The old files are in %s\nThe database opens now, and replays the spill; or drain it. Keep the old files until nobody needs them.\n", done.Aside)
	return s.w.Err()
}

// confirm returns nil if the answer is yes. An interrupt is an answer, too.
func (s *salvageRun) confirm(ctx context.Context, question string) error {
	switch {
	case s.w.Err() != nil:
		return s.w.Err()
	case s.yes:
		return nil
	case !s.canAsk:
		return fmt.Errorf("%s: nothing was changed: there is no terminal to ask on; give -y to say yes", s.db.Dir)
	}
	fmt.Fprintf(s.errs, "%s [y/N] ", question)
	answers := make(chan string, 1)
	go func() {
		answer, _ := bufio.NewReader(s.stdin).ReadString('\n') // no answer is no
		answers <- answer
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case answer := <-answers:
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return nil
		}
		return fmt.Errorf("%s: nothing was changed: the answer was not yes", s.db.Dir)
	}
}
