// Command figures draws the figures of the documentation that show no measurement, from their
// descriptions:
//
//	go run ./integration_test/figures [FOLDER]
//
// reads every .txt in FOLDER/figures and writes an .svg of the same name into FOLDER, docs without
// an argument. Each figure has a light and a dark scheme, of which the viewer takes its own, and
// carries the SHA-256 of its description. .ci/figures runs it, and draws the measured ones, too.
//
// A description has one thing a line, drawn in that order. Places are pixels from the upper left:
//
//	title WORDS                  what the figure is called
//	desc WORDS                   what it shows, for who cannot see it
//	view X Y WIDTH HEIGHT        the part of the plane that is seen
//	rect CLASS X Y WIDTH HEIGHT [RADIUS]
//	path CLASS D                 the d of an SVG path
//	head CLASS X Y DIRECTION     of an arrow: its point, and up, down, left or right
//	text CLASS[,CLASS...] X Y WORDS
//
// Words between two asterisks are bold. A line that begins with # is a comment. The classes are in
// draw.go.
package main
