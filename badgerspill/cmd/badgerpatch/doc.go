// Command badgerpatch makes a mended copy of Badger on this machine, from the copy in the module
// cache, and has a module use it:
//
//	badgerpatch -replace ../badger-mended    make the copy, and let go.mod of this module name it
//	badgerpatch -drop                        go back to Badger as it is released
//	badgerpatch -list                        what is mended
//
// It knows one version of Badger, and refuses all others. Nothing of Badger is in this command but
// the few lines by which it finds its places. See docs/mended.md.
package main
