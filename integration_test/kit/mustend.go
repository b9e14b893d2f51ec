package kit

import (
	"runtime/debug"
	"testing"
	"time"
)

// MustEnd calls fn, and ends the process with the stacks of all goroutines if fn does not return
// within a minute. The text says what hangs.
func MustEnd(t *testing.T, what string, fn func()) {
	t.Helper()
	what = t.Name() + ": " + what + " hangs"
	limit := time.AfterFunc(time.Minute, func() {
		debug.SetTraceback("all")
		panic(what)
	})
	defer limit.Stop()
	fn()
}
