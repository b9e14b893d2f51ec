// Package host is what is known of Badger 4.9.6 and done to it from outside: each fault or gap of
// Badger's with its place there, what stands against it here, the test of that, and when it can go.
// TestBadgerIsTheOneInTheTable fails when Badger's version changes: then each is looked at again.
//
//   - levels.go, fillTablesL0ToLbase. After an open level 0 is in the order of numbers, and a
//     tombstone passes its value. Here: [SortLevelZero]. Test:
//     TestLevelZeroIsNotCompactedInTheOrderOfNumbers. It can go when level 0 is sorted by key at
//     open.
//   - levels.go, fillTablesL0ToL0. A merge within level 0 drops a tombstone over a value that it
//     leaves out. Here: [UncoveredTables], and badgerspill's guardLevelZero. Test:
//     TestNothingIsDiscardedWhileLevelZeroLiesOnNothing. It can go when a merge looks at all tables
//     of level 0.
//   - memtable.go, openMemTables. Logs of flushed memtables that an iterator held are read again.
//     Here: [RemoveDeadLogs], with the notes of package marker. Tests:
//     TestFlushedLogIsNotReadAgain, TestCrashLoopKeepsUnflushedLogs. It can go when the manifest
//     says which memtables are flushed.
//   - levels.go:897, subcompact. A table that could not be made counts as done, and its keys are
//     gone. Here: [LostTables]. Tests: TestLostTables, TestLostTablesAreNoticed. It can go when the
//     error reaches the compaction.
//   - db.go, ensureRoomForWrite, dropAll, DropPrefix. Without an active memtable reads panic, and
//     the next write ends the process. Here: [State.Mend], and badgerspill's guard, which looks at
//     the name that comes next. Test: TestBadgerWithoutANextMemtable. It can go when that is an
//     error, and tried again.
//   - db.go, DropPrefix. A memtable that could not be flushed is active and sealed at once. Here:
//     [State.Mend]. Test: TestDropThatBadgerFailsLeavesItWhole.
//   - levels.go, dropTree. Numbers of tables begin again beside files that readers hold. Here:
//     [State.RaiseTable]. Test: TestDropPrefixAfterDropAllBesideAnIterator. It can go when they go
//     on.
//   - db.go, Flatten, DropPrefix, RunValueLogGC. Beside each other they crash, or never end. Here:
//     badgerspill's upkeep. Tests: TestUpkeepPairs, TestMaintenanceInPairs.
//   - db.go, Sync. It syncs the log of the active memtable, not those of sealed ones. Here: the
//     sync of badgerspill's engine. It can go when all are synced.
//   - db.go has no call that flushes an idle memtable. Here: the seal of badgerspill's engine.
//     Test: TestReliefSealsTheIdleHolder.
//   - txn.go, newCommitTs and doneRead. An assertion ends the process at or below the discard
//     timestamp. Here: Badger is opened without DetectConflicts, and the pipeline detects them.
//   - memtable.go, value.go, table/table.go. A full disk is a SIGBUS, since files are mapped. Here:
//     package room. Test: TestFullVolume. It can go when files are written.
//   - backup.go, NewKVLoader. It takes memory for its largest batch, however small. Here: replay
//     gives it 512 KiB or more.
//   - value.go, rewrite. Value log GC brings deleted keys back. Here: nothing; the FAQ says who is
//     concerned.
//
// docs/upstream has a page for most of them, with a reproducer, and badgerpatch mends them in a
// copy.
package host
