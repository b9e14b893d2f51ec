package childproc

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// order says what TestChild does, and has what a hand-made encoding would stumble over.
type order struct {
	Do   string
	Text string
	N    int
}

func TestChild(t *testing.T) {
	o := Arg[order](t)
	switch o.Do {
	case "echo":
		fmt.Printf("got %s\n", strings.ToUpper(o.Text))
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			fmt.Println("heard", in.Text())
		}
		fmt.Println("the input has ended")
	case "wait":
		fmt.Println("ready")
		fmt.Print("half a line")
		UntilTheInputEnds()
	case "hang":
		fmt.Println("ready")
		select {}
	case "fill":
		for i := range o.N {
			fmt.Println(i)
		}
		fmt.Println(strings.Repeat("x", o.N))
	case "complain":
		fmt.Fprint(os.Stderr, strings.Repeat("y", o.N))
		t.Error("it fails")
	case "exit":
		os.Exit(o.N)
	}
}

// rest returns what the child has not said yet, without what -cover adds.
func rest(c *Child) []string {
	return slices.DeleteFunc(slices.Collect(c.Lines()), func(line string) bool { return strings.HasPrefix(line, "coverage: ") })
}

func TestNoChild(t *testing.T) {
	t.Run("skipped", func(t *testing.T) {
		defer func() { require.True(t, t.Skipped()) }()
		Arg[order](t)
	})
	c := Start(t, "TestOtherChild", order{})
	require.Equal(t, []string{"PASS"}, rest(c), "the test that was asked for, and no other")
	require.NoError(t, c.Wait())
}

func TestOtherChild(t *testing.T) { Arg[order](t) }

func TestParentAndChildTalk(t *testing.T) {
	c := Start(t, "TestChild", order{Do: "echo", Text: `a|b="c" d`})
	got, ok := c.WaitFor("got ")
	require.True(t, ok)
	require.Equal(t, `A|B="C" D`, got)
	require.NoError(t, c.Say("one two"))
	line, ok := c.Next()
	require.True(t, ok)
	require.Equal(t, "heard one two", line)
	require.NoError(t, c.CloseInput())
	require.Equal(t, []string{"the input has ended", "PASS"}, rest(c))
	_, ok = c.WaitFor("anything")
	require.False(t, ok)
	require.NoError(t, c.Wait())
	require.NoError(t, c.Wait(), "once more")
	require.False(t, c.Killed())
	require.NotEqual(t, os.Getpid(), c.Pid())
}

func TestKilledChild(t *testing.T) {
	c := Start(t, "TestChild", order{Do: "wait"})
	_, ok := c.WaitFor("ready")
	require.True(t, ok)
	require.NoError(t, c.Kill())
	require.Empty(t, rest(c), "a line that was cut off is none")
	require.Error(t, c.Wait())
	require.True(t, c.Killed())
	c.Stop()

	c = Start(t, "TestChild", order{Do: "exit", N: 3})
	require.ErrorContains(t, c.Wait(), "exit status 3")
	require.False(t, c.Killed())
}

func TestChildThatNobodyReads(t *testing.T) {
	c, err := Launch("TestChild", order{Do: "fill", N: 300_000})
	require.NoError(t, err)
	line, ok := c.Next()
	require.True(t, ok)
	require.Equal(t, "0", line)
	require.NoError(t, c.Wait(), "it does not wait for a reader for ever")

	c = Start(t, "TestChild", order{Do: "fill", N: 300_000})
	longest := 0
	for line := range c.Lines() {
		longest = max(longest, len(line))
	}
	require.Equal(t, 300_000, longest)
}

func TestChildThatFails(t *testing.T) {
	c := Start(t, "TestChild", order{Do: "complain", N: 2 * stderrSize})
	_, ok := c.WaitFor("--- FAIL: TestChild")
	require.True(t, ok)
	require.Error(t, c.Wait())
	require.Equal(t, strings.Repeat("y", stderrSize), c.Stderr(), "the beginning is kept")

	out, err := Output(t.Context(), "TestChild", order{Do: "complain", N: 10})
	require.Error(t, err)
	require.Contains(t, string(out), strings.Repeat("y", 10))
	require.Contains(t, string(out), "it fails")

	_, err = Launch("TestChild", func() {})
	require.ErrorContains(t, err, "argument of TestChild: ")
}

func TestChildThatHangs(t *testing.T) {
	c := Start(t, "TestChild", order{Do: "hang"})
	_, ok := c.WaitFor("ready")
	require.True(t, ok)
	c.Bound(time.Millisecond)
	require.Error(t, c.Wait())
	if runtime.GOOS != "windows" {
		require.Contains(t, c.Stderr(), "childproc.TestChild(", "its stacks")
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := Output(ctx, "TestChild", order{Do: "hang"})
	require.Error(t, err)
}
