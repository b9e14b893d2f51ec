// Package process runs parts of a command in processes of their own: this executable again, under a
// hidden verb. The job is one JSON value on its standard input, messages are lines of JSON on its
// standard output.
package process
