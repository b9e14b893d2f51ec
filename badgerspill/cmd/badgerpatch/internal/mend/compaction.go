package mend

var compaction = Mend{
	Name:  "compaction",
	Short: "a compaction that could not make a table fails, and keeps what it was to replace",
	edits: []edit{
		{
			file:   "levels.go",
			anchor: "defer inflightBuilders.Done(err)\n",
			with:   "defer func() { inflightBuilders.Done(err) }()\n",
		},
		{
			file:   "levels.go",
			anchor: "			// Can't return from here, until I decrRef all the tables that I built so far.\n",
			with: `			builder.Finish()
			builder.Close()
`,
		},
		{ // With nobody left to take errors, one more would wait for ever.
			file:   "y/y.go",
			anchor: "		t.errCh <- err\n",
			with: `		select {
		case t.errCh <- err:
		default:
		}
`,
		},
	},
}
