package burst

import (
	"context"
	"io"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/process"
)

// ChildCommand is the hidden verb that Process starts the executable with.
const ChildCommand = "burst-child"

// Process is a StartFunc that starts this executable again, or that of Config.Mended.
func Process(ctx context.Context, job Job, message func(Message)) error {
	executable := ""
	if _, mended := engine.Mended(job.Engine); mended {
		executable = job.Config.Mended
	}
	return process.Start(ctx, executable, ChildCommand, job, message)
}

// ChildMain is what the process started by Process does: a job from in, messages to out. It ends
// with in or ctx.
func ChildMain(ctx context.Context, open OpenFunc, in io.Reader, out io.Writer) error {
	return process.Serve(ctx, in, out,
		func(ctx context.Context, job Job, emit func(Message)) error { return Child(ctx, job, open, emit) },
		func(err error) Message { return Message{Error: err.Error()} })
}
