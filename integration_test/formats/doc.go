// Command formats makes the directories in integration_test/testdata/formats: databases as an
// earlier layer, and earlier versions of Badger, have left them. It uses nothing but the public
// API, so it compiles in the tree of any layer. .ci/formats builds it in that of the layer in
// question and runs it.
//
// Each directory is an archive NAME.tar.gz with the database in db and the file keys.txt, which
// says what it must hold. It has a line "+ KEY HASH" for a key, with the first 8 bytes of the
// SHA-256 of its value in hexadecimal, and "- KEY" for one that must be gone.
//
// Where a half-done state is needed a child kills itself in it. The archive is made once a look at
// the files shows that state.
package main
