package mend

var tables = Mend{
	Name:  "tables",
	Short: "a table is written with write and fsync, and mapped when it is complete: half of the CPU, an error where the disk is full",
	edits: []edit{{
		file: "table/table.go",
		body: "CreateTable",
		with: `
	bd := builder.Done()
	f, err := os.OpenFile(fname, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0666)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("file already exists: %s", fname)
	}
	if err != nil {
		return nil, y.Wrapf(err, "while creating table: %s", fname)
	}
	mf, err := writeTable(f, &bd)
	if err != nil {
		f.Close()
		os.Remove(fname)
		return nil, y.Wrapf(err, "while creating table: %s", fname)
	}
	return OpenTable(mf, *builder.opts)
`,
	}},
	files: map[string]string{"table/badgerpatch_tables.go": `package table

import (
	"bufio"
	"os"
	"sync"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
)

var tableWriters = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 256<<10) }}

// writeTable writes what the builder has made, syncs it, and maps it.
func writeTable(f *os.File, bd *buildData) (*z.MmapFile, error) {
	w := tableWriters.Get().(*bufio.Writer)
	defer tableWriters.Put(w)
	w.Reset(f)
	defer w.Reset(nil)
	for _, block := range bd.blockList {
		w.Write(block.data[:block.end])
	}
	w.Write(bd.index)
	w.Write(y.U32ToBytes(uint32(len(bd.index))))
	w.Write(bd.checksum)
	w.Write(y.U32ToBytes(uint32(len(bd.checksum))))
	if err := w.Flush(); err != nil { // the first error of all of them
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	return z.OpenMmapFileUsing(f, 0, true)
}
`},
}
