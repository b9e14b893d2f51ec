package room

import (
	"errors"
	"fmt"
)

// ErrNoSpace matches the error of what no volume with free space above its floor can take.
var ErrNoSpace = errors.New("free disk space is below MinFreeSpace")

// ShortError says which volume is short of what. It matches ErrNoSpace.
type ShortError struct {
	Dir   string // on the volume
	Free  int64  // bytes, or inodes
	Floor int64  // what of them must stay free
	Need  int64  // bytes that were asked for; 0: the volume is short whatever is asked for
	Files bool   // Free and Floor are inodes
}

// Error returns the text: the volume, what is free, the floor, and the way out.
func (e *ShortError) Error() string {
	if e.Files {
		return fmt.Sprintf("badgerspill: no free inodes: %s has those for %d more files, the floor is %d; have fewer files of others there, or give it a volume with more inodes",
			e.Dir, e.Free, e.Floor)
	}
	if e.Need > 0 {
		return fmt.Sprintf("badgerspill: %v: %s has %d bytes free, the floor is %d, and this needs %d; make room, or lower MinFreeSpace",
			ErrNoSpace, e.Dir, e.Free, e.Floor, e.Need)
	}
	return fmt.Sprintf("badgerspill: %v: %s has %d bytes free, the floor is %d; make room, or lower MinFreeSpace",
		ErrNoSpace, e.Dir, e.Free, e.Floor)
}

// Is reports whether target is ErrNoSpace.
func (e *ShortError) Is(target error) bool { return target == ErrNoSpace }
