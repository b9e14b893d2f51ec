package block

import (
	"fmt"
	"math"
)

// MaxPiece is how many bytes are held in one piece of memory at most. It is out of reach but in a
// 32-bit address space, where a process may meet what a 64-bit one has written: 1 GiB there leaves
// room for what is made of a piece. Only tests change it.
var MaxPiece int64 = math.MaxInt / 2

// InOnePiece returns an error that matches ErrTooLarge if n bytes do not fit into memory. That is
// no damage: nothing may be cut off for it.
func InOnePiece(path string, n int64) error {
	if n > MaxPiece {
		return fmt.Errorf("%w: %s needs %d bytes of memory in one piece, this system has at most %d; open it with a 64-bit program",
			ErrTooLarge, path, n, MaxPiece)
	}
	return nil
}
