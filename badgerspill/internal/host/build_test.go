package host

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBuiltOn(t *testing.T) {
	badger := func(replace *debug.Module) []*debug.Module {
		return []*debug.Module{{Path: "example.com/other", Version: "v1.0.0"}, {Path: badgerPackage, Version: Release, Replace: replace}}
	}
	for name, row := range map[string]struct {
		deps              []*debug.Module
		version, replaced string
	}{
		"none":                {nil, "", ""},
		"as it is released":   {badger(nil), Release, ""},
		"a directory":         {badger(&debug.Module{Path: "../badger", Version: "(devel)"}), Release, "../badger"},
		"a fork":              {badger(&debug.Module{Path: "example.com/fork", Version: "v4.9.9"}), "v4.9.9", "example.com/fork"},
		"a fork, same number": {badger(&debug.Module{Path: "example.com/fork", Version: Release}), Release, "example.com/fork"},
	} {
		t.Run(name, func(t *testing.T) {
			version, replaced := builtOn(row.deps)
			require.Equal(t, row.version, version)
			require.Equal(t, row.replaced, replaced)
		})
	}
}

// TestIsKnown: to let go of a lock that a fork has let go of ends the process.
func TestIsKnown(t *testing.T) {
	require.True(t, isKnown(Release, "", ""))
	require.True(t, isKnown("", "", ""))
	require.True(t, isKnown(Release, "../badger", "gc,move"), "mended")
	require.False(t, isKnown("v4.9.7", "", ""))
	require.False(t, isKnown(Release, "../fork", ""))
	require.False(t, isKnown(Release, "example.com/fork", ""))
	require.False(t, isKnown("v4.9.9", "example.com/fork", "gc,move"))
}
