package bench

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// Job is what a child is told.
type Job struct {
	Case   string `json:"case"`
	Stage  string `json:"stage"`
	Engine string `json:"engine"`
	Dir    string `json:"dir"` // exists, and holds what the stage before has left
	Config Config `json:"config"`
	// writes a second, as given or as the preparation has found
	Sustained float64 `json:"sustained"`
}

// Message is what a child says: one of its fields is set.
type Message struct {
	Progress *Progress    `json:"progress,omitempty"`
	Result   *StageResult `json:"result,omitempty"`
	Error    string       `json:"error,omitempty"`
}

// Progress is sent once a second.
type Progress struct {
	Step  string        `json:"step"`
	At    time.Duration `json:"at_ns"` // since the process was told its job
	Text  string        `json:"text,omitempty"`
	Layer *engine.Layer `json:"layer,omitempty"`
}

// StageResult is what one stage of one engine found.
type StageResult struct {
	Figures  map[string]float64    `json:"figures"`
	Verified openloop.Verification `json:"verified"`
	// LayerStats are the layer's own statistics at the end of what was measured.
	LayerStats json.RawMessage `json:"layer_stats,omitempty"`
}

// line shows the progress of one second.
func (p *Progress) line(engine string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s%-9s%8s  %s", engine, p.Step, text.Seconds(p.At), p.Text)
	if l := p.Layer; l != nil {
		fmt.Fprintf(&b, "  %s, %s, spill %s", l.Tier, l.State, text.Bytes(l.SpillBytes))
		if l.SpillPending > 0 {
			fmt.Fprintf(&b, " (%s commits)", text.Count(l.SpillPending))
		}
	}
	return strings.TrimRight(b.String(), " ")
}
