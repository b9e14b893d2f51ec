// Package plan calculates what a write burst takes: of the spill and of the disk, of memory, of
// descriptors and of time. It touches no database. What the numbers rest on, how far they were
// checked, and what they leave out is in docs/capacity.md.
package plan
