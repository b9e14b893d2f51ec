package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/place"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/progress"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/terminal"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/spillfile/check"
)

const drainHelp = `Drain replays everything that the spill holds into Badger, and leaves a plain
Badger directory: the interlock is gone, and plain badger.Open works. No version
is left out and none is discarded, whatever the program's own options are.

It can be interrupted (Ctrl-C) and killed at any moment: the database stays
consistent, what is not in Badger for good stays in the spill, and drain, or the
program, goes on from there. After a kill up to 64 MiB are given to Badger
twice, which is harmless.

On a terminal it shows a bar with rate and time left, otherwise a line now and
then. Exit code 0: drained. 1: it failed. 2: another process has it open, and
nothing was changed. 130: interrupted; the last line says what is left.`

func newDrain() *cobra.Command {
	var flags place.Flags
	var magic uint16
	cmd := &cobra.Command{
		Use:   "drain DIR",
		Short: "Replay everything in the spill and leave a plain Badger directory",
		Long:  drainHelp,
		Example: `  badgerspill drain /var/lib/app
  badgerspill drain --spill-dir /fast/spill --vlog-dir /big/vlog /var/lib/app`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			db, err := flags.Find(args[0])
			if err != nil {
				return err
			}
			return drain(cmd.Context(), db, magic, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags.Register(cmd)
	cmd.Flags().Uint16Var(&magic, "external-magic", 0, "the program's own `number` in Badger's manifest, if it sets ExternalMagicVersion")
	return cmd
}

// drainOptions are those that leave a database as it is, whatever it was made with: nothing is
// discarded, since in managed mode nobody says what may be, and its tables are read whatever their
// compression is.
func drainOptions(db *place.Database) badgerspill.Options {
	opt := badgerspill.DefaultOptions(db.Dir).WithSpillDir(db.SpillDir).WithDrainOnClose(false)
	opt = opt.WithValueDir(db.ValueDir).WithNumVersionsToKeep(math.MaxInt32).
		WithLogger(nil).WithMetricsEnabled(false)
	if len(db.Key) > 0 {
		opt = opt.WithEncryptionKey(db.Key).WithIndexCacheSize(100 << 20)
	}
	return opt
}

func drain(ctx context.Context, db *place.Database, magic uint16, out, errs io.Writer) (err error) {
	in, err := check.Inspect(db.Source())
	if err != nil {
		return db.Explain(err)
	}
	// What Open would say is told before anything is touched.
	if err := db.Judge(in); err != nil && !in.Changing {
		return db.Explain(err)
	}
	if in.Commits == 0 && !db.Locked && !db.Drop && !db.Holders().Open() {
		fmt.Fprintf(out, "%s: the spill holds nothing: this is a plain Badger directory\n", db.Dir)
		return nil
	}
	var latest atomic.Pointer[badgerspill.DrainProgressInfo]
	listener := &badgerspill.EventListener{DrainProgress: func(p badgerspill.DrainProgressInfo) { latest.Store(&p) }}
	layer, err := badgerspill.OpenManaged(drainOptions(db).WithExternalMagic(magic).WithEventListener(listener))
	if err != nil {
		return db.Explain(err)
	}
	commits := layer.SpillStats().SpillPending
	fmt.Fprintf(errs, "%s: replaying %s, %s\n", db.Dir, plural(int(commits), "commit"), text.Bytes(in.DiskBytes))
	begin := time.Now()
	err = drainWithBar(ctx, layer, progress.New(errs, terminal.Is(errs), "replaying", in.DiskBytes, time.Now), latest.Load)
	if cerr := layer.Close(); cerr != nil {
		return db.Explain(errors.Join(err, cerr))
	}
	if err := whatIsLeft(ctx, db, err, errs); err != nil {
		return err
	}
	if _, err := os.Lstat(db.InterlockPath()); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: it is still there after everything was replayed: %w", db.InterlockPath(), err)
	}
	fmt.Fprintf(out, "%s: %s replayed in %s: this is a plain Badger directory\n", db.Dir, plural(int(commits), "commit"), text.Seconds(time.Since(begin)))
	return nil
}

// whatIsLeft says how many commits a drain that ended with err has left, and returns what that
// means. The database is closed: before, it is not known, since Close waits for the part of a
// replay that is under way. That may have been the last one.
func whatIsLeft(ctx context.Context, db *place.Database, err error, errs io.Writer) error {
	in, ierr := check.Inspect(db.Source())
	if ierr != nil {
		return db.Explain(errors.Join(err, ierr))
	}
	if in.Commits > 0 {
		then := "nothing is lost, drain again to go on"
		if errors.Is(err, badgerspill.ErrCorrupt) {
			then = "what is damaged is before them"
		}
		fmt.Fprintf(errs, "%s: %s, %s, %s left in %s; %s\n",
			db.Dir, plural(int(in.Commits), "commit"), text.Bytes(in.DiskBytes), map[bool]string{true: "is", false: "are"}[in.Commits == 1], db.SpillDir, then)
	}
	switch {
	case ctx.Err() == nil:
		return db.Explain(err)
	case in.Commits > 0:
		return ctx.Err()
	}
	return nil
}

// drainWithBar drains, and shows how far it is.
func drainWithBar(ctx context.Context, layer *badgerspill.DB, bar *progress.Bar, latest func() *badgerspill.DrainProgressInfo) error {
	defer bar.Clear()
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bar.Update(0, 0)
	done := make(chan error, 1)
	go func() { done <- layer.Drain(ctx) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	const patience = 3 // errors of replay: what does not go away is told
	for {
		select {
		case err := <-done:
			if err != nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return err
		case <-tick.C:
			s := layer.SpillStats()
			if p := latest(); p != nil {
				bar.Total(p.TotalBytes)
				bar.Update(p.Bytes, s.BytesReplayed)
			}
			if s.ReplayErrors >= patience {
				cancel(s.ReplayError)
			}
		}
	}
}
