// Package process runs parts of a command in processes of their own: this executable again, under a
// hidden verb, with a job as one JSON value on its standard input and messages as lines of JSON on
// its standard output.
package process
