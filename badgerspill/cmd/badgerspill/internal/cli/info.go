package cli

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/place"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/repair"
)

const infoHelp = `Info tells what a database and its spill hold: what is pending, how old it is,
the segments with the timestamps of their commits, how well they compress, and
whether the spill would open.

It opens no database, takes no lock and writes nothing, so it can be used while
a program has the database open. Then files come and go while they are looked
at, and the numbers may not fit each other; it says so. It reads manifests,
headers and the ends of index files, and whole only those segments that have no
index; "badgerspill verify" reads everything. An encryption key is needed only
to say whether the spill would open.

  built on     the Badger that this command was built on, as released or mended
  tree         the shape that Open would choose for Badger's tree now
  pending      commits that are acknowledged and not in Badger yet
  oldest       age of the first segment with such commits
  ratio        bytes of entries by bytes on disk, measured on the first blocks
               of each segment
  interlock    the file that keeps plain Badger from opening the directory while
               commits are pending
  health       sound: Open would take it; otherwise what Open would say`

func newInfo() *cobra.Command {
	var flags place.Flags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info DIR",
		Short: "Show the state of a database and its spill, also while a program has it open",
		Long:  infoHelp,
		Example: `  badgerspill info /var/lib/app
  badgerspill info --json /var/lib/app | jq .spill.pending_commits`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			db, err := flags.Find(args[0])
			if err != nil {
				return err
			}
			in, err := lookAt(db, time.Now())
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(in)
			}
			return in.print(cmd.OutOrStdout())
		},
	}
	flags.Register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

// info is what the command shows. Sizes are bytes.
type info struct {
	Dir string `json:"dir"`
	// of the database, once badgerspill has opened it
	Identity string     `json:"identity,omitempty"`
	Open     bool       `json:"open"`              // another process is known to have it open
	OpenBy   []int      `json:"open_by,omitempty"` // its process
	Access   string     `json:"access"`            // the same in words
	Moving   bool       `json:"moving"`            // the numbers may not fit each other
	Badger   badgerInfo `json:"badger"`
	Spill    spillInfo  `json:"spill"`
	Health   string     `json:"health"` // sound, corrupt, refused, or unknown
	Problems []string   `json:"problems,omitempty"`
}

type badgerInfo struct {
	Levels         []int `json:"tables_by_level"`
	Tables         int   `json:"tables"`
	TableBytes     int64 `json:"table_bytes"`
	ValueLogs      int   `json:"value_logs"`
	ValueLogBytes  int64 `json:"value_log_bytes"`
	MemtableLogs   int   `json:"memtable_logs"` // of memtables that are not in a table yet
	EncryptedTable bool  `json:"encrypted"`
	// Build is the Badger that this command was built on.
	Build string `json:"build"`
	// Tree is the shape that Open would choose for Badger's tree now, with the default options.
	Tree treeInfo `json:"tree"`
}

type treeInfo struct {
	BaseLevelSize int64  `json:"base_level_size"`
	BaseTableSize int64  `json:"base_table_size"`
	NumCompactors int    `json:"num_compactors"`
	Why           string `json:"why"`
}

type spillInfo struct {
	Dir             string        `json:"dir"`
	Exists          bool          `json:"exists"`
	Interlock       bool          `json:"interlock"`
	PendingCommits  int64         `json:"pending_commits"`
	PendingEntries  int64         `json:"pending_entries"`
	DiskBytes       int64         `json:"disk_bytes"`
	IndexBytes      int64         `json:"index_bytes"` // of disk_bytes
	RawBytes        int64         `json:"raw_bytes"`   // before compression, about
	Ratio           float64       `json:"ratio"`
	FirstTs         uint64        `json:"first_ts"`
	LastTs          uint64        `json:"last_ts"`
	OldestSeconds   float64       `json:"oldest_seconds"`
	ReplayedThrough uint64        `json:"replayed_through"` // sequence
	CleanClose      bool          `json:"clean_close"`
	TornBytes       int64         `json:"torn_bytes"`
	DeadSegments    int           `json:"dead_segments"`     // replayed, not removed yet
	Prepared        int           `json:"prepared_segments"` // empty files for the segments to come
	Segments        []segmentInfo `json:"segments"`
}

type segmentInfo struct {
	Segment   uint64    `json:"segment"`
	Created   time.Time `json:"created,omitzero"`
	FirstTs   uint64    `json:"first_ts"`
	LastTs    uint64    `json:"last_ts"`
	Commits   int64     `json:"commits"`
	Entries   int64     `json:"entries"`
	Bytes     int64     `json:"bytes"`
	Ratio     float64   `json:"ratio"`
	Index     bool      `json:"index"`
	Encrypted bool      `json:"encrypted"`
	Unordered bool      `json:"unordered"` // timestamps are the caller's, in any order
	Problem   string    `json:"problem,omitempty"`
}

