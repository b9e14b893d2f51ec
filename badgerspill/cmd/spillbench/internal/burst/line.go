package burst

import (
	"fmt"
	"strings"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
)

// line shows the progress of one second.
func (p Progress) line() string {
	var b strings.Builder
	name := p.Stage
	if p.Tick != nil {
		name = p.Tick.Phase
	}
	fmt.Fprintf(&b, "%-12s%-8s%7s  ", p.Engine, name, text.Seconds(p.At))
	switch {
	case p.Tick != nil:
		t := p.Tick
		fmt.Fprintf(&b, "offered %9s  achieved %9s  p99 %8s  behind %9s",
			text.Rate(t.Offered), text.Rate(t.Achieved), text.Duration(t.P99), text.Count(t.Behind))
	case p.Stage == stageReplay:
		b.WriteString("waiting for the spill to be empty")
		if p.Layer != nil && p.Layer.BytesPending > 0 {
			fmt.Fprintf(&b, ", %s to replay", text.Bytes(p.Layer.BytesPending))
		}
		if p.Left > 0 {
			fmt.Fprintf(&b, ", about %s", text.Seconds(p.Left.Round(time.Second)))
		}
	case p.Stage == stageFill:
		b.WriteString("making the database from before the burst")
	case p.Stage == stageClose:
		b.WriteString("closing the database")
	case p.Stage == stageVerify:
		b.WriteString("reopened, checking every acknowledged key")
	}
	if l := p.Layer; l != nil {
		fmt.Fprintf(&b, "  %s, %s, spill %s", l.Tier, l.State, text.Bytes(l.SpillBytes))
		if l.SpillPending > 0 {
			fmt.Fprintf(&b, " (%s commits)", text.Count(l.SpillPending))
		}
	}
	return b.String()
}
