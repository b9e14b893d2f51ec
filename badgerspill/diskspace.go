package badgerspill

// DiskSpace is the room on a volume, as DB.DiskSpace returns it. Sizes are in bytes.
type DiskSpace struct {
	Dir   string // that is on it: Dir, ValueDir or SpillDir of the options
	Free  int64  // for the user that the process runs as
	Total int64  // the size of the volume
	// Floor is what MinFreeSpace makes of it, with what Badger may write of its own accord: below
	// it commits fail with ErrNoSpace. 0 where nothing is checked.
	Floor int64
}

// DiskSpace returns the room on the volumes of Dir, ValueDir and SpillDir: each volume once, those
// left out that cannot be looked up. It is nil in memory, and for a closed database. It asks the
// file system, so it may block; it is safe for concurrent use.
func (db *DB) DiskSpace() (all []DiskSpace) {
	if db.opt.InMemory || db.IsClosed() {
		return nil
	}
	dirs := []string{db.opt.Dir, db.opt.ValueDir}
	if db.log != nil {
		dirs = append(dirs, db.opt.SpillDir)
	}
	for _, v := range db.room.Volumes(dirs...) {
		all = append(all, DiskSpace(v))
	}
	return all
}
