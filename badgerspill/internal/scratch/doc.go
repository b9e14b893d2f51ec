// Package scratch makes temporary directories of which those that a killed process has left are
// removed by the next one.
package scratch
