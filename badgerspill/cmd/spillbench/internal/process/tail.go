package process

import (
	"bytes"
	"strings"
)

// tail keeps the last bytes written to it: the end of a panic, not all of a noisy log.
type tail struct{ buf []byte }

const (
	tailSize  = 16 << 10
	tailLines = 40
)

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	lines := strings.Split(string(bytes.TrimSpace(t.buf)), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
