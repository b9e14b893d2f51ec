package host

import "runtime/debug"

// Release is the one of Badger that the table in the package comment is about.
const Release = "v4.9.6"

// BuiltOn returns the release of Badger that this program was built on, "" where the program does
// not say, and what a replace line of go.mod has put in its place.
func BuiltOn() (version, replaced string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", ""
	}
	for _, m := range info.Deps {
		if m.Path != badgerPackage {
			continue
		}
		version = m.Version
		if m.Replace != nil {
			replaced = m.Replace.Path
			if m.Replace.Version != "" { // a fork that is a module, not a directory
				version = m.Replace.Version
			}
		}
	}
	return version, replaced
}
