//go:build !unix

package usage

import (
	"errors"
	"time"
)

func cpu() (time.Duration, error) { return 0, errors.ErrUnsupported }
