// Package burst runs one write burst against plain Badger and against badgerspill and compares
// them.
//
// Each engine runs in a process of its own, so that neither inherits the other's heap, caches or
// file descriptors. The parent starts the children, shows what they report and draws the table; a
// child opens one engine, drives the load (package openloop), waits for the spill to be empty,
// closes, reopens and checks every acknowledged key.
package burst