// lookAt gathers it.
func lookAt(db *place.Database, now time.Time) (*info, error) {
	holders := db.Holders()
	in := &info{Dir: db.Dir, Open: holders.Open(), OpenBy: holders.PIDs, Access: holders.String(), Health: "sound"}
	if db.Known {
		in.Identity = hex.EncodeToString(db.Identity[:])
	}
	sp, err := check.Inspect(db.Source())
	if err != nil {
		return nil, db.Explain(err)
	}
	in.Moving = sp.Changing || holders.Open()
	if in.Badger, err = lookAtBadger(db); err != nil {
		return nil, err
	}
	in.Spill = spillInfo{Dir: db.SpillDir, Exists: sp.Exists, Interlock: db.Locked, PendingCommits: sp.Commits, PendingEntries: sp.Entries,
		DiskBytes: sp.DiskBytes, IndexBytes: sp.IndexBytes, RawBytes: sp.RawBytes, Ratio: sp.Ratio, FirstTs: sp.FirstTs, LastTs: sp.LastTs,
		ReplayedThrough: sp.ReplayedThrough, CleanClose: sp.CleanClose, TornBytes: sp.TornBytes, DeadSegments: sp.Dead, Prepared: sp.Prepared, Segments: []segmentInfo{}}
	if !sp.Oldest.IsZero() {
		in.Spill.OldestSeconds = max(0, now.Sub(sp.Oldest).Seconds())
	}
	for _, s := range sp.Segments {
		one := segmentInfo{Segment: s.ID, Created: s.Created, FirstTs: s.FirstTs, LastTs: s.LastTs, Commits: s.Commits, Entries: s.Entries,
			Bytes: s.Size + s.IndexSize, Ratio: s.Ratio, Index: s.IndexSize > 0, Encrypted: s.Encrypted, Unordered: s.Unordered}
		if s.Err != nil {
			one.Problem = s.Err.Error()
		}
		in.Spill.Segments = append(in.Spill.Segments, one)
	}
	in.judge(db, sp)
	return in, nil
}

// judge says what is wrong, the worst first.
func (in *info) judge(db *place.Database, sp *check.Inspection) {
	problem := func(health string, format string, args ...any) {
		if in.Health == "sound" {
			in.Health = health
		}
		in.Problems = append(in.Problems, fmt.Sprintf(format, args...))
	}
	if interrupted, err := repair.SalvageInterrupted(db.Source()); interrupted || err != nil {
		problem("refused", "a salvage was interrupted while it moved files: run \"badgerspill salvage\" again to finish it")
	}
	judged := db.Judge(sp)
	if err := judged; err != nil {
		health := "refused"
		switch {
		case sp.Changing: // Inspect has tried several times
			health, err = "unknown", errors.New("it changes too fast to be judged; look again, or stop the program that writes to it")
		case errors.Is(err, spillfile.ErrCorrupt), errors.Is(err, spillfile.ErrNoManifest), errors.Is(err, spillfile.ErrForeignSpill) && db.BadID != nil:
			health = "corrupt"
		case errors.Is(err, spillfile.ErrKeyMissing):
			health = "unknown"
		}
		problem(health, "%v", db.Explain(err))
	}
	for _, s := range sp.Segments {
		if s.Err != nil && (judged == nil || !strings.Contains(judged.Error(), s.Err.Error())) {
			problem("corrupt", "%v", s.Err)
		}
	}
	if db.BadID != nil && judged == nil {
		problem("sound", "%s: %v; no commits are pending: the next Open writes it anew", db.IdentityPath(), db.BadID)
	}
	if sp.Commits > 0 && !db.Locked {
		problem("sound", "commits are pending and there is no interlock %s: do not open the directory with plain Badger, but with badgerspill", db.InterlockPath())
	}
	if db.Drop {
		problem("sound", "a DropAll or DropPrefix was interrupted: the next Open finishes it")
	}
}

// lookAtBadger counts Badger's files, and reads in its manifest on which levels its tables are.
func lookAtBadger(db *place.Database) (b badgerInfo, err error) {
	b.Levels = []int{}
	if b.Tables, b.TableBytes, err = files(db.Dir, ".sst"); err != nil {
		return b, err
	}
	if b.ValueLogs, b.ValueLogBytes, err = files(db.ValueDir, ".vlog"); err != nil {
		return b, err
	}
	if b.MemtableLogs, _, err = files(db.Dir, ".mem"); err != nil {
		return b, err
	}
	b.Build = badgerspill.BadgerBuild().String()
	b.Tree = treeInfo(badgerspill.DefaultOptions(db.Dir).WithSpillDir(db.SpillDir).Tree())
	path := filepath.Join(db.Dir, badger.ManifestFilename)
	f, err := os.Open(path)
	if err != nil {
		return b, err
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(db.Dir).WithLogger(nil))
	if err != nil {
		// one of another version, or with a magic number of the program's own: its files are
		// counted
		return b, nil
	}
	b.Tables = len(m.Tables)
	for _, level := range m.Levels {
		b.Levels = append(b.Levels, len(level.Tables))
	}
	for _, t := range m.Tables {
		b.EncryptedTable = b.EncryptedTable || t.KeyID != 0
	}
	return b, nil
}

