package process

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTailKeepsTheEnd(t *testing.T) {
	var stderr tail
	for i := range 10_000 {
		fmt.Fprintf(&stderr, "line %d\n", i)
	}
	require.LessOrEqual(t, len(stderr.buf), tailSize)
	lines := strings.Split(stderr.text(), "\n")
	require.Len(t, lines, tailLines)
	require.Equal(t, "line 9999", lines[tailLines-1])
}
