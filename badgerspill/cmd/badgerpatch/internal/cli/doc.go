// Package cli is the command line of badgerpatch.
package cli
