package kit

import (
	"fmt"
	"runtime"
	"strings"
	"time"
)

// Goroutines are those that were there at a moment, by the headers of their stacks.
type Goroutines map[string]bool

// gonePatience is how long a goroutine may take to end after what ends it has returned.
const gonePatience = 10 * time.Second

// CurrentGoroutines returns those that are there now. It stops the program for a moment and is safe
// for concurrent use.
func CurrentGoroutines() Goroutines {
	known := Goroutines{}
	for _, stack := range stacks() {
		known[goroutine(stack)] = true
	}
	return known
}

// Gone waits until the goroutines that were not there before have ended, for ten seconds at most.
// The error has the stacks of those that are left. A goroutine in one of the functions, which are
// named as in a stack, is no concern of it. A test that runs in parallel with others cannot use it.
func (g Goroutines) Gone(except ...string) error { return g.goneWithin(gonePatience, except...) }

func (g Goroutines) goneWithin(patience time.Duration, except ...string) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		left := g.left(except)
		if len(left) == 0 {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-limit.C:
			return fmt.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
		}
	}
}

// left returns the stacks of the goroutines that are there now and were not.
func (g Goroutines) left(except []string) (left []string) {
next:
	for _, stack := range stacks() {
		if g[goroutine(stack)] {
			continue
		}
		for _, function := range except {
			if strings.Contains(stack, "\n"+function+"(") {
				continue next
			}
		}
		left = append(left, stack)
	}
	return left
}

// stacks returns the stack of every goroutine but the runtime's own.
func stacks() []string {
	for size := 64 << 10; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return strings.Split(strings.TrimSpace(string(buf[:n])), "\n\n")
		}
	}
}

// goroutine returns the name of a stack's goroutine: "goroutine 7", which no other gets again.
func goroutine(stack string) string {
	name, _, _ := strings.Cut(stack, " [")
	return name
}
