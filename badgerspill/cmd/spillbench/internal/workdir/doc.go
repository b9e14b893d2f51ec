// Package workdir makes the user's directory the working directory under "go -C DIR run .", which
// runs the program in DIR.
package workdir
