package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// StopPatience is how long an interrupted child may take to end by itself.
const StopPatience = 5 * time.Second

// Start starts the executable, this one if it is empty, with the verb, otherwise as Run.
func Start[M any](ctx context.Context, executable, verb string, job any, message func(M)) (err error) {
	if executable == "" {
		if executable, err = os.Executable(); err != nil {
			return err
		}
	}
	return Run(ctx, exec.CommandContext(ctx, executable, verb), job, message)
}

// Run starts cmd, which was made with ctx, gives it the job and passes on its messages. It blocks
// until the process has ended; the error is the process's, with the end of what it wrote to
// standard error, or the context's if that ended first.
func Run[M any](ctx context.Context, cmd *exec.Cmd, job any, message func(M)) error {
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
	cmd.WaitDelay = StopPatience
	if err := cmd.Start(); err != nil {
		return err
	}
	sendErr := json.NewEncoder(stdin).Encode(job)

	var readErr error
	dec := json.NewDecoder(stdout)
	for {
		var m M
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

// Serve is what the process started by Run does: a job from in, messages to out. The context of
// work ends with in, with ctx, and when messages cannot be sent. An error of work is sent as the
// message that failure makes of it, and returned.
func Serve[J, M any](ctx context.Context, in io.Reader, out io.Writer,
	work func(ctx context.Context, job J, emit func(M)) error, failure func(error) M,
) error {
	dec := json.NewDecoder(in)
	var job J
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
	err := work(ctx, job, func(m M) {
		if err := enc.Encode(m); err != nil && sendErr == nil {
			sendErr = err
			cancel()
		}
	})
	if sendErr != nil {
		return sendErr
	}
	if err != nil {
		_ = enc.Encode(failure(err))
	}
	return err
}
