package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"google.golang.org/protobuf/proto"
)

const (
	// maxChecksum is more than a checksum takes: its algorithm and a number of 64 bits.
	maxChecksum = 32
	// tablesAtOnce is how many ends of tables are read at once: each is a seek where nothing of the
	// table is cached.
	tablesAtOnce = 8
)

// CheckTables returns an error that names a table of Badger's manifest which is cut short at its
// end, or whose last bytes are damaged. Badger believes those, and ends the process over them, in a
// goroutine of its own (table.go, initIndex). What Badger notices itself is left to it: a file that
// is not there, cannot be opened, or is empty, and an index that is not that of its checksum. It
// blocks for a read of the last bytes of each table.
func CheckTables(opt badger.Options) error {
	manifest, ok := ReadManifest(opt)
	if !ok {
		return nil
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	var damaged []error
	turn := make(chan struct{}, tablesAtOnce)
	for id := range manifest.Tables {
		turn <- struct{}{}
		wait.Add(1)
		go func() {
			defer func() {
				<-turn
				wait.Done()
			}()
			if err := checkTable(table.NewFilename(id, opt.Dir)); err != nil {
				mu.Lock()
				defer mu.Unlock()
				damaged = append(damaged, err)
			}
		}()
	}
	wait.Wait()
	if len(damaged) == 0 {
		return nil
	}
	return fmt.Errorf("badgerspill: %d of %d tables of Badger are damaged, and Badger ends the process over such a one; "+
		"restore the file, or a backup: %w", len(damaged), len(manifest.Tables), damaged[0])
}

// ReadManifest returns what Badger's manifest has. It returns false if that cannot be read, which
// Badger says better. It blocks for a read of the file.
func ReadManifest(opt badger.Options) (m badger.Manifest, ok bool) {
	fp, err := os.Open(filepath.Join(opt.Dir, badger.ManifestFilename))
	if err != nil {
		return m, false
	}
	defer fp.Close()
	m, _, err = badger.ReplayManifestFile(fp, opt.ExternalMagicVersion, opt.WithLogger(nil))
	return m, err == nil
}

// checkTable looks at the end of a table: its index, the length of that, a checksum of the index,
// and the length of the checksum. Lengths are 32 bits, big endian.
func checkTable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	const length = 4
	size := info.Size()
	if size == 0 { // also while another process removes it
		return nil
	}
	end := make([]byte, min(size, 2*length+maxChecksum))
	if _, err := f.ReadAt(end, size-int64(len(end))); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil { // Badger reads it by a map, so for it this is a SIGBUS
		return err
	}
	bad := func(what string) error { return fmt.Errorf("%s, of %d bytes: %s", path, size, what) }
	take := func(n int64) (taken []byte, ok bool) {
		at := int64(len(end)) - n
		if at < 0 {
			return nil, false
		}
		taken, end = end[at:], end[:at]
		return taken, true
	}
	text, ok := take(length)
	if !ok {
		return bad("it has no end")
	}
	sum := int64(binary.BigEndian.Uint32(text))
	text, ok = take(sum)
	if !ok {
		return bad(fmt.Sprintf("the checksum of its index cannot be of %d bytes", sum))
	}
	checksum := new(pb.Checksum)
	if proto.Unmarshal(text, checksum) != nil {
		return nil
	}
	if _, known := pb.Checksum_Algorithm_name[int32(checksum.Algo)]; !known {
		return bad(fmt.Sprintf("the checksum of its index is of no kind that there is, %d", checksum.Algo))
	}
	if text, ok = take(length); !ok {
		return bad("it has no index")
	}
	if index := int64(binary.BigEndian.Uint32(text)); index == 0 || index > size-sum-2*length {
		return bad(fmt.Sprintf("its index cannot be of %d bytes", index))
	}
	return nil
}
