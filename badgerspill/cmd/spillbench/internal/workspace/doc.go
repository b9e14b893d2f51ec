// Package workspace is the directory in which a command makes its databases.
package workspace