// files counts the files with a number for a name and a suffix, and the bytes that they take: a
// file that is mapped has holes.
func files(dir, suffix string) (n int, size int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), suffix)
		if _, err := strconv.Atoi(number); !ok || err != nil {
			continue
		}
		n++
		if fi, err := e.Info(); err == nil { // it may be gone by now
			size += diskBytes(fi)
		}
	}
	return n, size, nil
}

func (in *info) print(out io.Writer) error {
	t := text.NewWriter(out)
	t.Printf("%s: %s\n", in.Dir, in.Access)
	if in.Moving {
		t.Printf("It is being written to: the numbers are those of a moment and may not fit each other.\n")
	}
	b, s := &in.Badger, &in.Spill
	t.Printf("\nBadger\n")
	var levels []string
	for i, n := range b.Levels {
		if n > 0 {
			levels = append(levels, fmt.Sprintf("%d on level %d", n, i))
		}
	}
	tables := fmt.Sprintf("%s, %s", text.Count(int64(b.Tables)), text.Bytes(b.TableBytes))
	if len(levels) > 0 {
		tables += " (" + strings.Join(levels, ", ") + ")"
	}
	t.Columns([][]string{
		{"tables", tables},
		{"value logs", fmt.Sprintf("%d, %s on disk", b.ValueLogs, text.Bytes(b.ValueLogBytes))},
		{"memtable logs", fmt.Sprint(b.MemtableLogs)},
		{"built on", "Badger " + b.Build},
		{"tree", "with the default options Open would choose: " + b.Tree.Why},
	})

	t.Printf("\nSpill in %s\n", s.Dir)
	if !s.Exists {
		t.Printf("  none\n")
	} else {
		rows := [][]string{{"pending", plural(int(s.PendingCommits), "commit") + ", " + entries(s.PendingEntries)}}
		if s.PendingCommits > 0 {
			rows = append(rows,
				[]string{"timestamps", fmt.Sprintf("%d to %d", s.FirstTs, s.LastTs)},
				[]string{"oldest", text.Seconds(time.Duration(s.OldestSeconds * float64(time.Second)))},
				[]string{"on disk", fmt.Sprintf("%s in %s, about %s before compression, ratio %.2f; indexes %s",
					text.Bytes(s.DiskBytes-s.IndexBytes), plural(len(s.Segments), "segment"), text.Bytes(s.RawBytes), s.Ratio, text.Bytes(s.IndexBytes))})
		}
		rows = append(rows, []string{"interlock", map[bool]string{true: "set: plain Badger does not open this directory", false: "not set"}[s.Interlock]})
		if s.TornBytes > 0 {
			rows = append(rows, []string{"torn tail", text.Bytes(s.TornBytes) + " that were never known to be durable: the next Open cuts them off"})
		}
		if s.DeadSegments > 0 {
			rows = append(rows, []string{"dead", plural(s.DeadSegments, "segment") + ", replayed: to be removed, once no open transaction reads them"})
		}
		if s.Prepared > 0 {
			rows = append(rows, []string{"prepared", plural(s.Prepared, "empty segment") + " for the commits to come"})
		}
		t.Columns(rows)
	}
	if len(s.Segments) > 0 {
		t.Printf("\n")
		rows := [][]string{{"segment", "created", "timestamps", "commits", "entries", "size", "ratio", ""}}
		for _, g := range s.Segments {
			rows = append(rows, g.row())
		}
		t.Columns(rows)
	}
	t.Printf("\nHealth: %s%s\n", in.Health, in.unread())
	for _, p := range in.Problems {
		t.Printf("  %s\n", p)
	}
	return t.Err()
}

// unread says what a sound spill was not judged by.
func (in *info) unread() string {
	indexed := 0
	for _, g := range in.Spill.Segments {
		if g.Index {
			indexed++
		}
	}
	if in.Health != "sound" || indexed == 0 {
		return ""
	}
	return fmt.Sprintf("; the blocks of %s with an index were not read: \"badgerspill verify\" does that", plural(indexed, "segment"))
}

func (g *segmentInfo) row() []string {
	var notes []string
	if !g.Index {
		notes = append(notes, "no index file")
	}
	if g.Encrypted {
		notes = append(notes, "encrypted")
	}
	if g.Unordered {
		notes = append(notes, "unordered")
	}
	if g.Problem != "" {
		notes = append(notes, "damaged")
	}
	created := "-"
	if !g.Created.IsZero() {
		created = g.Created.Format(time.DateTime)
	}
	return []string{fmt.Sprint(g.Segment), created, fmt.Sprintf("%d to %d", g.FirstTs, g.LastTs), text.Count(g.Commits), text.Count(g.Entries),
		text.Bytes(g.Bytes), fmt.Sprintf("%.2f", g.Ratio), strings.Join(notes, ", ")}
}
