package mend

var loader = Mend{
	Name:  "loader",
	Short: "a KVLoader takes the memory that it needs, not that of its largest batch, for each batch",
	edits: []edit{
		{
			file:   "backup.go",
			anchor: "		entries:  make([]*Entry, 0, db.opt.maxBatchCount),\n",
			with:   "",
		},
		{
			file:   "backup.go",
			anchor: "	l.entries = make([]*Entry, 0, l.db.opt.maxBatchCount)\n",
			with:   "	l.entries = nil\n",
		},
	},
}
