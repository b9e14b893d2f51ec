// Package host is what is known of Badger 4.9.6 and done to it from outside. It promises:
//
//   - [DirLocks]: Badger's locks are held from before anything is touched until Badger is closed.
//   - [Engine]: what is written gets there with its versions and metadata, and is durable after a
//     sync.
//   - [Memtables]: bytes count as long as they are in no table, and no longer.
//   - [Guard]: Badger gets no write that it would not survive, as far as a look ten times a second
//     can tell.
//   - [LostTables]: what a compaction loses all the same is noticed.
//   - [Unsynced]: a sync of Badger's logs that fails is noticed. Badger gets no writes after it.
//   - [State]: what a failure leaves behind is put right, locks included. [Logger] says when.
//   - [CheckTables]: a table whose end is damaged is an error of Open, not the end of the process.
//   - [Shadow]: Badger opens read-only what it may not change.
//   - [LevelZero], [SortLevelZero]: once Badger is open, a tombstone in level 0 does not pass the
//     value that it covers.
//
// It knows nothing of a database over Badger: what it needs of one it is given when it is made.
// Each type says what guards it, and none takes a lock of its caller's.
//
// # The table
//
// Each fault or gap of Badger's: its place there, what it does, what stands against it here, the
// test of that, and when that can go. What is not of this package says whose it is.
// TestBadgerIsTheOneInTheTable fails when Badger's version changes: then each is looked at again.
//
//   - levels.go, fillTablesL0ToLbase. After an open level 0 is in the order of numbers, and a
//     tombstone passes its value. Here: [SortLevelZero]. Test:
//     TestLevelZeroIsNotCompactedInTheOrderOfNumbers. It can go when level 0 is sorted by key at
//     open.
//   - levels.go, fillTablesL0ToL0. A merge within level 0 drops a tombstone over a value that it
//     leaves out. Here: [LevelZero]. Tests: TestRiskOfAMergeWithinLevelZero,
//     TestNothingIsDiscardedWhileLevelZeroLiesOnNothing. It can go when a merge looks at all tables
//     of level 0.
//   - memtable.go, openMemTables. Logs of flushed memtables that an iterator held are read again.
//     Here: [RemoveDeadLogs] and [NoteMemtable], with the notes of package marker. Tests:
//     TestFlushedLogIsNotReadAgain, TestCrashLoopKeepsUnflushedLogs. It can go when the manifest
//     says which memtables are flushed.
//   - memtable.go, openMemTables, and value.go, open. A log of no length, which a killed process
//     leaves, is an error. Here: [RemoveEmptyLogs]. Test: TestEmptyLogsThatAKillHasLeft. It can go
//     when such a log counts as empty.
//   - memtable.go, UpdateSkipList. A log that was written with larger memtables does not fit. Here:
//     [WrittenMemTableSize]. Test: TestSmallerMemoryLimitAfterAKill. It can go when the memtable is
//     as large as its log asks for.
//   - levels.go:897, subcompact. A table that could not be made counts as done, and its keys are
//     gone. Here: [LostTables]. Tests: TestLostTables, TestLostTablesAreNoticed. It can go when the
//     error reaches the compaction.
//   - levels.go, subcompact. A compaction cannot make a table whose name is taken, or without
//     descriptors. Here: [Guard]. Tests: TestTablesPassNamesThatAreTaken,
//     TestTablesPassNamesInTheWay, TestHeldBadger. It can go when it fails then, and is tried
//     again.
//   - db.go, ensureRoomForWrite, dropAll, DropPrefix. Without an active memtable reads, Sync and
//     value log GC panic, and the next write ends the process; Sync and the GC's MaxVersion keep
//     Badger's lock. Here: [State.Mend], [State.Rescue], [State.Collect], [Engine.Sync], and
//     [Guard], which looks at the name that comes next. Tests: TestBadgerWithoutANextMemtable,
//     TestValueLogGCOfABadgerWithoutANextMemtable, TestRescue, TestCollect,
//     TestSyncWithoutAMemtable, TestNameInTheWay. It can go when that is an error, and tried again.
//   - db.go, DropPrefix. A memtable that could not be flushed is active and sealed at once. Here:
//     [State.Mend]. Test: TestDropThatBadgerFailsLeavesItWhole. It can go when a drop that fails
//     leaves the memtables as they were.
//   - levels.go, dropTree. Numbers of tables begin again beside files that readers hold. Here:
//     [State.RaiseTable]. Test: TestDropPrefixAfterDropAllBesideAnIterator. It can go when they go
//     on.
//   - db.go, Flatten, DropPrefix, RunValueLogGC. Beside each other they crash, or never end. Here:
//     badgerspill's upkeep. Tests: TestUpkeepPairs, TestMaintenanceInPairs. It can go when they
//     keep out of each other's way.
//   - db.go, Sync. It syncs the log of the active memtable, not those of sealed ones. Here:
//     [Engine.Sync]. Test: TestSyncOfSealedMemtables. It can go when all are synced.
//   - db.go has no call that flushes an idle memtable. Here: [Engine.Seal]. Tests:
//     TestSealLeavesNoTrace, TestReliefSealsTheIdleHolder. It can go when there is one.
//   - db.go does not tell what its memtables hold, nor when that is in a table. Here: [Memtables].
//     Tests: TestBytesGoWithTheirMemtable, TestPinnedMemtableIsReportedAndNotCounted. It can go
//     when it does.
//   - dir_unix.go, dir_windows.go. The locks of the directories begin and end with Badger. Here:
//     [LockDirs]. Tests: TestLocksKeepOthersOut, TestLocked. It can go when locks that are held
//     already can be given to it.
//   - txn.go, newCommitTs. With DetectConflicts an assertion ends the process at a commit below the
//     discard timestamp. Here: Badger is opened without DetectConflicts, and the pipeline detects
//     them. Test: TestBetterThanBadger. It can go when that is an error.
//   - memtable.go, value.go, table/table.go. A full disk is a SIGBUS, since files are mapped. Here:
//     package room. Test: TestFullVolume. It can go when files are written.
//   - backup.go, NewKVLoader. It takes memory for its largest batch, however small. Here: replay
//     gives it 512 KiB or more. Test: TestDutyFollowsStrain. It can go when it takes what it needs.
//   - db.go, Close. It keeps the locks of the value log's files, and a Sync beside it waits for one
//     for ever. Here: badgerspill's Close waits for a Sync. Test: TestCloseWaitsForASync. It can
//     go when Close lets go of them.
//   - db.go, Flatten. Without workers it never ends. Here: badgerspill's Flatten refuses that.
//     Test: TestFlattenWithoutWorkers. It can go when Badger's does.
//   - stream.go, produceRanges, produceKVs, streamKVs. What is missing in a Stream is a panic in a
//     goroutine of Badger's. Here: badgerspill's Stream looks for it first. Tests:
//     TestStreamThatCannotRun, TestFinishThreadMayHaveNothing. It can go when that is an error.
//   - stream_writer.go, handleRequests. Keys out of order are a panic in a goroutine of Badger's.
//     Here: badgerspill's StreamWriter looks at them first. Test: TestStreamWriterRefusesDisorder.
//     It can go when that is an error.
//   - table/table.go, initIndex. A table that is cut short at its end, or ends in zeros, ends the
//     process. Here: [CheckTables]. Tests: TestDamagedEndsOfTables, TestOpenWithDamagedTables. It
//     can go when that is an error.
//   - table/table.go, VerifyChecksum. With a ChecksumVerificationMode that looks at tables when
//     they are opened, a block that cannot be decoded ends the process. Here: nothing. Test: none.
//     It can go when that is an error.
//   - value.go, init. It ends the process if it cannot open DISCARD. Here: badgerspill's Open tries
//     that first, and whether there are descriptors. Test: TestOpenWithoutItsFiles. It can go when
//     that is an error.
//   - value.go, write. With SyncWrites an error of the value log's sync is only logged, and the
//     commits are answered. Here: [Unsynced]. Tests: TestUnsyncedByItsLine,
//     TestCommitThatIsNotSynced, TestCommitInAnUnsyncedGroup. It can go when the commits get that
//     error.
//   - value.go, createVlogFile. While the name of the next file is taken each commit with a value
//     fails, and the file before it grows all the same. Here: [Guard]. Tests:
//     TestNameOfTheValueLogInTheWay, TestHeldBadger. It can go when the file is made before values
//     are written.
//   - memtable.go, SyncWAL, and db.go, Sync. They return the error, but Badger goes on with the
//     same log, which a power cut may leave with a hole before what it writes later. Here:
//     [Unsynced]. Tests: TestSyncIsBadgers, TestCommitThatIsNotSynced,
//     TestSyncThatFailsWhileReplayed. It can go when it writes to no log any more that it could not
//     sync.
//   - iterator.go, yieldItemValue. A value that cannot be read in the value log is an empty one.
//     Here: badgerspill's items and streams compare it with its size. Test:
//     TestValuesThatBadgerCannotRead. It can go when that is an error.
//   - value.go, Read. A damaged header leaves the file of the value log locked, and Close waits for
//     that for ever. Here: [Logger] lets go of it. Test: TestDamagedHeaderKeepsNoLock. It can go
//     when Read does.
//   - value.go, rewrite. Value log GC brings deleted keys back. Here: nothing; the FAQ says who is
//     concerned. Test: none. It can go when the tombstone is moved with the value.
//
// docs/upstream has a page for most of them, with a reproducer, and badgerpatch mends them in a
// copy.
package host
