// Package pace bounds how fast something is read, so that who reads all of a spill leaves the disk
// to others.
package pace
