package cli

import (
	"testing"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/helptest"
)

// In a test of its own: the others change the working directory.
func TestManualPageIsCommitted(t *testing.T) {
	helptest.SameAsCommitted(t, "../../../../..", "badgerpatch", string(page()))
}
