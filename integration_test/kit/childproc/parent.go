package childproc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// stderrSize is how much of a child's standard error is kept: of stacks the beginning says most.
const stderrSize = 64 << 10

// Child is a process that runs a test of this binary. Kill, Signal, Say, CloseInput and Stderr are
// safe for concurrent use with everything; of the others one at a time.
type Child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr head
	bound  *time.Timer
	killed atomic.Bool
	wait   func() error
}

// Start runs the test of that name in a process of its own, with an argument that can be written
// as JSON. It does not wait for anything. A failure ends the caller's test. At the end of that test
// the child is stopped, and what it wrote to its standard error is logged if the test has failed.
func Start(t testing.TB, test string, arg any) *Child {
	t.Helper()
	c, err := Launch(test, arg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Stop()
		if text := c.Stderr(); t.Failed() && text != "" {
			t.Logf("standard error of %s:\n%s", test, text)
		}
	})
	return c
}

// Launch is Start for who sees to the end of the child himself.
func Launch(test string, arg any) (*Child, error) {
	cmd, err := command(context.Background(), test, arg)
	if err != nil {
		return nil, err
	}
	c := &Child{cmd: cmd}
	cmd.Stderr = &c.stderr
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	c.wait = sync.OnceValue(func() error {
		_, _ = io.Copy(io.Discard, c.out)
		err := cmd.Wait()
		if c.bound != nil {
			c.bound.Stop()
		}
		return err
	})
	return c, cmd.Start()
}

// Output runs the test of that name in a process of its own to its end and returns all that it has
// printed, to its standard output and its standard error, and how it has ended. It kills the
// process when the context is done.
func Output(ctx context.Context, test string, arg any) ([]byte, error) {
	cmd, err := command(ctx, test, arg)
	if err != nil {
		return nil, err
	}
	return cmd.CombinedOutput()
}

func command(ctx context.Context, test string, arg any) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(arg)
	if err != nil {
		return nil, fmt.Errorf("argument of %s: %w", test, err)
	}
	if text, err = json.Marshal(given{test, text}); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-test.run", "^"+test+"$", "-test.timeout", "0")
	cmd.Env = append(os.Environ(), variable+"="+string(text))
	return cmd, nil
}

// Pid returns the number of the process.
func (c *Child) Pid() int { return c.cmd.Process.Pid }

// Next waits for the next line of the child's standard output and returns it without its end. It
// returns false when the output has ended. Of a line that a kill has cut off it returns nothing.
func (c *Child) Next() (line string, ok bool) {
	line, err := c.out.ReadString('\n')
	if err != nil {
		return "", false
	}
	return strings.TrimRight(line, "\r\n"), true
}

// Lines are those that Next returns, until the output ends.
func (c *Child) Lines() iter.Seq[string] {
	return func(yield func(string) bool) {
		for line, ok := c.Next(); ok && yield(line); line, ok = c.Next() {
		}
	}
}

// WaitFor reads lines until one begins with prefix, and returns the rest of that. It returns false
// if the output ends before.
func (c *Child) WaitFor(prefix string) (rest string, ok bool) {
	for line := range c.Lines() {
		if rest, ok = strings.CutPrefix(line, prefix); ok {
			return rest, true
		}
	}
	return "", false
}

// Say writes a line to the child's input.
func (c *Child) Say(line string) error {
	_, err := fmt.Fprintln(c.in, line)
	return err
}

// CloseInput ends the child's input.
func (c *Child) CloseInput() error { return c.in.Close() }

// Kill ends the process without giving it time for anything. It does not wait for that.
func (c *Child) Kill() error {
	c.killed.Store(true)
	return c.cmd.Process.Kill()
}

// Bound has the child print the stacks of its goroutines to its standard error, and end, if it has
// not ended after so long. It is called once, before Wait.
func (c *Child) Bound(patience time.Duration) {
	c.bound = time.AfterFunc(patience, func() {
		if c.cmd.Process.Signal(syscall.SIGQUIT) != nil { // not on every system
			_ = c.cmd.Process.Kill()
		}
	})
}

// Signal sends the process a signal, where the system can.
func (c *Child) Signal(signal os.Signal) error { return c.cmd.Process.Signal(signal) }

// Wait passes over the rest of the output and waits for the end of the process. The error is that
// of exec.Cmd: nil if the test has passed, or was skipped.
func (c *Child) Wait() error { return c.wait() }

// Stop kills the process if it has not ended, and waits for its end.
func (c *Child) Stop() {
	_ = c.Kill()
	_ = c.Wait()
}

// Killed returns whether a kill has ended the process, and nothing before that. It is to be called
// after Wait.
func (c *Child) Killed() bool {
	type status interface {
		Signaled() bool
		Signal() syscall.Signal
	}
	if s, ok := c.cmd.ProcessState.Sys().(status); ok && runtime.GOOS != "windows" {
		return s.Signaled() && s.Signal() == syscall.SIGKILL
	}
	return c.killed.Load() && !c.cmd.ProcessState.Success()
}

// Stderr returns the beginning of what the child has written to its standard error.
func (c *Child) Stderr() string { return c.stderr.String() }

// head keeps the beginning of what is written to it.
type head struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (h *head) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf.Write(b[:min(len(b), stderrSize-h.buf.Len())])
	return len(b), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.buf.String()
}
