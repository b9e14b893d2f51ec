package badgerspill

import "github.com/badgerspill/badgerspill/badgerspill/internal/host"

// BadgerInfo is the Badger that a program was built on.
type BadgerInfo struct {
	// Version is "v4.9.6", for a directory in its place too; "" where the program does not say.
	Version string
	// Mends are the mends that badgerpatch has made, by name, separated by commas; "" for Badger as
	// it is released.
	Mends string
	// Replaced is what a replace line of go.mod has put in the place of the release, "" if nothing.
	Replaced string
}

// BadgerBuild returns the Badger that this program was built on.
func BadgerBuild() BadgerInfo {
	b := BadgerInfo{Mends: host.Mends()}
	b.Version, b.Replaced = host.BuiltOn()
	return b
}

// String returns "v4.9.6", or "v4.9.6, mended: tables, gc", or "v4.9.6, replaced by ../badger".
func (b BadgerInfo) String() string {
	version := b.Version
	if version == "" {
		version = "unknown"
	}
	switch {
	case b.Mends != "":
		return version + ", mended: " + b.Mends
	case b.Replaced != "":
		return version + ", replaced by " + b.Replaced
	}
	return version
}
