package burst

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// stopPatience is how long an interrupted child may take to end by itself.
const stopPatience = 5 * time.Second

// ChildCommand is the hidden verb that Process starts the executable with.
const ChildCommand = "burst-child"

// Process is a StartFunc that starts this executable again.
func Process(ctx context.Context, job Job, message func(Message)) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return process(ctx, exec.CommandContext(ctx, self, ChildCommand), job, message)
}

func process(ctx context.Context, cmd *exec.Cmd, job Job, message func(Message)) error {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var stderr tail
	cmd.Stderr = &stderr
	// The child ends when its standard input does: on an interrupt, and if this process is killed.
	cmd.Cancel = stdin.Close
	cmd.WaitDelay = stopPatience
	if err := cmd.Start(); err != nil {
		return err
	}
	sendErr := json.NewEncoder(stdin).Encode(job)

	var readErr error
	dec := json.NewDecoder(stdout)
	for {
		var m Message
		if readErr = dec.Decode(&m); readErr != nil {
			break
		}
		message(m)
	}
	if !errors.Is(readErr, io.EOF) {
		_ = cmd.Process.Kill()
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		if text := stderr.text(); text != "" {
			return fmt.Errorf("%w\n%s", err, text)
		}
		return err
	case !errors.Is(readErr, io.EOF):
		return fmt.Errorf("read its messages: %w", readErr)
	default:
		return sendErr
	}
}

// ChildMain is what the process started by Process does: a job from in, messages to out. It ends with in or ctx.
func ChildMain(ctx context.Context, open OpenFunc, in io.Reader, out io.Writer) error {
	dec := json.NewDecoder(in)
	var job Job
	if err := dec.Decode(&job); err != nil {
		return fmt.Errorf("read the job from standard input: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, io.MultiReader(dec.Buffered(), in))
		cancel()
	}()

	enc := json.NewEncoder(out)
	var sendErr error
	err := Child(ctx, job, open, func(m Message) {
		if err := enc.Encode(m); err != nil && sendErr == nil {
			sendErr = err
			cancel()
		}
	})
	if sendErr != nil {
		return sendErr
	}
	if err != nil {
		_ = enc.Encode(Message{Error: err.Error()})
	}
	return err
}

// tail keeps the last bytes written to it: the end of a panic, not all of a noisy log.
type tail struct{ buf []byte }

const (
	tailSize  = 16 << 10
	tailLines = 40
)

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	lines := strings.Split(string(bytes.TrimSpace(t.buf)), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
