//go:build !linux

package openloop

import "time"

// kernelTimer exists on Linux only; elsewhere writers wait with time.Sleep.
type kernelTimer struct{}

func newKernelTimer() *kernelTimer { return nil }

func (*kernelTimer) sleep(time.Duration) bool { return false }

func (*kernelTimer) close() {}
