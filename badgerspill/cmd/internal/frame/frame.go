package frame

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
)

// Root returns the command that has the verbs. Without one it shows its help.
func Root(name, short string, verbs ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:           name,
		Version:       version(),
		Short:         short,
		Long:          about(short),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &UsageError{fmt.Errorf("unknown command %q", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &UsageError{flagError(err)} })
	root.SetUsageFunc(usage)
	root.AddCommand(verbs...)
	root.AddCommand(manVerb())
	return root
}

// version tells what the command was built from: "v1.2.0 on Badger v4.9.6".
func version() string {
	own := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		own = info.Main.Version
	}
	return own + " on Badger " + badgerspill.BadgerBuild().String()
}

// Main runs the command with the command line, input and output of this process, until it is done
// or interrupted, and returns the code to exit with.
func Main(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// A second interrupt ends the process at once.
	context.AfterFunc(ctx, stop)
	return Run(ctx, root, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// Run runs the command and returns its exit code. Errors go to stderr.
func Run(ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SetArgs(withLongFlags(root, args))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	shorterCompletion(root)
	plainFlags(root, args)
	cmd, err := root.ExecuteContextC(ctx)

	var bad *flagcheck.Error
	var usage *UsageError
	var coded *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		fmt.Fprintf(stderr, "%s: %v\n", root.Name(), coded.Err)
		return coded.Code
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(stderr, "%s: interrupted\n", root.Name())
		return Interrupted
	case errors.As(err, &bad), errors.As(err, &usage):
		fmt.Fprintf(stderr, "%s: %v\nsee %s --help\n", root.Name(), err, cmd.CommandPath())
		return Usage
	case errors.Is(err, badgerspill.ErrLocked):
		fmt.Fprintf(stderr, "%s: %v\n", root.Name(), err)
		return Locked
	default:
		fmt.Fprintf(stderr, "%s: %v\n", root.Name(), err)
		return Failed
	}
}

// withLongFlags lets every flag be written with one dash too, as the go command does.
func withLongFlags(root *cobra.Command, args []string) []string {
	known := map[string]bool{"help": true, "version": true} // cobra adds them later
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
