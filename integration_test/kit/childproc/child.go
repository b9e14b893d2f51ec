package childproc

import (
	"encoding/json"
	"io"
	"os"
	"testing"
)

// variable of the environment makes a process a child.
const variable = "BADGERSPILL_TEST_CHILD"

// given is what the variable says.
type given struct {
	Test string
	Arg  json.RawMessage
}

// Arg returns the argument that this process was started with. In a process that was not started
// as this test it skips the test. It fails the test if the argument is of another type.
func Arg[T any](t testing.TB) (arg T) {
	t.Helper()
	var g given
	text, is := os.LookupEnv(variable)
	if is {
		if err := json.Unmarshal([]byte(text), &g); err != nil {
			t.Fatalf("%s: %v", variable, err)
		}
	}
	if g.Test != t.Name() {
		t.Skip("runs in a process that another test starts")
	}
	if err := json.Unmarshal(g.Arg, &arg); err != nil {
		t.Fatalf("argument of %s: %v", g.Test, err)
	}
	return arg
}

// UntilTheInputEnds blocks a child until its parent closes its input, or is gone.
func UntilTheInputEnds() { _, _ = io.Copy(io.Discard, os.Stdin) }
