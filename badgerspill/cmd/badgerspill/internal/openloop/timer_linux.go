package openloop

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// kernelTimer is a timerfd. The runtime's poller is woken by it at once, while it rounds its own timeouts to
// milliseconds.
type kernelTimer struct {
	fd   int
	file *os.File
	buf  [8]byte
}

// newKernelTimer returns nil if the kernel gives out no timer.
func newKernelTimer() *kernelTimer {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil
	}
	return &kernelTimer{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}
}

// sleep blocks for d and reports whether it could.
func (t *kernelTimer) sleep(d time.Duration) bool {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := unix.TimerfdSettime(t.fd, 0, &spec, nil); err != nil {
		return false
	}
	_, err := t.file.Read(t.buf[:])
	return err == nil
}

func (t *kernelTimer) close() { _ = t.file.Close() }
