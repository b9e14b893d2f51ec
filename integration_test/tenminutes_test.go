package integration_test

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// .ci/ten-minutes runs every block of the shell and writes every whole program of
// docs/getting-started.md, in their order: what the page says is what is tried. That it works is
// tried by .ci/run.
func TestTenMinutesFollowsThePage(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the command is a shell script")
	}
	p := pageNamed(t, "docs/getting-started.md")
	lines := strings.Split(p.prose, "\n")
	into := regexp.MustCompile("into `([^`]+)`:$")
	var want []string
	for _, b := range p.blocks {
		switch {
		case b.lang == "sh":
			want = append(want, b.under)
		case b.lang == "go" && isProgram(b):
			above := b.line - 4 // before an empty line and the fence
			m := into.FindStringSubmatch(lines[above])
			require.NotNil(t, m, "%s:%d: the line above the program must end with into `FILE`:", p.name, above+1)
			want = append(want, b.under+": "+m[1])
		}
	}
	out, err := exec.CommandContext(t.Context(), "../.ci/ten-minutes", "--list").Output()
	require.NoError(t, err)
	require.Equal(t, want, strings.Split(strings.TrimSpace(string(out)), "\n"))
	require.GreaterOrEqual(t, len(want), 6)

	// It begins with a clone and ends with a kill.
	var shell []string
	for _, b := range p.blocks {
		if b.lang == "sh" {
			shell = append(shell, b.source)
		}
	}
	require.Contains(t, shell[0], "git clone https://github.com/badgerspill/badgerspill\n")
	require.Contains(t, shell[len(shell)-1], "kill -9")

	ci, err := os.ReadFile("../.ci/run")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^\.ci/ten-minutes fast$`, string(ci))
}
