package mend

var levelzero = Mend{
	Name:  "levelzero",
	Short: "level 0 keeps tombstones over what a merge leaves out, and does not go down past older tables",
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
			with: `	out = withOlder(top, out)
	cd.thisRange = getKeyRange(out...)
	cd.top = out

	left, right :=`,
		},
	},
	files: map[string]string{"badgerpatch_levelzero.go": `package badger

import "github.com/dgraph-io/badger/v4/table"

// withOlder returns out, and the tables of level that overlap it and hold something older, in the
// order of level. After an open level 0 is sorted by number, so such a table may lie behind a younger
// one.
func withOlder(level, out []*table.Table) []*table.Table {
	chosen := make(map[uint64]bool, len(out))
	var newest uint64
	for _, t := range out {
		chosen[t.ID()] = true
		newest = max(newest, t.MaxVersion())
	}
	kr := getKeyRange(out...)
	for more := true; more; {
		more = false
		for _, t := range level {
			if chosen[t.ID()] || t.MaxVersion() >= newest {
				continue
			}
			if dkr := getKeyRange(t); kr.overlapsWith(dkr) {
				chosen[t.ID()], more = true, true
				kr.extend(dkr)
			}
		}
	}
	if len(chosen) == len(out) {
		return out
	}
	var all []*table.Table
	for _, t := range level {
		if chosen[t.ID()] {
			all = append(all, t)
		}
	}
	return all
}
`},
}
