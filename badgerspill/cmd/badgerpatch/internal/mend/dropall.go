package mend

var dropall = Mend{
	Name:  "dropall",
	Short: "DropAll does not begin again with numbers of tables that an open iterator still holds",
	edits: []edit{{
		file:   "db.go",
		anchor: "	db.lc.nextFileID.Store(1)\n",
		with:   "",
	}},
}
