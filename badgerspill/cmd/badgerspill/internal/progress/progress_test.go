package progress

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type clockwork struct{ at time.Time }

func (c *clockwork) now() time.Time       { return c.at }
func (c *clockwork) pass(d time.Duration) { c.at = c.at.Add(d) }

func TestLinesWhereThereIsNoTerminal(t *testing.T) {
	var out strings.Builder
	c := &clockwork{time.Unix(1000, 0)}
	b := New(&out, false, "replaying", 1000, c.now)
	for i := range int64(20) {
		c.pass(time.Second)
		b.Update(50*(i+1), 1<<20*(i+1))
	}
	b.Clear()
	require.Equal(t, ""+
		"replaying  25 %  1.0 MiB/s  0:15 min left\n"+
		"replaying  50 %  1.0 MiB/s  0:10 min left\n"+
		"replaying  75 %  1.0 MiB/s  0:05 min left\n"+
		"replaying 100 %  1.0 MiB/s  0:00 min left\n", out.String())
}

func TestBarOnATerminal(t *testing.T) {
	var out strings.Builder
	c := &clockwork{time.Unix(1000, 0)}
	b := New(&out, true, "replaying", 4, c.now)
	c.pass(time.Millisecond)
	b.Update(0, 10)
	require.Equal(t, "\rreplaying [                            ]   0 %  time left unknown", out.String(), "at once")
	out.Reset()
	b.Update(1, 10) // too soon
	require.Empty(t, out.String())
	c.pass(redraw)
	b.Update(2, 512)
	require.Equal(t, "\rreplaying [==============              ]  50 %  5.0 KiB/s  0:00 min left", out.String())
	out.Reset()
	c.pass(redraw)
	b.Update(9, 512) // more than there is
	require.True(t, strings.HasPrefix(out.String(), "\rreplaying [============================] 100 %"), out.String())
	out.Reset()
	b.Clear()
	require.Equal(t, "\r", strings.Trim(out.String(), " \r")+"\r")
	require.Greater(t, len(out.String()), 60)
	b.Clear()
}

func TestTimeLeft(t *testing.T) {
	var out strings.Builder
	c := &clockwork{time.Unix(1000, 0)}
	b := New(&out, false, "replaying", 100_000, c.now)
	c.pass(newLine)
	b.Update(0, 0)
	require.Equal(t, "replaying   0 %  0 B/s  time left unknown\n", out.String())
	out.Reset()
	c.pass(newLine)
	b.Update(100, 100)
	require.Contains(t, out.String(), "2:46:30 h left")
	// What went on long ago does not count.
	for range 10 {
		c.pass(newLine)
		out.Reset()
		b.Update(100, 100)
	}
	require.Contains(t, out.String(), "time left unknown")
}
