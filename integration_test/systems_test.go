package integration_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSystemsAreChecked: each system that the docs name is built by the script that CI runs, and
// the reverse; those that all tests must compile on are among them.
func TestSystemsAreChecked(t *testing.T) {
	out, err := exec.Command("bash", "../.ci/systems", "--list").Output()
	require.NoError(t, err)
	checked := map[string]bool{}
	vetted := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		system, what, ok := strings.Cut(strings.TrimSpace(line), " ")
		require.True(t, ok, line)
		checked[system] = true
		vetted[system] = vetted[system] || what == "vet"
	}
	for _, system := range []string{"linux/amd64", "linux/386", "darwin/arm64", "windows/amd64", "freebsd/amd64"} {
		require.True(t, vetted[system], "go vet for %s", system)
	}
	text, err := os.ReadFile("../docs/guarantees.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(text), "\n## Systems\n")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	named := map[string]bool{}
	for _, system := range regexp.MustCompile("`([a-z0-9]+/[a-z0-9]+)`").FindAllStringSubmatch(section, -1) {
		named[system[1]] = true
	}
	require.Equal(t, checked, named)
}
