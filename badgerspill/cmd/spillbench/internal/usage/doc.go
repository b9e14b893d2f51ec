// Package usage measures what this process takes from the machine. Where the platform does not
// tell, the error is errors.ErrUnsupported or that of a file that is not there.
package usage
