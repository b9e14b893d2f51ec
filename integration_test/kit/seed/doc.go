// Package seed gives random tests their source. It registers the flag -seed, so a package of tests
// that imports it has no flag of that name.
package seed
