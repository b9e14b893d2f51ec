package burst

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/process"
)

// childEnv makes this test binary behave as the child that it names.
const childEnv = "BURST_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "works":
		err := ChildMain(context.Background(), newFakeDisk().opener(nil), os.Stdin, os.Stdout)
		if err != nil {
			os.Exit(1)
		}
	case "panics":
		panic("engine fell over")
	case "babbles":
		fmt.Println("hello")
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
}

func startTestChild(ctx context.Context, t *testing.T, kind string, message func(Message)) error {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+kind)
	cfg := smallConfig()
	cfg.Calm, cfg.Burst, cfg.Quiet = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	if kind == "works" && ctx.Done() != nil {
		cfg.Quiet = time.Minute
	}
	return process.Run(ctx, cmd, Job{Engine: Badger, Dir: t.TempDir(), Config: cfg}, message)
}

func TestProcessDeliversTheResult(t *testing.T) {
	var res *EngineResult
	err := startTestChild(context.Background(), t, "works", func(m Message) {
		if m.Result != nil {
			res = m.Result
		}
	})
	require.NoError(t, err)
	require.EqualValues(t, 13, res.Verified.Checked)
}

func TestProcessThatPanicsShowsItsLastWords(t *testing.T) {
	err := startTestChild(context.Background(), t, "panics", func(Message) {})
	require.ErrorContains(t, err, "exit status 2")
	require.ErrorContains(t, err, "engine fell over")
}

func TestProcessThatTalksNonsenseIsEnded(t *testing.T) {
	require.Error(t, startTestChild(context.Background(), t, "babbles", func(Message) {}))
}

func TestInterruptEndsTheProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begin := time.Now()
	failure := ""
	err := startTestChild(ctx, t, "works", func(m Message) {
		if m.Progress != nil {
			cancel()
		}
		failure += m.Error
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "load badger: context canceled", failure, "the child was to end by itself")
	require.Less(t, time.Since(begin), process.StopPatience)
}

func TestChildMainWithoutAJob(t *testing.T) {
	err := ChildMain(t.Context(), newFakeDisk().opener(nil), strings.NewReader("{"), io.Discard)
	require.ErrorContains(t, err, "read the job from standard input")
}

// The parent may have been killed: nobody else would end the child then.
func TestChildMainEndsWithItsInput(t *testing.T) {
	cfg := smallConfig()
	cfg.Quiet = time.Minute
	job, err := json.Marshal(Job{Engine: Badger, Dir: t.TempDir(), Config: cfg})
	require.NoError(t, err)
	err = ChildMain(t.Context(), newFakeDisk().opener(nil), bytes.NewReader(job), io.Discard)
	require.ErrorIs(t, err, context.Canceled)
}
