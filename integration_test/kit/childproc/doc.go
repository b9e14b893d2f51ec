// Package childproc runs a test of this binary as a process of its own. The parent gives it an
// argument, reads the lines that it prints, talks to it, and kills it.
//
// The child is a test that begins with Arg, which skips it in every other process:
//
//	func TestFillChild(t *testing.T) {
//		dir := childproc.Arg[string](t)
//		...
//		fmt.Println("full")
//		childproc.UntilTheInputEnds()
//	}
//
// Its parent is another test of the package:
//
//	child := childproc.Start(t, "TestFillChild", dir)
//	_, ok := child.WaitFor("full")
//	require.True(t, ok)
//	child.Stop()
//
// The input of a child ends with its parent at the latest, so that one which waits for that does
// not outlive it.
package childproc
