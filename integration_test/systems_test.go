package integration_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// All packages build on the other systems that Badger runs on.
func TestBuildsOnOtherSystems(t *testing.T) {
	if testing.Short() {
		t.Skip("builds Badger twice")
	}
	for _, system := range []string{"windows", "darwin"} {
		t.Run(system, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "go", "build", module+"...")
			cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0", "GOPROXY=off", "GOFLAGS=-mod=readonly -buildvcs=false")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "go build: %s", out)
		})
	}
}
