package backup

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4/pb"
	"google.golang.org/protobuf/proto"

	"github.com/badgerspill/badgerspill/spillfile"
)

// File is a backup that is being written: for each commit one list of key-value pairs in protobuf,
// after its length in eight bytes, little-endian. Versions, tombstones, expiry and both meta bytes
// are kept. Entries come in the order of commits, so a reader that stops between two lists has
// whole commits.
type File struct {
	path string
	f    *os.File
	w    *bufio.Writer
	buf  []byte
}

// Create makes a file of mode 0600, which must not be there yet.
func Create(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s is there already; name a file that is not", path)
	}
	if err != nil {
		return nil, err
	}
	return &File{path: path, f: f, w: bufio.NewWriterSize(f, 1<<20)}, nil
}

// Add appends a commit. One without entries takes nothing.
func (b *File) Add(entries []spillfile.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	list := &pb.KVList{Kv: make([]*pb.KV, len(entries))}
	for i, e := range entries {
		list.Kv[i] = &pb.KV{Key: e.Key, Value: e.Value, Version: e.Version, ExpiresAt: e.ExpiresAt,
			UserMeta: []byte{e.UserMeta}, Meta: []byte{e.Meta}}
	}
	buf, err := proto.MarshalOptions{}.MarshalAppend(b.buf[:0], list)
	if err != nil {
		return fmt.Errorf("%s: %w", b.path, err)
	}
	b.buf = buf
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(len(buf)))
	if _, err := b.w.Write(size[:]); err != nil {
		return err
	}
	_, err = b.w.Write(buf)
	return err
}

// Close makes the file durable.
func (b *File) Close() error {
	err := errors.Join(b.w.Flush(), b.f.Sync(), b.f.Close())
	if err != nil {
		return err
	}
	if d, err := os.Open(filepath.Dir(b.path)); err == nil { // some systems cannot sync a directory
		_ = d.Sync()
		d.Close()
	}
	return nil
}

// Remove closes and removes the file.
func (b *File) Remove() error {
	_ = b.f.Close() // what is removed need not be durable; or a failed Close has done it
	return os.Remove(b.path)
}
