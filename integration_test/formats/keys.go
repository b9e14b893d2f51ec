package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/badgerspill/badgerspill/badgerspill"
)

const keysName = "keys.txt"

// book is what a database must hold: hashes by key, "" for a key that must be gone.
type book map[string]string

func hash(value []byte) string {
	sum := sha256.Sum256(value)
	return fmt.Sprintf("%x", sum[:8])
}

// value returns n bytes that compress well.
func value(key string, round, n int) []byte {
	line := fmt.Sprintf("%s of round %d; ", key, round)
	return []byte(strings.Repeat(line, n/len(line)+1))[:n]
}

// set commits one key.
func (b book) set(db *badgerspill.DB, key string, round, n int) error {
	v := value(key, round, n)
	b[key] = hash(v)
	return db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte(key), v) })
}

func (b book) delete(db *badgerspill.DB, key string) error {
	b[key] = ""
	return db.Update(func(txn *badgerspill.Txn) error { return txn.Delete([]byte(key)) })
}

// drop notes that all keys with the prefix are gone.
func (b book) drop(prefix string) {
	for k := range b {
		if strings.HasPrefix(k, prefix) {
			b[k] = ""
		}
	}
}

// read adds what the file in work says; none says nothing.
func (b book) read(work string) error {
	f, err := os.Open(filepath.Join(work, keysName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		switch f := strings.Fields(lines.Text()); {
		case len(f) == 3 && f[0] == "+":
			b[f[1]] = f[2]
		case len(f) == 2 && f[0] == "-":
			b[f[1]] = ""
		default:
			return fmt.Errorf("%s: %q", keysName, lines.Text())
		}
	}
	return lines.Err()
}

func (b book) write(work string) error {
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if h := b[k]; h != "" {
			fmt.Fprintln(&text, "+", k, h)
		} else {
			fmt.Fprintln(&text, "-", k)
		}
	}
	return os.WriteFile(filepath.Join(work, keysName), []byte(text.String()), 0o600)
}
