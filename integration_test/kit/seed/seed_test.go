package seed

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// recorder is a test that remembers what it logs.
type recorder struct {
	testing.TB
	name  string
	lines []string
}

func (r *recorder) Helper()      {}
func (r *recorder) Name() string { return r.name }
func (r *recorder) Logf(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// give sets -seed for the test.
func give(t *testing.T, seed uint64) {
	before := *given
	*given = seed
	t.Cleanup(func() { *given = before })
}

func TestSeedThatIsGiven(t *testing.T) {
	give(t, 17)
	r := &recorder{name: "TestA/chunks, small (2)"}
	require.EqualValues(t, 17, Of(r))
	require.Equal(t, []string{`seed 17: repeat with -run '^TestA$/^chunks, small \(2\)$' -args -seed 17`}, r.lines)
	require.Equal(t, Random(r).Uint64(), Random(r).Uint64(), "the same seed, the same numbers")
}

func TestSeedThatIsPrintedIsTakenBack(t *testing.T) {
	give(t, 0)
	r := &recorder{name: "TestA"}
	first := Random(r).Uint64()
	require.Len(t, r.lines, 1)
	_, text, _ := strings.Cut(r.lines[0], "-args -seed ")
	seed := uint64(0)
	_, err := fmt.Sscan(text, &seed)
	require.NoError(t, err)
	require.NotZero(t, seed)
	give(t, seed)
	require.Equal(t, first, Random(r).Uint64())
}
