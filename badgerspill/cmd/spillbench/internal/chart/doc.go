// Package chart draws a run of a write burst: the p99 of each second above, commits a second below,
// on one axis of time, and between them what the layer did. It knows nothing of how the figures
// came about.
//
// Lengths are points, 72 to an inch, and y grows upwards, as in gonum.org/v1/plot/vg.
package chart
