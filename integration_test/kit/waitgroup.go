package kit

import "sync"

// WaitGroup is sync.WaitGroup with its method Go, which that has from Go 1.25 on.
type WaitGroup struct{ sync.WaitGroup }

// Go runs fn in a goroutine that Wait waits for. It does not block and is safe for concurrent use
// as far as Add is.
func (g *WaitGroup) Go(fn func()) {
	g.Add(1)
	go func() {
		defer g.Done()
		fn()
	}()
}
