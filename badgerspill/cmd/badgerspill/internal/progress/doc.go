// Package progress shows how far a long operation is: a bar that is drawn over itself on a
// terminal, a line now and then otherwise.
package progress
