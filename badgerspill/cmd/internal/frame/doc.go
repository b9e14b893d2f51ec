// Package frame is what the commands have in common: how they are run and interrupted, how errors
// become exit codes, and that a flag may be written with one dash or two.
package frame
