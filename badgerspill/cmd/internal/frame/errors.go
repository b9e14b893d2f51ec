package frame

import (
	"fmt"

	"github.com/spf13/cobra"
)

// What a process exits with, besides 0.
const (
	Failed      = 1
	Usage       = 2   // the command line cannot be understood
	Locked      = 2   // another process has the database open; nothing was changed
	Interrupted = 130 // as a shell reports SIGINT
)

// UsageError is a command line that cannot be understood.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong with it.
func (e *UsageError) Unwrap() error { return e.Err }

// ExitError is an error with an exit code of its own.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the error without its code.
func (e *ExitError) Unwrap() error { return e.Err }

// NoArguments is for verbs that have flags only.
func NoArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &UsageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}
