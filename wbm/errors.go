package wbm

import "errors"

// Errors of the constructor. They are wrapped with the field, its value and the bound.
var (
	// ErrInvalidOption is matched by every error that New, SetLimit and SetRatios return.
	ErrInvalidOption = errors.New("wbm: invalid option")
)

// Errors of a reservation.
var (
	// ErrClosed ends a reservation on an account that is closed.
	ErrClosed = errors.New("wbm: account is closed")
	// ErrWriteBlocked ends a reservation that found room neither in memory nor in the
	// spill within its block timeout. Nothing is reserved.
	ErrWriteBlocked = errors.New("wbm: write blocked: memory and spill have no room")
)
