// Package badgercopy takes the supported release of Badger from the module cache and makes a mended
// copy of it, all of it or none. What is there it only replaces if it made it, and nobody has
// changed it since.
package badgercopy
