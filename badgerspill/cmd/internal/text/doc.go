// Package text shows figures and tables to people.
package text
