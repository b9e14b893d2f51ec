package mend

var levelzero = Mend{
	Name:  "levelzero",
	Short: "level 0 keeps tombstones over what a merge leaves out, goes down with all that overlaps, and does not merge what is disjoint",
	edits: []edit{
		{
			file:   "levels.go",
			anchor: "hasOverlap := s.checkOverlap(cd.allTables(), cd.nextLevel.level+1)\n",
			with:   "hasOverlap := cd.nextLevel.level == 0 || s.checkOverlap(cd.allTables(), cd.nextLevel.level+1)\n",
		},
		{
			file: "levels.go",
			anchor: `	cd.thisRange = getKeyRange(out...)
	cd.top = out

	left, right :=`,
			with: `	out = withOverlapping(top, out)
	cd.thisRange = getKeyRange(out...)
	cd.top = out

	left, right :=`,
		},
		{
			file:   "levels.go",
			anchor: "	if len(out) < 4 {\n",
			with:   "	if len(out) < 4 || disjoint(out) && len(top) < s.kv.opt.NumLevelZeroTablesStall-2 {\n",
		},
	},
	files: map[string]string{"badgerpatch_levelzero.go": `package badger

import (
	"sort"

	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

// withOverlapping returns out, and all tables of level that overlap it or each other, in the order of
// level. After an open level 0 is sorted by number, so an older table may lie behind a younger one.
func withOverlapping(level, out []*table.Table) []*table.Table {
	chosen := make(map[uint64]bool, len(out))
	for _, t := range out {
		chosen[t.ID()] = true
	}
	kr := getKeyRange(out...)
	for more := true; more; {
		more = false
		for _, t := range level {
			if dkr := getKeyRange(t); !chosen[t.ID()] && kr.overlapsWith(dkr) {
				chosen[t.ID()], more = true, true
				kr.extend(dkr)
			}
		}
	}
	var all []*table.Table
	for _, t := range level {
		if chosen[t.ID()] {
			all = append(all, t)
		}
	}
	return all
}

// disjoint reports whether no two of the tables overlap.
func disjoint(tables []*table.Table) bool {
	sorted := append([]*table.Table{}, tables...)
	sort.Slice(sorted, func(i, j int) bool {
		return y.CompareKeys(sorted[i].Smallest(), sorted[j].Smallest()) < 0
	})
	for i := 1; i < len(sorted); i++ {
		if getKeyRange(sorted[i-1]).overlapsWith(getKeyRange(sorted[i])) {
			return false
		}
	}
	return true
}
`},
}
