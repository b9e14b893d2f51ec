package terminal

import "os"

// Is says whether a stream, as cobra hands it out, is a terminal. Where the platform does not tell
// it is none.
func Is(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && is(f)
}
