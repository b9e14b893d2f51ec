package mend

var move = Mend{
	Name:  "move",
	Short: "tables that overlap nothing in the next level, which is not the last one, move there without being written",
	edits: []edit{
		{
			file:   "levels.go",
			anchor: "newTables, decr, err := s.compactBuildTables(l, cd)\n",
			with:   "newTables, decr, err := s.moveOrBuildTables(l, cd)\n",
		},
		{ // of a table that moves
			file:   "levels.go",
			anchor: "	return pb.ManifestChangeSet{Changes: changes}\n",
			with:   "	return pb.ManifestChangeSet{Changes: deletionsFirst(changes)}\n",
		},
	},
	files: map[string]string{"badgerpatch_move.go": `package badger

import (
	"sort"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
)

// moveOrBuildTables returns the tables of the compaction's result: those that go down, if nothing has
// to be merged with them, or new ones. What could be discarded in a table that moves is discarded on
// its way into the last level.
func (s *levelsController) moveOrBuildTables(l int, cd compactDef) ([]*table.Table, func() error, error) {
	if !s.movable(&cd) {
		return s.compactBuildTables(l, cd)
	}
	for _, t := range cd.top {
		t.IncrRef()
	}
	moved := append([]*table.Table{}, cd.top...)
	return moved, func() error { return decrRefs(moved) }, nil
}

// movable says yes for one table, and of level 0 only if it is not much larger than those of the next
// level: the compactions below would be as large as it is.
func (s *levelsController) movable(cd *compactDef) bool {
	return len(cd.top) == 1 && len(cd.bot) == 0 && len(cd.dropPrefixes) == 0 &&
		cd.thisLevel != cd.nextLevel && !cd.nextLevel.isLastLevel() &&
		!cd.top[0].IsInmemory && cd.top[0].Size() <= 2*cd.t.fileSz[cd.nextLevel.level]
}

// deletionsFirst sorts changes so that a table may be deleted from one level and created in another.
func deletionsFirst(changes []*pb.ManifestChange) []*pb.ManifestChange {
	sort.SliceStable(changes, func(i, j int) bool {
		return changes[i].Op == pb.ManifestChange_DELETE && changes[j].Op != pb.ManifestChange_DELETE
	})
	return changes
}
`},
}
