//go:build unix && !linux && !darwin

package spillfile

import "errors"

func (osFS) Free(dir string) (free, total int64, err error) {
	return 0, 0, errors.ErrUnsupported
}
