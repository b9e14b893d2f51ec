// Package forgery makes files with wrong content and right checksums, for tests: what nobody but a
// check of the content itself can find. It knows the bytes by docs/format.md, not by the code under
// test.
package forgery
