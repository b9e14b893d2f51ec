package engine

import (
	"fmt"
	"testing"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

func TestPebbleHoldsWhatWasAcknowledged(t *testing.T) {
	for _, sync := range []bool{false, true} {
		t.Run(fmt.Sprintf("sync %t", sync), func(t *testing.T) {
			dir := t.TempDir()
			check := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			e, err := openPebble(dir, Options{SyncWrites: sync})
			check(err)
			write, b := e.Writer(), e.Batch()
			for i := range 100 {
				check(write(fmt.Appendf(nil, "w%02d", i), fmt.Appendf(nil, "%d", i)))
				check(b.Set(fmt.Appendf(nil, "b%02d", i), make([]byte, 256<<10)))
			}
			check(b.Flush())
			b.Cancel()
			check(e.Close())

			e, err = openPebble(dir, Options{Checking: true})
			check(err)
			keys, values := 0, 0
			check(e.ScanKeys(func([]byte) bool { keys++; return keys < 150 }))
			check(e.Scan(func(key, value []byte) bool { values += len(value); return true }))
			if want := 100*256<<10 + 190; keys != 150 || values != want {
				t.Fatalf("%d keys until told to stop, %d bytes of values instead of %d", keys, values, want)
			}
			got, err := e.Get([]byte("w42"), []byte("is "))
			if err != nil || string(got) != "is 42" {
				t.Fatalf("%q, %v", got, err)
			}
			if _, err := e.Get([]byte("w"), nil); err != openloop.ErrNotFound {
				t.Fatal(err)
			}
			check(e.Close())
		})
	}
}
