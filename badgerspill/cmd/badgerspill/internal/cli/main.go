package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/flagcheck"
)

// What the process exits with, besides 0.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // as a shell reports SIGINT
)

// Main runs the program with the command line, input and output of this process, until it is done or interrupted, and returns the
// code to exit with.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// A second interrupt ends the process at once.
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// run is the whole program and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(withLongFlags(root, args))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)

	var bad *flagcheck.Error
	var usage *usageError
	var coded *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		fmt.Fprintf(stderr, "badgerspill: %v\n", coded.err)
		return coded.code
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "badgerspill: interrupted")
		return exitInterrupted
	case errors.As(err, &bad), errors.As(err, &usage):
		fmt.Fprintf(stderr, "badgerspill: %v\nsee %s --help\n", err, cmd.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(stderr, "badgerspill: %v\n", err)
		return exitFailed
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "badgerspill",
		Short:         "Work with databases of package badgerspill, the layer over Badger that absorbs write bursts",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("unknown command %q", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(newBurst(), newBench(), newBurstChild(), newBenchChild(),
		newInfo(), newVerify(), newDrain(), newDump(), newSalvage())
	return root
}

// usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

// oneDirectory is for commands whose argument is a database.
func oneDirectory(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &usageError{fmt.Errorf("name the directory of one database, not %d", len(args))}
	}
	return nil
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

// withLongFlags lets every flag be written with one dash too, as the go command does.
func withLongFlags(root *cobra.Command, args []string) []string {
	known := map[string]bool{}
	for _, cmd := range root.Commands() {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
	}
	long := make([]string, len(args))
	for i, arg := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && known[name] {
			arg = "-" + arg
		}
		long[i] = arg
	}
	return long
}
