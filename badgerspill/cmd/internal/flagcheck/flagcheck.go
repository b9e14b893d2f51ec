package flagcheck

import (
	"fmt"
	"time"
)

// Error is a flag whose value cannot be used.
type Error struct {
	Flag   string // with its dashes
	Value  string
	Reason string // the bound that the value breaks
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %s", e.Flag, e.Value, e.Reason)
}

// New returns an *Error about a value; the reason is formatted as by fmt.Sprintf.
func New(flag string, value any, reason string, args ...any) error {
	return &Error{flag, fmt.Sprint(value), fmt.Sprintf(reason, args...)}
}

// Between returns an *Error unless value is from low to high.
func Between[T int | int64 | float64 | time.Duration](flag string, value, low, high T) error {
	// Written so that NaN is refused, too.
	if value >= low && value <= high {
		return nil
	}
	return New(flag, value, "must be between %v and %v", low, high)
}
