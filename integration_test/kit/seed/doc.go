// Package seed gives random tests their seed, prints it, and takes it back. It registers the flag
// -seed, so a package of tests that imports it has no other flag for that.
package seed
