package frame

import (
	"errors"
	"fmt"
	"regexp"

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

// What pflag says of one dash before a long name, and of a value that package strconv refuses.
var (
	oneDash    = regexp.MustCompile(`^unknown shorthand flag: '.' in (-[^-]{2,})$`)
	notANumber = regexp.MustCompile(`^(invalid argument .* flag: )strconv\.Parse(\w+): parsing .*: (invalid syntax|value out of range)$`)
)

// flagError puts an error of pflag in the words of the command line, where it has those of pflag
// or of the Go library. Flags may be written with one dash, so a name that nobody knows is no row
// of shorthands.
func flagError(err error) error {
	if m := oneDash.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("unknown flag: %s", m[1])
	}
	m := notANumber.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return err
	case m[3] == "value out of range":
		return errors.New(m[1] + "the number is out of range")
	case m[2] == "Float":
		return errors.New(m[1] + "must be a number")
	case m[2] == "Int":
		return errors.New(m[1] + "must be a whole number")
	case m[2] == "Bool":
		return errors.New(m[1] + "must be true or false")
	case m[2] == "Uint":
		return errors.New(m[1] + "must be a whole number, not below 0")
	}
	return err
}

// NoArguments is for verbs that have flags only.
func NoArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &UsageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}
