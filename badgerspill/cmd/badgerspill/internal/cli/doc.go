// Package cli is the command: a file for each verb, with its flags and its help.
package cli
