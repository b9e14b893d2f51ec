package host

import (
	"expvar"
	"runtime/debug"
)

// Release is the one of Badger that the table in the package comment is about.
const Release = "v4.9.6"

// BuiltOn returns the release of Badger that this program was built on, "" where the program does
// not say, and what a replace line of go.mod has put in its place.
func BuiltOn() (version, replaced string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", ""
	}
	return builtOn(info.Deps)
}

// builtOn finds it among the modules of a program.
func builtOn(deps []*debug.Module) (version, replaced string) {
	const directory = "(devel)" // what a directory has for a version
	for _, m := range deps {
		if m.Path != badgerPackage {
			continue
		}
		version = m.Version
		if r := m.Replace; r != nil {
			replaced = r.Path
			if r.Version != "" && r.Version != directory { // a fork that is a module
				version = r.Version
			}
		}
	}
	return version, replaced
}

// Mends returns the mends that badgerpatch has made, by name, separated by commas; "" for Badger as
// it is released.
func Mends() string {
	if mends, ok := expvar.Get("badger_v4_mends").(*expvar.String); ok {
		return mends.Value()
	}
	return ""
}

// isKnown reports whether the faults of a Badger are those of Release. No mend touches what keeps a
// lock; a fork may.
func isKnown(version, replaced, mends string) bool {
	if replaced != "" && mends == "" {
		return false
	}
	return version == Release || version == "" // the latter in a test
}
