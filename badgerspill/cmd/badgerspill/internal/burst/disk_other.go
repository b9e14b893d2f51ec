//go:build !linux && !darwin && !freebsd

package burst

func volumeOf(string) (volume, bool) { return volume{}, false }

func diskUsage(string) int64 { return 0 }
