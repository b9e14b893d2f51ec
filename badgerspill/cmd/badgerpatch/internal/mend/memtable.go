package mend

var memtable = Mend{
	Name:  "memtable",
	Short: "where the next memtable cannot be made the write fails, and the next one tries again: no panic, no assertion",
	edits: []edit{
		{
			file: "db.go",
			body: "DB.ensureRoomForWrite",
			with: `
	db.lock.Lock()
	defer db.lock.Unlock()

	y.AssertTrue(db.mt != nil) // A nil mt indicates that DB is being closed.
	if !db.mt.isFull() {
		return nil
	}
	// The next memtable first: without it the full one stays.
	var next *memTable
	for {
		if c := db.flushChan; next == nil && (len(c) < cap(c) || cap(c) == 0) {
			var err error
			if next, err = db.newMemTable(); err != nil {
				return y.Wrapf(err, "cannot create new mem table")
			}
		}
		if next != nil {
			select {
			case db.flushChan <- db.mt:
				db.imm = append(db.imm, db.mt)
				db.mt = next
				return nil
			default:
			}
		}
		if db.IsClosed() {
			if next != nil {
				next.DecrRef()
			}
			return errNoRoom
		}
		db.flushCond.Wait()
	}
`,
		},
		{
			file: "db.go",
			anchor: `	db.opt.Debugf("Writing to memtable")
	var count int
	for _, b := range reqs {
`,
			with: `	db.opt.Debugf("Writing to memtable")
	var count int
	for i, b := range reqs {
`,
		},
		{ // What is in the memtable is written.
			file: "db.go",
			anchor: `		if err := db.ensureRoomForWrite(); err != nil {
			done(err)
`,
			with: `		if err := db.ensureRoomForWrite(); err != nil {
			db.pub.sendUpdates(reqs[:i])
			for _, r := range reqs[:i] {
				r.Wg.Done()
			}
			reqs = reqs[i:]
			done(err)
`,
		},
		{ // What is left of one that could not be made is in nobody's way.
			file:   "memtable.go",
			anchor: "	mt, err := db.openMemTable(db.nextMemFid, os.O_CREATE|os.O_RDWR)\n",
			with: `	path := db.mtFilePath(db.nextMemFid)
	_, before := os.Lstat(path)
	mt, err := db.openMemTable(db.nextMemFid, os.O_CREATE|os.O_RDWR)
`,
		},
		{
			file:   "memtable.go",
			anchor: "		db.opt.Errorf(\"Got error: %v for id: %d\\n\", err, db.nextMemFid)\n",
			with: `		db.opt.Errorf("Got error: %v for id: %d\n", err, db.nextMemFid)
		if os.IsNotExist(before) {
			os.Remove(path)
		}
`,
		},
		{ // DropAll
			file: "db.go",
			anchor: `	// Remove inmemory tables. Calling DecrRef for safety. Not sure if they're absolutely needed.
	db.mt.DecrRef()
`,
			with: `	next, err := db.newMemTable()
	if err != nil {
		return resume, y.Wrapf(err, "cannot open new memtable")
	}
	db.mt.DecrRef()
`,
		},
		{
			file: "db.go",
			anchor: `	db.mt, err = db.newMemTable() // Set it up for future writes.
	if err != nil {
		return resume, y.Wrapf(err, "cannot open new memtable")
	}
`,
			with: `	db.mt = next
`,
		},
		{ // DropPrefix
			file: "db.go",
			anchor: `	db.imm = append(db.imm, db.mt)
	for _, memtable := range db.imm {
		if memtable.sl.Empty() {
`,
			with: `	next, err := db.newMemTable()
	if err != nil {
		return y.Wrapf(err, "cannot create new mem table")
	}
	db.imm = append(db.imm, db.mt)
	db.mt = next
	for ; len(db.imm) > 0; db.imm = db.imm[1:] {
		memtable := db.imm[0]
		if memtable.sl.Empty() {
`,
		},
		{
			file: "db.go",
			anchor: `	db.imm = db.imm[:0]
	db.mt, err = db.newMemTable()
	if err != nil {
		return y.Wrapf(err, "cannot create new mem table")
	}
`,
			with: ``,
		},
		{ // What a DropPrefix that failed has left is flushed like any other.
			file:   "db.go",
			anchor: "		db.flushChan = make(chan *memTable, db.opt.NumMemtables)\n",
			with: `		db.flushChan = make(chan *memTable, max(db.opt.NumMemtables, len(db.imm)))
		for _, mt := range db.imm {
			db.flushChan <- mt
		}
`,
		},
	},
}
