package usage

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Work is what the process did since it was started.
type Work struct {
	CPU time.Duration // user and system, of all threads
	// Written are the bytes that the process caused to be sent to storage, counted when it makes a
	// page dirty: writes to files and to memory-mapped ones alike. Cancelled are those of them that
	// never got there, because the file was truncated or removed first. See proc_pid_io(5).
	Written, Cancelled int64
}

// Sub returns the work from before to w.
func (w Work) Sub(before Work) Work {
	return Work{w.CPU - before.CPU, w.Written - before.Written, w.Cancelled - before.Cancelled}
}

// Now returns the work of this process so far.
func Now() (w Work, err error) {
	if w.CPU, err = cpu(); err != nil {
		return w, fmt.Errorf("CPU time of this process: %w", err)
	}
	io, err := fields("/proc/self/io", "write_bytes", "cancelled_write_bytes")
	if err != nil {
		return w, err
	}
	w.Written, w.Cancelled = io[0], io[1]
	return w, nil
}

// Memory is what the process has in memory now, in bytes.
type Memory struct {
	Resident int64 // all of it
	// what belongs to no file: heap, stacks, and what was allocated beside the Go heap
	Anonymous int64
}

// Mapped is the resident part of files.
func (m Memory) Mapped() int64 { return m.Resident - m.Anonymous }

// InMemory returns the memory of this process. It takes a walk through its page tables:
// milliseconds where gigabytes of files are mapped.
func InMemory() (Memory, error) {
	kb, err := fields("/proc/self/smaps_rollup", "Rss", "Anonymous")
	if err != nil {
		return Memory{}, err
	}
	return Memory{Resident: kb[0] << 10, Anonymous: kb[1] << 10}, nil
}

// fields returns the first number of each line "name: number ..." of a file, all of which must be
// there.
func fields(file string, names ...string) ([]int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	values := make([]int64, len(names))
	for i, name := range names {
		if values[i], err = field(text, name); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return values, nil
}

func field(text []byte, name string) (int64, error) {
	for line := range bytes.Lines(text) {
		key, rest, found := bytes.Cut(line, []byte(":"))
		if !found || string(key) != name {
			continue
		}
		words := bytes.Fields(rest)
		if len(words) == 0 {
			return 0, fmt.Errorf("no number in the line %q", bytes.TrimSpace(line))
		}
		return strconv.ParseInt(string(words[0]), 10, 64)
	}
	return 0, fmt.Errorf("no line %s", name)
}
