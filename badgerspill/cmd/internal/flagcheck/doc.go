// Package flagcheck says what is wrong with the value of a flag.
package flagcheck
