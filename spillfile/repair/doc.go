// Package repair puts something else in the place of a spill that cannot be opened, or that is
// given up: [Salvage] a sound one with the commits that are intact, [Discard] nothing. Both move
// the old files to a folder beside, and remove none of them.
//
// Nobody else may have the spill open: both take its lock. Both can be interrupted at every moment.
// Then the spill is what it was, or Open refuses it until the same is called again, which finishes
// it; nothing half done is ever opened.
//
// It reads the old spill by package check, and writes the new one by a Log of package spillfile.
package repair
