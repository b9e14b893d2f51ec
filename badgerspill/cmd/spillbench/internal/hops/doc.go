// Package hops tells what the CPU time of a process went to: which step of a write's way to the
// bottom of the tree. It takes a CPU profile and gives each sample to the innermost function of its
// stack that belongs to a step.
package hops
