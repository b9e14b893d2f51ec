package cli

import (
	"flag"
	"testing"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerpatch/internal/mend"
)

var each = flag.Bool("mends.each", false, "each mend alone, and all but each (5 minutes)")

// patterns are the names of the tests of a mend, where they are not as its own.
var patterns = map[string]string{
	"tables": "Tables", "logs": "Logs", "loader": "Loader", "compaction": "Compaction", "memtable": "Memtable", "gc": "GC",
	"levelzero": "LevelZero", "maintenance": "Maintenance", "dropall": "DropAll", "move": "Move",
}

// Each mend alone passes its own test, and without it that fails.
func TestEachMend(t *testing.T) {
	if !*each {
		t.Skip("-mends.each runs it")
	}
	for _, m := range mend.All() {
		t.Run(m.Name, func(t *testing.T) {
			if out, err := testMends(t, []string{m.Name}, nil, patterns[m.Name]); err != nil {
				t.Errorf("alone: %v\n%s", err, out)
			}
			if out, err := testMends(t, nil, []string{m.Name}, patterns[m.Name]); err == nil {
				t.Errorf("passes without it:\n%s", out)
			}
		})
	}
}
