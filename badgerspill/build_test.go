package badgerspill

import (
	"expvar"
	"testing"

	"github.com/stretchr/testify/require"
)

// skipMended leaves out a test that needs a fault of Badger's which a mended one has not.
func skipMended(t *testing.T) {
	t.Helper()
	if mends := BadgerBuild().Mends; mends != "" {
		t.Skipf("this Badger has not the fault: it is mended (%s)", mends)
	}
}

func TestBadgerBuildInWords(t *testing.T) {
	for want, b := range map[string]BadgerInfo{
		"v4.9.6":                           {Version: "v4.9.6"},
		"v4.9.6, mended: gc,move":          {Version: "v4.9.6", Mends: "gc,move", Replaced: "../badger"},
		"v4.9.6, replaced by ../fork":      {Version: "v4.9.6", Replaced: "../fork"},
		"unknown":                          {},
		"unknown, mended: tables":          {Mends: "tables"},
		"unknown, replaced by example.com": {Replaced: "example.com"},
	} {
		require.Equal(t, want, b.String())
	}
}

func TestBadgerBuildTellsMends(t *testing.T) {
	b := BadgerBuild()
	if mends, ok := expvar.Get("badger_v4_mends").(*expvar.String); ok {
		require.Equal(t, mends.Value(), b.Mends)
		return
	}
	require.Empty(t, b.Mends)
}
