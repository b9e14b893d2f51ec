// Package manual writes manual pages.
package manual
