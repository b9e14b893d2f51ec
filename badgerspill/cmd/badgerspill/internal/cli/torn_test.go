package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/place"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/spillfile/check"
)

// What Open will drop behind a torn place is intact, and can be copied before: salvage must not
// call it simply sound.
func TestReportOfWhatOpenDrops(t *testing.T) {
	n := &check.Findings{Commits: 2, AfterLoss: 1, Faults: []check.Fault{{Kind: check.Torn}}}
	var out strings.Builder
	s := salvageRun{db: &place.Database{Dir: "db"}, w: text.NewWriter(&out)}
	require.NoError(t, s.report(n))
	require.Contains(t, out.String(), "1 commit after a torn one")
	require.Contains(t, out.String(), "salvage --copy-only --out FILE db")
	n.AfterLoss = 0
	require.Empty(t, droppedByOpen(dropped(n), "db"))
}
