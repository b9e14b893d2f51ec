package place

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// holders reads /proc/locks, which lists each lock with its process and the device and inode of its
// file.
func holders(paths ...string) (pids []int, known bool) {
	list, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil, false
	}
	wanted := map[[3]uint64]bool{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			wanted[[3]uint64{uint64(unix.Major(uint64(st.Dev))), uint64(unix.Minor(uint64(st.Dev))), st.Ino}] = true
		}
	}
	for line := range strings.Lines(string(list)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" { // those that wait have an arrow there
			continue
		}
		var pid int
		var at [3]uint64
		if _, err := fmt.Sscanf(f[4]+" "+f[5], "%d %x:%x:%d", &pid, &at[0], &at[1], &at[2]); err != nil || !wanted[at] {
			continue
		}
		if !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, true
}
