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
		// The one who gets an error from Do ends, and nobody else hears of it: Finish must return
		// it, too. And with nobody left to take errors, one more must not wait for ever.
		{
			file:   "y/y.go",
			anchor: "	finishErr error\n}\n",
			with: `	finishErr error

	mu    sync.Mutex
	first error // that Done was given
}
`,
		},
		{
			file:   "y/y.go",
			anchor: "		t.errCh <- err\n",
			with: `		t.mu.Lock()
		if t.first == nil {
			t.first = err
		}
		t.mu.Unlock()
		select {
		case t.errCh <- err:
		default:
		}
`,
		},
		{
			file:   "y/y.go",
			anchor: "		close(t.errCh)\n",
			with: `		close(t.errCh)
		t.finishErr = t.first
`,
		},
	},
}
