package mend

var maintenance = Mend{
	Name:  "maintenance",
	Short: "Flatten, DropAll, DropPrefix, value log GC and Close may be called beside each other",
	edits: []edit{
		{
			file:   "db.go",
			anchor: "	blockWrites atomic.Int32\n",
			with: `	blockWrites atomic.Int32
	sending     sync.RWMutex // shared: from the look at blockWrites until writeCh has the request
	maintenance sync.RWMutex // a drop alone; GC and Flatten beside each other
	compactions struct {
		sync.Mutex
		stops int // without their starts
	}
`,
		},
		// A request that comes when writeCh is drained would wait until the drop is over, and the
		// drop for it.
		{
			file: "db.go",
			anchor: `func (db *DB) sendToWriteCh(entries []*Entry) (*request, error) {
`,
			with: `func (db *DB) sendToWriteCh(entries []*Entry) (*request, error) {
	db.sending.RLock()
	defer db.sending.RUnlock()
`,
		},
		{
			file:   "db.go",
			anchor: "	// Make all pending writes finish. The following will also close writeCh.\n",
			with: `	db.sending.Lock()
	db.sending.Unlock()
	// Make all pending writes finish. The following will also close writeCh.
`,
		},
		{ // Close: nothing is sent to a channel that is closed.
			file:   "db.go",
			anchor: "	// Stop writes next.\n",
			with: `	db.maintenance.Lock()   // what is under way fails or ends
	db.blockWrites.Store(1) // the end of a drop has taken it back
	db.maintenance.Unlock()
	db.sending.Lock()
	db.sending.Unlock()
	// Stop writes next.
`,
		},
		{
			file: "db.go",
			body: "DB.stopCompactions",
			with: `
	db.compactions.Lock()
	defer db.compactions.Unlock()
	if db.closers.compactors == nil {
		return
	}
	if db.compactions.stops++; db.compactions.stops == 1 {
		db.closers.compactors.SignalAndWait()
	}
`,
		},
		{
			file: "db.go",
			body: "DB.startCompactions",
			with: `
	db.compactions.Lock()
	defer db.compactions.Unlock()
	if db.closers.compactors == nil {
		return
	}
	if db.compactions.stops--; db.compactions.stops == 0 {
		db.closers.compactors = z.NewCloser(1)
		db.lc.startCompact(db.closers.compactors)
	}
`,
		},
		{
			file:   "db.go",
			anchor: "		panic(\"Cannot flatten in read-only mode.\")\n	}\n",
			with: `		panic("Cannot flatten in read-only mode.")
	}
	db.maintenance.RLock()
	defer db.maintenance.RUnlock()
	if db.IsClosed() {
		return ErrDBClosed
	}
`,
		},
		{
			file:   "db.go",
			anchor: "		db.opt.Infof(\"\\n\")\n		var levels []int\n",
			with: `		if db.IsClosed() {
			return ErrDBClosed
		}
		db.opt.Infof("\n")
		var levels []int
`,
		},
		{
			file:   "db.go",
			anchor: "	f, err := db.dropAll()\n",
			with: `	db.maintenance.Lock()
	defer db.maintenance.Unlock()
	f, err := db.dropAll()
`,
		},
		{
			file:   "db.go",
			anchor: "	db.opt.Infof(\"DropPrefix called for %s\", prefixes)\n",
			with: `	db.maintenance.Lock()
	defer db.maintenance.Unlock()
	db.opt.Infof("DropPrefix called for %s", prefixes)
`,
		},
		{
			file:   "db.go",
			anchor: "	// Pick a log file and run GC\n",
			with: `	if !db.maintenance.TryRLock() {
		return ErrRejected
	}
	defer db.maintenance.RUnlock()
	// Pick a log file and run GC
`,
		},
	},
}
