package bench

import (
	"context"
	"fmt"
	"strings"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
)

// Case is one experiment.
type Case struct {
	Name    string
	Short   string // one line
	figures []Figure
	// inOrder gives the keys the order of their slots.
	inOrder bool
	// prepare comes once before the pairs, run by plain Badger, or where it makes a base and
	// Config.OwnBase wants that, by each engine; nil if there is nothing to prepare.
	prepare *stage
	// base tells that prepare makes the database which each run gets a copy of.
	base bool
	// stages are the steps of one engine, each in a process of its own. An engine that has none
	// does not run.
	stages func(engine string) []stage
	// entries is how many entries one run has on disk at most, what it was given included.
	entries func(cfg Config) int64
}

// stage is a step of a case. run leaves its figures with the runner.
type stage struct {
	name string
	run  func(ctx context.Context, r *runner) error
	// killed ends the process with SIGKILL when run has returned, which leaves its database open.
	killed bool
}

// Cases returns all cases.
func Cases() []*Case {
	cases := []*Case{
		settleCase(), hotCase(), orderedCase(), ledgerCase(), pausesCase(), replayCase(), rssCase(), readsCase(), foregroundCase(), overloadCase(),
		closedCase(8), closedCase(64),
	}
	cases = append(cases, commitCases()...)
	return append(cases, rmwCase(), viewCase(), iterateCase(), readersCase(), growthCase())
}

// Find returns the case of that name, or a *flagcheck.Error that names all.
func Find(name string) (*Case, error) {
	var names []string
	for _, c := range Cases() {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	last := len(names) - 1
	return nil, flagcheck.New("case", fmt.Sprintf("%q", name), "must be %s or %s",
		strings.Join(names[:last], ", "), names[last])
}

// stage returns the step of that name, of the preparation if there is no engine.
func (c *Case) stage(engine, name string) (*stage, error) {
	if c.prepare != nil && c.prepare.name == name {
		return c.prepare, nil
	}
	for _, s := range c.stages(engine) {
		if s.name == name {
			return &s, nil
		}
	}
	return nil, fmt.Errorf("case %s has no stage %q of %s", c.Name, name, engine)
}

// unlessOwnBase is the end of a sentence about what the case begins with.
func (c *Case) unlessOwnBase() string {
	if c.base {
		return ", or --own-base set"
	}
	return ""
}

// need estimates how many bytes of disk the case takes at its peak.
func (c *Case) need(cfg Config) int64 {
	const logs = 1 << 30
	run := cfg.diskBytes(c.entries(cfg)) + logs
	need := run
	if cfg.Keep {
		need *= 2 * int64(cfg.Pairs)
	}
	if c.base {
		need += cfg.diskBytes(cfg.preloaded())
		if cfg.OwnBase {
			need += cfg.diskBytes(cfg.preloaded())
		}
	}
	return need
}
