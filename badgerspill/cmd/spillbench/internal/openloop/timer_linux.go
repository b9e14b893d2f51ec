package openloop

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// kernelTimer is a timerfd. An idle runtime sleeps in its poller, which the timerfd wakes at once,
// while the poller's own timeouts are rounded to milliseconds. Under an engine that keeps all cores
// busy neither is exact: the writer waits for its turn like any goroutine, which is part of what
// the engine costs.
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
